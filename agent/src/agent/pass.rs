//! One pass: observe, fetch, bring in order, report.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;

use super::{Agent, Fetched, PassReport, Wake};
use crate::model::check::{self, AwsAnswer, AwsOutcome};
use crate::model::docker_config::Credentials;
use crate::model::document::Document;
use crate::model::issuer::Issuer;
use crate::model::plan::{self, Found, Plan};
use crate::model::published_document::PublishedDocument;
use crate::model::registry::HostName;
use crate::model::schedule::Renewal;
use crate::model::settings::RegistrySettings;
use crate::model::status::{ExecutorCfg, Moment, PlaceKind, PlaceStatus, RegistryStatus};
use crate::place::{Intent, Place, Planner, Visit};

/// A timer that fires this much early still ends the interval.
const INTERVAL_SLACK: Duration = Duration::from_millis(50);

/// What is remembered of a place from pass to pass.
pub(super) struct PlaceMemory {
    status: PlaceStatus,
    visited_at: Option<Duration>,
    /// The credentials it was last visited with.
    wanted: Credentials,
}

impl PlaceMemory {
    pub(super) fn new(place: &dyn Place) -> Self {
        let status = PlaceStatus {
            kind: place.kind(),
            path: place.path(),
            verified_at: None,
            error: None,
            held: BTreeMap::new(),
            publication: None,
        };
        Self { status, visited_at: None, wanted: Credentials::new() }
    }

    /// What was known of the same place before a reload, or nothing.
    pub(super) fn carried_over(place: &dyn Place, before: &mut Vec<Self>) -> Self {
        let is_same = |known: &Self| known.status.kind == place.kind() && known.status.path == place.path();
        before.iter().position(is_same).map_or_else(|| Self::new(place), |known| before.swap_remove(known))
    }

    /// Others are not asked more often than the interval while nothing changes here.
    fn is_due(&self, wake: Wake, wanted: &Credentials, now: Moment, interval: Duration) -> bool {
        let rested =
            self.visited_at.is_none_or(|at| now.uptime.saturating_sub(at) + INTERVAL_SLACK >= interval);
        let may_be_mended = wake == Wake::Changed && self.status.error.is_some();
        matches!(wake, Wake::Start | Wake::Reload)
            || self.status.kind == PlaceKind::Local
            || rested
            || may_be_mended
            || self.wanted != *wanted
    }

    /// How long the place may be left alone from `now` on.
    pub(super) fn quiet_for(&self, now: Moment, interval: Duration) -> Duration {
        self.visited_at.map_or(Duration::ZERO, |at| (at + interval).saturating_sub(now.uptime))
    }
}

impl Agent {
    /// Goes round once; with [`Intent::Tell`], changes nothing and tells what it would change.
    pub async fn pass(&mut self, wake: Wake, intent: Intent) -> PassReport {
        let mut report = PassReport::default();
        self.beat();
        let judgement = self.judge_files();
        let executor_cfg = judgement.executor_state(self.settings.names_hadoops_own_conf_dir());
        match &executor_cfg {
            ExecutorCfg::Sound => self.trusted = judgement.trusted_registries(),
            // What was trusted before is wanted again as soon as the file is mended.
            ExecutorCfg::Fatal(why) => report.errors.push(why.clone()),
            ExecutorCfg::Absent(_) => {}
        }
        let registries = self.settings.wanted_registries(&self.trusted);
        self.tokens.retain(registries.iter().map(|wanted| &wanted.issuer));
        self.answers.retain(|issuer, _| registries.iter().any(|wanted| wanted.issuer == *issuer));
        self.notice_new_holders(wake, &mut report).await;
        self.fetch_due_tokens(&registries, &mut report).await;
        self.show_registries(&registries, &judgement);
        self.status.send_modify(|status| {
            status.executor_cfg = executor_cfg;
            status.findings = judgement.findings;
        });

        for index in 0..self.parts.places.len() {
            self.beat();
            self.visit_place(index, &registries, wake, intent, &mut report).await;
        }
        self.beat();
        report
    }

    fn beat(&self) {
        let now = self.world.now();
        self.status.send_modify(|status| status.heartbeat = now.uptime);
    }

    /// The files as they are now; what ECR said comes from the passes before.
    fn judge_files(&self) -> check::Report {
        let mut facts = self.world.facts(&self.settings);
        if let Some(node) = &mut facts.node {
            node.clock_skew = self.status.borrow().clock_skew.as_secs();
            node.aws = self
                .answers
                .iter()
                .map(|(issuer, outcome)| AwsAnswer { issuer: issuer.clone(), outcome: *outcome })
                .collect();
        }
        check::run(&facts)
    }

    async fn fetch_due_tokens(&mut self, registries: &[RegistrySettings], report: &mut PassReport) {
        let started = self.world.now();
        let server_now = self.status.borrow().server_time(started.wall);
        let mut calls = JoinSet::new();
        for issuer in self.tokens.due(self.renewal(), started, server_now) {
            let call = self.parts.tokens.fetch(issuer.clone());
            calls.spawn(async move { (issuer, call.await) });
        }
        while let Some(ended) = calls.join_next().await {
            let Ok((issuer, fetched)) = ended else {
                report.errors.push("a call to ECR failed in a way the SDK does not report".to_owned());
                continue;
            };
            let took = self.world.now().uptime.saturating_sub(started.uptime);
            for wanted in registries.iter().filter(|wanted| wanted.issuer == issuer) {
                self.metrics.count_refresh(wanted.registry.host().as_str(), fetched.result, took);
            }
            self.take_token(&issuer, fetched, report);
        }
    }

    fn take_token(&mut self, issuer: &Issuer, fetched: Fetched, report: &mut PassReport) {
        let now = self.world.now();
        self.answers.insert(issuer.clone(), AwsOutcome::of(fetched.result));
        if let Some(skew) = fetched.clock_skew {
            self.status.send_modify(|status| status.clock_skew = skew);
        }
        match fetched.token {
            Ok(token) => {
                self.tokens.succeeded(issuer, token, now.wall);
                report.refreshed.push(issuer.to_string());
            }
            Err(problem) => {
                report.errors.push(problem.message.clone());
                self.tokens.failed(issuer, problem, now, self.world.random());
            }
        }
    }

    fn show_registries(&self, registries: &[RegistrySettings], judgement: &check::Report) {
        let renewal = self.renewal();
        let registries = registries.iter().map(|wanted| {
            let attempts = self.tokens.get(&wanted.issuer).cloned().unwrap_or_default();
            RegistryStatus {
                registry: wanted.registry.clone(),
                aliases: wanted.aliases.clone(),
                expires_at: attempts.token.as_ref().map(|token| token.expires_at),
                refresh_at: attempts.refresh_at(renewal),
                last_success_at: attempts.last_success_at,
                last_attempt_at: attempts.last_attempt_at,
                consecutive_failures: attempts.consecutive_failures,
                last_error: attempts.last_error,
                trust: judgement.trust(&wanted.registry),
            }
        });
        let registries = registries.collect();
        self.status.send_modify(|status| status.registries = registries);
    }

    async fn visit_place(
        &mut self,
        index: usize,
        registries: &[RegistrySettings],
        wake: Wake,
        intent: Intent,
        report: &mut PassReport,
    ) {
        let started = self.world.now();
        let server_now = self.status.borrow().server_time(started.wall);
        let wanted = self.living_credentials(registries, server_now);
        let memory = &mut self.memories[index];
        if !memory.is_due(wake, &wanted, started, self.settings.refresh.pass_interval) {
            return;
        }
        let renewal = self.renewal();
        let place = &mut self.parts.places[index];
        let node = self.status.borrow().node.clone();
        let planner = planner(place.kind(), wanted.clone(), node, renewal, server_now);
        let visit = place.visit(planner, intent).await;

        let now = self.world.now();
        let memory = &mut self.memories[index];
        let name = format!("{}:{}", memory.status.kind.as_str(), memory.status.path);
        let result = match visit {
            Ok(visit) => {
                let result = if visit.changes.is_empty() { "unchanged" } else { "ok" };
                memory.note_success(&visit, registries, &wanted, now);
                report.changes.extend(visit.changes.into_iter().map(|change| (name.clone(), change)));
                result
            }
            Err(problem) => {
                report.errors.push(problem.message.clone());
                memory.status.error = Some(problem);
                "failed"
            }
        };
        memory.visited_at = Some(started.uptime);
        memory.wanted = wanted;
        self.metrics.count_visit(memory.status.kind, result, now.uptime.saturating_sub(started.uptime));
        let places = self.memories.iter().map(|memory| memory.status.clone()).collect();
        self.status.send_modify(|status| status.places = places);
    }

    /// What every document is to hold: the tokens that live, under each of their registries' names.
    fn living_credentials(&self, registries: &[RegistrySettings], server_now: Timestamp) -> Credentials {
        let mut credentials = Credentials::new();
        for wanted in registries {
            let token = self.tokens.get(&wanted.issuer).and_then(|attempts| attempts.token.as_ref());
            if let Some(token) = token.filter(|token| token.expires_at > server_now) {
                credentials.extend(names(wanted).map(|name| (name.clone(), token.clone())));
            }
        }
        credentials
    }
}

impl PlaceMemory {
    fn note_success(
        &mut self,
        visit: &Visit,
        registries: &[RegistrySettings],
        wanted: &Credentials,
        now: Moment,
    ) {
        let names: Vec<HostName> = registries.iter().flat_map(names).cloned().collect();
        self.status.held = match self.status.kind {
            PlaceKind::Local => plan::held_locally(&visit.found, &names, wanted),
            PlaceKind::Hdfs => plan::held_published(&visit.found, &names),
        };
        self.status.publication = match (&visit.found, self.status.kind) {
            (Found::File { document, .. }, PlaceKind::Hdfs) => publication(document),
            _ => None,
        };
        self.status.verified_at = Some(now);
        self.status.error = None;
    }
}

fn names(wanted: &RegistrySettings) -> impl Iterator<Item = &HostName> {
    std::iter::once(wanted.registry.host()).chain(&wanted.aliases)
}

fn planner(kind: PlaceKind, wanted: Credentials, node: String, renewal: Renewal, now: Timestamp) -> Planner {
    match kind {
        PlaceKind::Local => Box::new(move |found: &Found| -> Plan { plan::local(found, &wanted) }),
        PlaceKind::Hdfs => {
            Box::new(move |found: &Found| -> Plan { plan::published(found, &wanted, &node, renewal, now) })
        }
    }
}

fn publication(document: &Document) -> Option<crate::model::published_document::Publication> {
    PublishedDocument::read(document).0.publication().cloned()
}
