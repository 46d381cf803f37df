//! Token renewal: whether a token is due, which node fetches it, and whether its registry accepts it.
//!
//! A published token is as good as one fetched here once this node's registry accepts it. So the nodes renew it one
//! at a time under the refresh lock, and a cluster of any size makes no more calls than one node.

use domain::credentials::{Renewal, Token, TokenScope};
use domain::refresh::schedule::{Coordination, lock_patience, lock_wait};
use domain::refresh::{Probe, ProbeResult, ProbeTask};
use domain::registry::HostName;
use domain::settings::RegistrySettings;
use domain::time::ServerClock;
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;

use super::sinks::Which;
use super::{Agent, Fetched, PassContext, PassReport, Wake};
use crate::sink::{Intent, RefreshLock};

impl Agent {
    /// Fetches the tokens that are due; while another node holds the refresh lock, only those that waited too long.
    pub(super) async fn renew(&mut self, context: PassContext<'_>, report: &mut PassReport) {
        if self.due().is_empty() {
            report.waits_for_lock = self.state.tokens.waits_for_lock();
            return;
        }
        if self.coordination() == Coordination::Coordinated && context.intent == Intent::Apply {
            self.try_acquire(context, report).await;
        }
        let now = self.world.now();
        let mut due = self.due();
        due.retain(|scope| !report.waits_for_lock || self.state.tokens.is_impatient(scope, now));
        self.fetch(due, context.registries, report).await;
    }

    /// Acquires the refresh lock if a token is still due after reading the published copy.
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
                self.state.tokens.lock_acquired();
                self.refresh_from_published(context, report).await;
            }
            Ok(RefreshLock::HeldElsewhere(holder)) => {
                report.waits_for_lock = true;
                let now = self.world.now();
                let (length, fraction) =
                    (self.settings.deadlines.refresh_lock(), self.renewal().jitter_fraction);
                let patient = due.iter().filter(|scope| !self.state.tokens.is_impatient(scope, now));
                for scope in patient.collect::<Vec<_>>() {
                    let left = self.state.tokens.left(scope, self.server_now());
                    let wait = lock_wait(left, self.world.random());
                    let patience = lock_patience(left, length, fraction);
                    self.state.tokens.wait_for_lock(scope, now, wait, patience, holder.clone());
                }
            }
            Err(problem) => self.state.sinks.published.note_failure(problem, report),
        }
    }

    /// Rereads the published copy and adopts better tokens from it.
    pub(super) async fn refresh_from_published(&mut self, context: PassContext<'_>, report: &mut PassReport) {
        self.reconcile(Which::Published, context, report).await;
        self.adopt(report).await;
    }

    /// Adopts published tokens that are better than the current ones, once this node's own probes accept them.
    pub(super) async fn adopt(&mut self, report: &mut PassReport) {
        if !self.state.server_clock.is_known() {
            // The responses carry the time, which decides which tokens are possible.
            self.probe_candidates(&self.candidates(None), report).await;
        }
        let candidates = self.candidates(Some(self.server_now()));
        self.probe_candidates(&candidates, report).await;
        for (scope, token) in candidates {
            let Some(proof) = self.state.knowledge().adoption(&scope, &token, self.server_now()) else {
                continue;
            };
            if self.state.tokens.adopt(&scope, token, proof) {
                report.adopted.push(scope.to_string());
                for wanted in self.state.registries.iter().filter(|wanted| wanted.scope == scope) {
                    self.metrics.count_adoption(wanted.registry.host().as_str());
                }
            }
        }
    }

    /// Probes candidates that have no result yet; a rejected entry is replaced at the end of this pass.
    async fn probe_candidates(&mut self, candidates: &[(TokenScope, Token)], report: &mut PassReport) {
        let due = self.state.knowledge().unprobed_candidates(candidates, self.world.now());
        for (scope, name, _, result) in self.run_probes(due).await {
            if let ProbeResult::Rejected(status) = result {
                let error = format!("{name} rejected the published token of {scope} with HTTP {status}");
                report.errors.push(error);
                self.state.sinks.published.reconciled_at = None;
            }
        }
    }

    fn candidates(&self, server_now: Option<Timestamp>) -> Vec<(TokenScope, Token)> {
        let published = &self.state.sinks.published;
        if !published.is_in_order() {
            return Vec::new();
        }
        self.state.knowledge().candidates(&published.document, server_now)
    }

    /// Releases the refresh lock after a success. After a failure the lock expires, which throttles retries.
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
        self.beat();
        let started = self.world.now();
        let mut calls = JoinSet::new();
        for scope in due {
            let call = tokio::spawn(self.parts.tokens.fetch(scope.clone()));
            calls.spawn(async move { (scope, call.await) });
        }
        while let Some(ended) = calls.join_next().await {
            let (scope, fetched) = ended.expect("a task that only waits does not panic");
            let fetched = fetched.unwrap_or_else(|_| Fetched::panicked(&scope));
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
                self.state.tokens.succeeded(scope, token, now);
                report.refreshed.push(scope.to_string());
            }
            Err(problem) => {
                report.failed_calls += 1;
                report.errors.push(problem.message.clone());
                // Nodes that no longer wait for each other spread their calls like isolated ones.
                let coordination = if self.state.tokens.is_impatient(scope, now) {
                    Coordination::Isolated { jitter: self.settings.refresh.isolated_jitter }
                } else {
                    self.coordination()
                };
                self.state.tokens.failed(scope, problem, coordination, now, self.world.random());
            }
        }
    }

    fn take_clock_skew(&mut self, skew: Option<SignedDuration>) {
        if let Some(skew) = skew {
            self.state.server_clock = ServerClock::from_skew(skew, self.world.now());
        }
    }

    /// Probes the current tokens that have no result yet or were rejected.
    pub(super) async fn probe_tokens(&mut self, context: PassContext<'_>, report: &mut PassReport) {
        let is_reload = context.wake == Wake::Reload;
        let unprobed = self.state.knowledge().unprobed(is_reload, self.world.now(), self.server_now());
        for (scope, name, token, result) in self.run_probes(unprobed).await {
            let ProbeResult::Rejected(status) = result else { continue };
            report.failed_calls += 1;
            report.errors.push(format!("{name} rejected the token of {scope} with HTTP {status}"));
            if self.state.knowledge().is_refuted(&scope, &token.auth) {
                self.state.tokens.discard(&scope);
                self.state.sinks.published.reconciled_at = None;
            } else if is_reload {
                // Keep it until a new one arrives: it was good once, or it would not have been published.
                self.state.tokens.supersede(&scope);
            }
        }
    }

    /// Runs these probes concurrently and records their results.
    async fn run_probes(&mut self, due: Vec<ProbeTask>) -> Vec<(TokenScope, HostName, Token, ProbeResult)> {
        if !due.is_empty() {
            self.beat();
        }
        let mut running = JoinSet::new();
        for (scope, name, token) in due {
            let probe = self.parts.registries.probe(name.clone(), token.clone());
            running.spawn(async move { (scope, name, token, probe.await) });
        }
        let mut probed = Vec::new();
        while let Some(ended) = running.join_next().await {
            let Ok((scope, name, token, Probe { result, clock_skew })) = ended else { continue };
            // An alias may be a proxy with a clock of its own.
            if self.state.registries.iter().any(|wanted| *wanted.registry.host() == name) {
                self.take_clock_skew(clock_skew);
            }
            self.metrics.count_probe(name.as_str(), result.as_str());
            let (now, random) = (self.world.now(), self.world.random());
            self.state.probes.record(&name, &token.auth, result.clone(), now, random);
            probed.push((scope, name, token, result));
        }
        probed
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
