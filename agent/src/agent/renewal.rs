//! Tokens are renewed: whether one is due, whose turn it is to ask, and what came of it.
//!
//! What another node published is as good as a token of one's own. So the nodes ask ECR by turns, and
//! a cluster costs as many calls as one node, however large it is.

use domain::credentials::{Issuer, Token};
use domain::documents::PublishedDocument;
use domain::documents::plan::Found;
use domain::refresh::schedule::{Company, Renewal, unit_of, yield_for};
use domain::refresh::{Probed, Verdict};
use domain::registry::HostName;
use domain::settings::RegistrySettings;
use domain::time::ServerClock;
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;

use super::places::Which;
use super::{Agent, Fetched, PassReport, Round, Wake};
use crate::place::{Intent, Turn};

impl Agent {
    /// Asks for the tokens that are due, if it is this node's turn.
    pub(super) async fn renew(&mut self, round: Round<'_>, report: &mut PassReport) {
        if self.due().is_empty() {
            return;
        }
        if self.company() == Company::Shared && round.intent == Intent::CarryOut {
            self.take_turn(round, report).await;
        }
        if report.yields {
            return;
        }
        self.fetch(self.due(), round.registries, report).await;
    }

    /// Looks again whether anything is due, and if so, asks for the turn.
    async fn take_turn(&mut self, round: Round<'_>, report: &mut PassReport) {
        if self.memories.published.visited_at.is_none_or(|at| at < round.began) {
            self.look_for_others_tokens(round, report).await;
        }
        let due = self.due();
        if due.is_empty() || self.company() != Company::Shared {
            return;
        }
        match self.parts.published.take_turn().await {
            // Another node may have renewed since the look.
            Ok(Turn::Ours) => {
                report.has_turn = true;
                self.look_for_others_tokens(round, report).await;
            }
            Ok(Turn::Others) => {
                report.yields = true;
                let now = self.world.now();
                for issuer in &due {
                    let wait = yield_for(self.tokens.left(issuer, self.server_now()), self.world.random());
                    self.tokens.yield_to_others(issuer, now, wait);
                }
            }
            Err(problem) => self.memories.published.note_failure(problem, report),
        }
    }

    /// Looks at the published copy, and takes over what is better there.
    pub(super) async fn look_for_others_tokens(&mut self, round: Round<'_>, report: &mut PassReport) {
        self.visit(Which::Published, round, report).await;
        self.adopt(round.registries, report);
    }

    pub(super) fn adopt(&mut self, registries: &[RegistrySettings], report: &mut PassReport) {
        let Found::File { document, .. } = &self.memories.published.left else { return };
        if !self.memories.published.is_in_order() {
            return;
        }
        let (published, _) = PublishedDocument::read(document);
        let now = self.server_now();
        for wanted in registries {
            let better = wanted
                .names()
                .filter_map(|name| published.token(&name.into(), now))
                .max_by_key(|t| t.expires_at);
            if better.is_some_and(|token| self.tokens.adopt(&wanted.issuer, token)) {
                report.adopted.push(wanted.issuer.to_string());
                self.metrics.count_adoption(wanted.registry.host().as_str());
            }
        }
    }

    /// Gives the turn back once it served its purpose. After a failure it ends by itself, and until then
    /// keeps the other nodes from failing as well.
    pub(super) async fn end_turn(&mut self, report: &PassReport) {
        if report.has_turn && report.failed_calls == 0 && self.memories.published.is_in_order() {
            self.parts.published.end_turn().await;
        }
    }

    async fn fetch(&mut self, due: Vec<Issuer>, registries: &[RegistrySettings], report: &mut PassReport) {
        let started = self.world.now();
        let mut calls = JoinSet::new();
        for issuer in due {
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
                self.metrics.count_refresh(wanted.registry.host().as_str(), fetched.outcome.as_str(), took);
            }
            self.take_token(&issuer, fetched, report);
        }
    }

    fn take_token(&mut self, issuer: &Issuer, fetched: Fetched, report: &mut PassReport) {
        let now = self.world.now();
        self.answers.insert(issuer.clone(), fetched.outcome);
        self.take_clock_skew(fetched.clock_skew);
        match fetched.token {
            Ok(token) => {
                self.tokens.succeeded(issuer, token, now.wall);
                report.refreshed.push(issuer.to_string());
            }
            Err(problem) => {
                report.failed_calls += 1;
                report.errors.push(problem.message.clone());
                self.tokens.failed(issuer, problem, self.company(), now, self.world.random());
            }
        }
    }

    fn take_clock_skew(&mut self, skew: Option<SignedDuration>) {
        if let Some(skew) = skew {
            let server_clock = ServerClock::told(skew, self.world.now());
            self.status.send_modify(|status| status.server_clock = server_clock);
        }
    }

    /// Tries at their registries the tokens that no one has tried, and those that were refused before.
    pub(super) async fn try_tokens(&mut self, round: Round<'_>, report: &mut PassReport) {
        let mut trials = JoinSet::new();
        for (issuer, name, token) in self.untried(round) {
            let trial = self.parts.registries.probe(name.clone(), token.clone());
            trials.spawn(async move { (issuer, name, token, trial.await) });
        }
        while let Some(ended) = trials.join_next().await {
            let Ok((issuer, name, token, Probed { verdict, clock_skew })) = ended else { continue };
            let now = self.world.now();
            self.take_clock_skew(clock_skew);
            self.metrics.count_trial(name.as_str(), verdict.as_str());
            if let Verdict::Refused(status) = verdict {
                report.failed_calls += 1;
                report.errors.push(format!("{name} refuses the token of {issuer} with HTTP {status}"));
                // It was good once, or somebody would have been told before.
                if round.wake == Wake::Reload {
                    self.tokens.supersede(&issuer);
                }
            }
            self.trials.note(&name, &token, verdict, now, self.world.random());
        }
    }

    fn untried(&self, round: Round<'_>) -> Vec<(Issuer, HostName, Token)> {
        let (now, server_now) = (self.world.now(), self.server_now());
        let clock_is_told = self.status.borrow().server_clock.is_told();
        let mut untried = Vec::new();
        for wanted in round.registries {
            let Some(attempts) = self.tokens.get(&wanted.issuer) else { continue };
            let Some(token) = attempts.token.as_ref().filter(|token| token.expires_at > server_now) else {
                continue;
            };
            // Whoever published a token has tried it; but a node that never asked anyone may have a wrong
            // clock, and would then renew too early for all.
            let tries = !attempts.adopted || !clock_is_told || round.wake == Wake::Reload;
            let asked = |name: &&HostName| tries || self.trials.verdict(name, token).is_some();
            let due = wanted.names().filter(asked).filter(|name| self.trials.is_due(name, token, now));
            untried.extend(due.map(|name| (wanted.issuer.clone(), name.clone(), token.clone())));
        }
        untried
    }

    fn due(&self) -> Vec<Issuer> {
        self.tokens.due(self.renewal(), self.company(), self.world.now(), self.server_now())
    }

    /// Whether the published copy could be looked at, the last time.
    pub(super) fn company(&self) -> Company {
        if self.memories.published.is_in_order() {
            Company::Shared
        } else {
            Company::Alone { spread: self.settings.refresh.lone_spread }
        }
    }

    pub(super) fn renewal(&self) -> Renewal {
        let refresh = &self.settings.refresh;
        Renewal { share: refresh.share, jitter: refresh.jitter, unit: unit_of(&self.status.borrow().node) }
    }

    pub(super) fn server_now(&self) -> Timestamp {
        self.status.borrow().server_time(self.world.now())
    }
}
