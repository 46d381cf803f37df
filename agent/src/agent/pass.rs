//! One pass: look at what is there, renew what is due, bring every place in order, report.

use domain::check::{self, AwsAnswer};
use domain::settings::RegistrySettings;
use domain::status::{ExecutorCfg, RegistryStatus};

use super::places::Which;
use super::{Agent, PassReport, Round, Wake};
use crate::place::Intent;

impl Agent {
    /// Goes round once; with [`Intent::Tell`], changes nothing and tells what it would change.
    pub async fn pass(&mut self, wake: Wake, intent: Intent) -> PassReport {
        let mut report = PassReport::default();
        let began = self.world.now();
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
        self.forget_all_but(&registries);
        self.read_static_credentials(&mut report);
        if wake == Wake::Reload {
            // Operators reload when pulls are refused.
            self.trials.clear();
        }
        let round = Round { wake, intent, began: began.uptime, registries: &registries };
        self.notice_new_holders(wake, &mut report).await;
        self.visit_if_due(Which::Published, round, &mut report).await;
        self.adopt(&registries, &mut report);
        if !self.status.borrow().server_clock.is_told() {
            // The registry's answer tells the time, by which it is judged what is due.
            self.try_tokens(round, &mut report).await;
        }
        self.renew(round, &mut report).await;
        self.try_tokens(round, &mut report).await;
        self.show_registries(&registries, &judgement);
        self.status.send_modify(|status| {
            status.executor_cfg = executor_cfg;
            status.findings = judgement.findings;
        });

        for index in 0..self.parts.local.len() {
            self.visit_if_due(Which::Local(index), round, &mut report).await;
        }
        self.visit_if_due(Which::Published, round, &mut report).await;
        self.end_turn(&report).await;
        self.beat();
        report
    }

    fn forget_all_but(&mut self, registries: &[RegistrySettings]) {
        let now = self.world.now();
        self.tokens.retain(registries.iter().map(|wanted| &wanted.issuer), now);
        self.answers.retain(|issuer, _| registries.iter().any(|wanted| wanted.issuer == *issuer));
        self.trials.retain(|name| registries.iter().any(|wanted| wanted.names().any(|other| other == name)));
    }

    pub(super) fn beat(&self) {
        let now = self.world.now();
        self.status.send_modify(|status| status.heartbeat = now.uptime);
    }

    /// The files as they are now; what ECR said comes from the passes before.
    fn judge_files(&self) -> check::Report {
        let mut facts = self.world.facts(&self.settings);
        if let Some(node) = &mut facts.node {
            node.clock_skew = self.status.borrow().server_clock.skew(self.world.now()).as_secs();
            node.aws = self
                .answers
                .iter()
                .map(|(issuer, outcome)| AwsAnswer { issuer: issuer.clone(), outcome: *outcome })
                .collect();
        }
        check::run(&facts)
    }

    fn show_registries(&self, registries: &[RegistrySettings], judgement: &check::Report) {
        let renewal = self.renewal();
        let registries = registries.iter().map(|wanted| {
            let attempts = self.tokens.get(&wanted.issuer).cloned().unwrap_or_default();
            let token = attempts.token.as_ref();
            let verdict = token.and_then(|token| self.trials.verdict(wanted.registry.host(), token));
            RegistryStatus {
                registry: wanted.registry.clone(),
                aliases: wanted.aliases.clone(),
                issuer: wanted.issuer.clone(),
                expires_at: attempts.token.as_ref().map(|token| token.expires_at),
                refresh_at: attempts.refresh_at(renewal),
                last_success_at: attempts.last_success_at,
                last_attempt_at: attempts.last_attempt_at,
                consecutive_failures: attempts.consecutive_failures,
                last_error: attempts.last_error,
                adopted: attempts.adopted,
                verdict: verdict.cloned(),
                trust: judgement.trust(&wanted.registry),
            }
        });
        let registries = registries.collect();
        self.status.send_modify(|status| status.registries = registries);
    }
}
