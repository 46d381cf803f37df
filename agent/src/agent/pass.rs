//! One pass: observe, renew what is due, reconcile every sink, report.

use std::time::Duration;

use domain::check::{self, AwsAnswer, DockerEngine};
use domain::problem::Problem;
use domain::registry::EcrRegistry;
use domain::settings::RegistrySettings;
use domain::status::ExecutorCfg;

use super::sinks::Which;
use super::{Agent, PassContext, PassReport, Wake};
use crate::sink::Intent;

/// Consecutive unanswered requests after which the Docker engine counts as down.
const DOCKER_MISSES: u32 = 2;
/// How often `once` checks whether another node still holds the refresh lock.
const LOCK_PAUSE: Duration = Duration::from_secs(1);

/// How often to check, by owners and modes, who may read and replace the published file.
const DIRECTORY_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// The same, while each pass reads the file as the NodeManager's user.
const LONG_DIRECTORY_INTERVAL: Duration = Duration::from_secs(6 * 60 * 60);

impl Agent {
    /// Runs passes until none waits for another node's refresh lock, which no node can hold beyond two lengths.
    pub async fn once(&mut self, intent: Intent) -> PassReport {
        // `once` must act now, so do not spread its calls.
        self.settings.refresh.isolated_jitter = Duration::ZERO;
        let patience = 2 * (self.settings.deadlines.refresh_lock() + LOCK_PAUSE);
        let began = self.world.now().uptime;
        let mut report = self.pass(Wake::Start, intent).await;
        while report.waits_for_lock && self.world.now().uptime.saturating_sub(began) < patience {
            tokio::time::sleep(LOCK_PAUSE).await;
            let mut changes = report.changes;
            report = self.pass(Wake::Start, intent).await;
            changes.append(&mut report.changes);
            report.changes = changes;
        }
        self.log_events();
        report
    }

    /// Makes one pass; with [`Intent::DryRun`], reports what it would change and changes nothing.
    pub async fn pass(&mut self, wake: Wake, intent: Intent) -> PassReport {
        let mut report = PassReport::default();
        let began = self.world.now();
        self.beat();
        self.check_files(&mut report).await;
        self.beat();
        let registries = self.settings.wanted_registries(&self.state.trusted);
        self.serve(&registries);
        self.read_static_credentials(&mut report).await;
        if wake == Wake::Reload {
            // Operators reload when pulls are refused, so probe all tokens again.
            self.state.probes.recheck();
        }
        if wake == Wake::Renew {
            self.state.tokens.supersede_all();
        }
        let context = PassContext { wake, intent, began: began.uptime, registries: &registries };
        self.notice_new_principals(wake, &mut report).await;
        self.reconcile_if_due(Which::Published, context, &mut report).await;
        self.adopt(&mut report).await;
        if !self.state.server_clock.is_known() {
            // The registry's response carries the time, which decides what is due.
            self.probe_tokens(context, &mut report).await;
        }
        self.renew(context, &mut report).await;
        self.probe_tokens(context, &mut report).await;
        for index in 0..self.parts.local.len() {
            self.reconcile_if_due(Which::Local(index), context, &mut report).await;
        }
        self.reconcile_if_due(Which::Published, context, &mut report).await;
        self.check_directory(wake, &mut report).await;
        self.release_lock(&report).await;
        self.beat();
        report
    }

    /// Checks who can read and replace the published file, along its whole path. That costs a call per directory, so
    /// it runs at intervals, on reload, and while the NodeManager lacks access. Where each pass reads as the
    /// NodeManager's user, only the question of who can replace the file remains.
    async fn check_directory(&mut self, wake: Wake, report: &mut PassReport) {
        let now = self.world.now().uptime;
        let published = &self.state.sinks.published;
        let is_denied = self.parts.published.is_denied_to_node_manager();
        let interval = if is_denied == Some(false) { LONG_DIRECTORY_INTERVAL } else { DIRECTORY_INTERVAL };
        let is_due = self.state.directory_checked_at.is_none_or(|at| now.saturating_sub(at) >= interval)
            || is_denied == Some(true)
            || published.status.closed.is_some()
            || wake == Wake::Reload;
        if !published.is_in_order() || !is_due {
            return;
        }
        self.beat();
        // A failed check also waits for the next interval: the file itself has priority.
        self.state.directory_checked_at = Some(now);
        let access = match self.parts.published.access().await {
            Ok(access) => access,
            Err(problem) => {
                tracing::warn!(error = problem.message, "cannot check who may write the published file");
                report.errors.push(problem.message);
                return;
            }
        };
        let path = self.parts.published.path();
        self.state.open_directory = access.as_ref().and_then(|access| check::open_directory(&path, access));
        let closed = access.and_then(|access| check::closed_to_node_manager(&path, &access));
        // Owners and modes do not show what an ACL or Ranger denies.
        let closed = closed.or_else(|| {
            let denied = || format!("the NameNode denies the NodeManager's user {} the file", check::NM_USER);
            (is_denied == Some(true)).then(denied)
        });
        self.state.sinks.published.status.closed = closed;
        self.publish_status();
    }

    /// Serves `registries` from now on, and drops the state of all others.
    fn serve(&mut self, registries: &[RegistrySettings]) {
        let now = self.world.now();
        let state = &mut self.state;
        state.registries = registries.to_vec();
        state.tokens.retain(registries.iter().map(|wanted| &wanted.scope), now);
        state.answers.retain(|scope, _| registries.iter().any(|wanted| wanted.scope == *scope));
        state.probes.retain(|name| registries.iter().any(|wanted| wanted.names().any(|other| other == name)));
    }

    /// Records progress of the main loop.
    pub(super) fn beat(&mut self) {
        self.state.progress = self.world.now().uptime;
        self.publish_status();
    }

    /// Checks the node's current files; the AWS outcomes come from earlier passes.
    async fn check_inputs(&mut self) -> Result<check::Report, Problem> {
        let misses = std::mem::take(&mut self.state.docker_misses);
        let mut inputs = self.world.inputs(&self.settings).await?;
        let is_asked = inputs.node.as_ref().is_some_and(|node| node.runs_containers);
        let networks = check::networks_of_interest(&inputs);
        let docker = if is_asked { self.inspect_docker(networks, misses).await } else { None };
        if let Some(node) = &mut inputs.node {
            node.docker = docker;
            node.clock_skew = self.state.server_clock.skew(self.world.now()).as_secs();
            let answers = self.state.answers.iter();
            node.aws = answers
                .map(|(scope, outcome)| AwsAnswer { scope: scope.clone(), outcome: *outcome })
                .collect();
        }
        self.world.check(&self.settings, inputs).await
    }

    /// Queries the Docker engine. After a first miss, its last answer counts: it may just be restarting.
    async fn inspect_docker(&mut self, networks: Vec<String>, misses: u32) -> Option<DockerEngine> {
        let engine = self.world.docker(&self.settings, networks).await;
        if engine.as_ref().is_none_or(|engine| engine.failure.is_none()) {
            self.state.docker.clone_from(&engine);
            return engine;
        }
        self.state.docker_misses = misses.saturating_add(1);
        if self.state.docker_misses < DOCKER_MISSES { self.state.docker.clone() } else { engine }
    }

    /// Checks the node's files and records what that means for launches.
    async fn check_files(&mut self, report: &mut PassReport) {
        let checked = match self.check_inputs().await {
            Ok(checked) => checked,
            Err(problem) => {
                report.errors.push(problem.message.clone());
                self.state.executor_cfg = ExecutorCfg::Absent(problem);
                return;
            }
        };
        let machine_counts = self.settings.names_hadoops_own_conf_dir();
        let executor_cfg = checked.executor_state(machine_counts);
        match &executor_cfg {
            ExecutorCfg::Sound => self.state.trusted = checked.trusted_registries(),
            // Keep the trusted registries: they are wanted again once the file is fixed.
            ExecutorCfg::Fatal(why) => report.errors.push(why.clone()),
            ExecutorCfg::Absent(_) => {}
        }
        let wanted = self.settings.wanted_registries(&self.state.trusted);
        let trust = |wanted: &RegistrySettings| {
            Some((wanted.registry.host().clone(), checked.trust(&wanted.registry)?))
        };
        self.state.trust = wanted.iter().filter_map(trust).collect();
        self.state.executor_cfg = executor_cfg;
        let served: Vec<EcrRegistry> = wanted.iter().map(|wanted| wanted.registry.clone()).collect();
        self.state.launch_faults = checked.launch_faults(machine_counts, &served);
        self.state.findings = checked.findings;
    }
}
