//! Tokens are renewed: whether one is due, which node fetches it, and whether its registry accepts it.
//!
//! A token that another node published is as good as one's own. So the nodes take turns renewing it under the refresh
//! lock, and a cluster of any size makes no more calls than one node.

use domain::credentials::{Token, TokenScope};
use domain::documents::PublishedDocument;
use domain::documents::plan::Found;
use domain::refresh::schedule::{Coordination, Renewal, lock_wait};
use domain::refresh::{Probe, ProbeResult};
use domain::registry::HostName;
use domain::settings::RegistrySettings;
use domain::time::ServerClock;
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;

use super::sinks::Which;
use super::{Agent, Fetched, PassContext, PassReport, Wake};
use crate::sink::{Intent, RefreshLock};

impl Agent {
    /// Fetches the tokens that are due, unless another node holds the refresh lock.
    pub(super) async fn renew(&mut self, context: PassContext<'_>, report: &mut PassReport) {
        if self.due().is_empty() {
            return;
        }
        if self.coordination() == Coordination::Coordinated && context.intent == Intent::Apply {
            self.try_acquire(context, report).await;
        }
        if report.waits_for_lock {
            return;
        }
        self.fetch(self.due(), context.registries, report).await;
    }

    /// Acquires the refresh lock if anything is still due by what is published now.
    async fn try_acquire(&mut self, context: PassContext<'_>, report: &mut PassReport) {
        if self.state.sinks.published.reconciled_at.is_none_or(|at| at < context.began) {
            self.refresh_from_published(context, report).await;
        }
        let due = self.due();
        if due.is_empty() || self.coordination() != Coordination::Coordinated {
            return;
        }
        match self.parts.published.try_acquire().await {
            // Another node may have renewed since the last read.
            Ok(RefreshLock::Acquired) => {
                report.holds_lock = true;
                self.refresh_from_published(context, report).await;
            }
            Ok(RefreshLock::HeldElsewhere) => {
                report.waits_for_lock = true;
                let now = self.world.now();
                for scope in &due {
                    let wait =
                        lock_wait(self.state.tokens.left(scope, self.server_now()), self.world.random());
                    self.state.tokens.wait_for_lock(scope, now, wait);
                }
            }
            Err(problem) => self.state.sinks.published.note_failure(problem, report),
        }
    }

    /// Reads the published copy again, and adopts what is better there.
    pub(super) async fn refresh_from_published(&mut self, context: PassContext<'_>, report: &mut PassReport) {
        self.reconcile(Which::Published, context, report).await;
        self.adopt(context.registries, report);
    }

    pub(super) fn adopt(&mut self, registries: &[RegistrySettings], report: &mut PassReport) {
        let Found::File { document, .. } = &self.state.sinks.published.left else { return };
        if !self.state.sinks.published.is_in_order() {
            return;
        }
        let (published, _) = PublishedDocument::read(document);
        let now = self.server_now();
        for wanted in registries {
            let better = wanted
                .names()
                .filter_map(|name| published.token(&name.into(), now))
                .max_by_key(|t| t.expires_at);
            if better.is_some_and(|token| self.state.tokens.adopt(&wanted.scope, token)) {
                report.adopted.push(wanted.scope.to_string());
                self.metrics.count_adoption(wanted.registry.host().as_str());
            }
        }
    }

    /// Releases the refresh lock after a success. A failed holder lets the lock expire, which throttles retries.
    pub(super) async fn release_lock(&mut self, report: &PassReport) {
        if report.holds_lock && report.failed_calls == 0 && self.state.sinks.published.is_in_order() {
            self.parts.published.release().await;
        }
    }

    async fn fetch(
        &mut self,
        due: Vec<TokenScope>,
        registries: &[RegistrySettings],
        report: &mut PassReport,
    ) {
        let started = self.world.now();
        let mut calls = JoinSet::new();
        for scope in due {
            let call = self.parts.tokens.fetch(scope.clone());
            calls.spawn(async move { (scope, call.await) });
        }
        while let Some(ended) = calls.join_next().await {
            let Ok((scope, fetched)) = ended else {
                report.errors.push("the AWS SDK panicked while fetching a token".to_owned());
                continue;
            };
            let took = self.world.now().uptime.saturating_sub(started.uptime);
            for wanted in registries.iter().filter(|wanted| wanted.scope == scope) {
                self.metrics.count_refresh(wanted.registry.host().as_str(), fetched.outcome.as_str(), took);
            }
            self.take_token(&scope, fetched, report);
        }
    }

    fn take_token(&mut self, scope: &TokenScope, fetched: Fetched, report: &mut PassReport) {
        let now = self.world.now();
        self.state.answers.insert(scope.clone(), fetched.outcome);
        self.take_clock_skew(fetched.clock_skew);
        match fetched.token {
            Ok(token) => {
                self.state.tokens.succeeded(scope, token, now.wall);
                report.refreshed.push(scope.to_string());
            }
            Err(problem) => {
                report.failed_calls += 1;
                report.errors.push(problem.message.clone());
                self.state.tokens.failed(scope, problem, self.coordination(), now, self.world.random());
            }
        }
    }

    fn take_clock_skew(&mut self, skew: Option<SignedDuration>) {
        if let Some(skew) = skew {
            self.state.server_clock = ServerClock::from_skew(skew, self.world.now());
        }
    }

    /// Probes at their registries the tokens that nobody has probed, and those that were rejected before.
    pub(super) async fn probe_tokens(&mut self, context: PassContext<'_>, report: &mut PassReport) {
        let mut running = JoinSet::new();
        for (scope, name, token) in self.unprobed(context) {
            let probe = self.parts.registries.probe(name.clone(), token.clone());
            running.spawn(async move { (scope, name, token, probe.await) });
        }
        while let Some(ended) = running.join_next().await {
            let Ok((scope, name, token, Probe { result, clock_skew })) = ended else { continue };
            let now = self.world.now();
            self.take_clock_skew(clock_skew);
            self.metrics.count_probe(name.as_str(), result.as_str());
            if let ProbeResult::Rejected(status) = result {
                report.failed_calls += 1;
                report.errors.push(format!("{name} rejected the token of {scope} with HTTP {status}"));
                // It was good once: a bad one is not published.
                if context.wake == Wake::Reload {
                    self.state.tokens.supersede(&scope);
                }
            }
            self.state.probes.record(&name, &token, result, now, self.world.random());
        }
    }

    fn unprobed(&self, context: PassContext<'_>) -> Vec<(TokenScope, HostName, Token)> {
        let (now, server_now) = (self.world.now(), self.server_now());
        let clock_is_known = self.state.server_clock.is_known();
        let mut unprobed = Vec::new();
        for wanted in context.registries {
            let Some(attempts) = self.state.tokens.get(&wanted.scope) else { continue };
            let Some(token) = attempts.token.as_ref().filter(|token| token.expires_at > server_now) else {
                continue;
            };
            // Whoever published a token has probed it; but a node that never asked anyone may have a wrong
            // clock, and would then renew too early for all.
            let probes = !attempts.adopted || !clock_is_known || context.wake == Wake::Reload;
            let wanted_here = |name: &&HostName| probes || self.state.probes.result(name, token).is_some();
            let due =
                wanted.names().filter(wanted_here).filter(|name| self.state.probes.is_due(name, token, now));
            unprobed.extend(due.map(|name| (wanted.scope.clone(), name.clone(), token.clone())));
        }
        unprobed
    }

    fn due(&self) -> Vec<TokenScope> {
        self.state.tokens.due(self.renewal(), self.coordination(), self.world.now(), self.server_now())
    }

    pub(super) fn coordination(&self) -> Coordination {
        self.state.coordination(&self.settings)
    }

    pub(super) fn renewal(&self) -> Renewal {
        self.state.renewal(&self.settings)
    }

    pub(super) fn server_now(&self) -> Timestamp {
        self.state.server_clock.at(self.world.now())
    }
}
