//! A pass, step by step: each step ends with one call to HDFS or ECR, and the process may die after any of them.

use std::sync::Arc;

use domain::credentials::{Renewal, Token, TokenScope};
use domain::documents::plan::{self, Attributes, Found, Plan};
use domain::documents::{Keep, MergeContext, PublishedDocument};
use domain::problem::Problem;
use domain::refresh::schedule::{Coordination, lock_patience, lock_wait};
use domain::refresh::{Audience, Knowledge, LockHolder, ProbeResult, ProbeTask, Proof};
use domain::time::{Moment, ServerClock};
use jiff::Timestamp;

use super::{
    ATTEMPTS, CLOCK_ERRORS, FRACTIONS, ISOLATED_JITTER, LOCK, NAMES, Next, Outcome, Pass, Process, Progress,
    RANDOM, Site, Stage, Wrong, renewal,
};
use crate::outside::{File, Late, Outside, Trouble};
use crate::sights::Sight;

/// A process that takes a step.
pub(crate) struct Step<'a> {
    pub process: &'a mut Process,
    pub outside: &'a mut Outside,
    pub wrong: &'a mut Option<Wrong>,
    pub see: &'a dyn Fn(Sight),
}

impl Step<'_> {
    /// Makes the next call and decides what follows.
    pub(crate) fn make(&mut self, outcome: Outcome) {
        let outcome = if self.outside.has(Trouble::NoHdfs) { Outcome::Failed } else { outcome };
        let was_good = self.process.is_good(self.outside);
        match std::mem::replace(&mut self.process.pass, Progress::Done) {
            Progress::Due => self.read(Pass::new(), Stage::First, outcome),
            Progress::Under(pass) => self.call(*pass, outcome),
            Progress::Done => {}
        }
        if was_good && !self.process.is_good(self.outside) {
            *self.wrong = Some(Wrong::TokenDisplaced);
        }
    }

    fn call(&mut self, pass: Pass, outcome: Outcome) {
        match pass.next.clone() {
            Next::Read(stage) => self.read(pass, stage, outcome),
            Next::Compare(stage, ..) if outcome == Outcome::Failed => self.hdfs_failed(pass, stage),
            Next::Compare(stage, file, base) => {
                if self.outside.file == base {
                    self.await_call(pass, Next::Rename(stage, file, base));
                } else {
                    (self.see)(Sight::Overtaken);
                    self.await_call(pass, Next::Read(stage));
                }
            }
            Next::Rename(stage, file, base) => self.rename(pass, stage, &file, base.as_ref(), outcome),
            Next::Lock => self.lock(pass, outcome),
            Next::CreateLock => self.create_lock(pass, outcome),
            Next::Fetch => self.fetch(pass),
            Next::Release => {
                self.process.lock.released();
                if outcome == Outcome::Fine {
                    self.outside.lock = None;
                }
            }
        }
    }

    fn await_call(&mut self, pass: Pass, next: Next) {
        self.process.pass = Progress::Under(Box::new(Pass { next, ..pass }));
    }

    /// Starts a reconciliation.
    fn reconcile(&mut self, pass: Pass, stage: Stage) {
        self.await_call(Pass { attempts: 0, ..pass }, Next::Read(stage));
    }

    /// Observes the file and plans the change.
    fn read(&mut self, mut pass: Pass, stage: Stage, outcome: Outcome) {
        let wanted = self.knowledge().credentials(Audience::AllNodes, self.server_now());
        let by = MergeContext {
            renewal: self.renewal(),
            now: self.server_now(),
            rejections: self.knowledge().rejections(),
            keep: Keep::All,
        };
        pass.wanted.clone_from(&wanted);
        if outcome != Outcome::Fine || pass.attempts == ATTEMPTS {
            return self.hdfs_failed(pass, stage);
        }
        pass.attempts += 1;
        let in_place = self.outside.file.clone();
        let found = in_place.as_ref().map_or(Found::NOTHING, |file| Found::File {
            document: file.document.clone(),
            attributes: Attributes::AS_SET,
        });
        if let Plan::Replace { document, .. } =
            plan::published(&found, &wanted, NAMES[self.process.node], &by)
        {
            return self.await_call(
                pass,
                Next::Compare(stage, Arc::new(File::new(document, self.outside)), in_place),
            );
        }
        self.process.in_order = true;
        pass.is_reconciled = true;
        let nothing = PublishedDocument::default();
        self.reconciled(pass, stage, in_place.as_ref().map_or(&nothing, |file| &file.content));
    }

    fn rename(
        &mut self,
        pass: Pass,
        stage: Stage,
        file: &Arc<File>,
        base: Option<&Arc<File>>,
        outcome: Outcome,
    ) {
        if outcome == Outcome::Late {
            self.outside.late = Some(Late::Rename(Arc::clone(file)));
        }
        if outcome != Outcome::Fine {
            return self.hdfs_failed(pass, stage);
        }
        let now = self.outside.now();
        // A writer between the comparison and the rename is overwritten, and writes again.
        if let Some(before) = self.outside.file.as_ref().filter(|before| Some(*before) == base)
            && before.is_good(now)
            && (!file.is_good(now) || file.ends_before(before))
        {
            *self.wrong = Some(Wrong::FileDisplaced);
        }
        let published = file.auth.as_ref().filter(|_| file.auth != base.and_then(|base| base.auth.clone()));
        if published.is_some() && published != self.process.believed() {
            *self.wrong = Some(Wrong::HearsayPublished);
        }
        if base.is_some_and(|base| self.process.rejects(base)) {
            (self.see)(Sight::RejectedReplaced);
        }
        self.outside.file = Some(Arc::clone(file));
        self.await_call(pass, Next::Read(stage));
    }

    fn hdfs_failed(&mut self, mut pass: Pass, stage: Stage) {
        self.process.in_order = false;
        pass.is_reconciled = true;
        self.reconciled(pass, stage, &PublishedDocument::default());
    }

    /// Continues the pass after a reconciliation.
    fn reconciled(&mut self, mut pass: Pass, stage: Stage, document: &PublishedDocument) {
        if stage != Stage::Last {
            self.adopt(&mut pass, document);
        }
        match stage {
            Stage::First => {
                if !self.process.clock.is_known() {
                    self.probe_tokens(&mut pass);
                }
                self.renew(pass);
            }
            Stage::BeforeLock => self.await_lock(pass),
            Stage::UnderLock => self.await_fetch(pass),
            Stage::Last => self.finish(pass),
        }
    }

    fn adopt(&mut self, pass: &mut Pass, document: &PublishedDocument) {
        if !self.process.in_order {
            return;
        }
        if !self.process.clock.is_known() {
            let candidates = self.knowledge().candidates(document, None);
            self.probe_candidates(pass, &candidates);
        }
        let candidates = self.knowledge().candidates(document, Some(self.server_now()));
        self.probe_candidates(pass, &candidates);
        for (scope, token) in candidates {
            let Some(proof) = self.knowledge().adoption(&scope, &token, self.server_now()) else { continue };
            if self.process.tokens.adopt(&scope, token, proof) {
                (self.see)(if proof == Proof::Unproven { Sight::AdoptedUnproven } else { Sight::Adopted });
            }
        }
    }

    fn probe_candidates(&mut self, pass: &mut Pass, candidates: &[(TokenScope, Token)]) {
        let due = self.knowledge().unprobed_candidates(candidates, self.now());
        for (_, result) in self.probe(due) {
            if matches!(result, ProbeResult::Rejected(_)) {
                pass.is_reconciled = false;
            }
        }
    }

    fn probe_tokens(&mut self, pass: &mut Pass) {
        let due = self.knowledge().unprobed(false, self.now(), self.server_now());
        for ((scope, _, token), result) in self.probe(due) {
            if matches!(result, ProbeResult::Rejected(_)) {
                pass.has_failed = true;
                if self.knowledge().is_refuted(&scope, &token.auth) {
                    self.process.tokens.discard(&scope);
                    pass.is_reconciled = false;
                }
            }
        }
    }

    fn probe(&mut self, due: Vec<ProbeTask>) -> Vec<(ProbeTask, ProbeResult)> {
        let mut probed = Vec::new();
        for task in due {
            let result = if self.outside.has(Trouble::NoRegistry) {
                ProbeResult::Unknown("away".to_owned())
            } else {
                self.learn_the_time();
                let until = self.outside.taken_until(&task.2.auth);
                let is_taken = until.is_some_and(|until| until > self.outside.now());
                if is_taken { ProbeResult::Accepted } else { ProbeResult::Rejected(401) }
            };
            let now = self.now();
            self.process.probes.record(&task.1, &task.2.auth, result.clone(), now, RANDOM);
            probed.push((task, result));
        }
        probed
    }

    fn renew(&mut self, pass: Pass) {
        if self.is_due() && self.process.in_order && !pass.is_reconciled {
            self.reconcile(pass, Stage::BeforeLock);
        } else {
            self.await_lock(pass);
        }
    }

    fn await_lock(&mut self, pass: Pass) {
        if self.is_due() && self.process.in_order {
            self.await_call(pass, Next::Lock);
        } else {
            self.await_fetch(pass);
        }
    }

    fn lock(&mut self, pass: Pass, outcome: Outcome) {
        let now = self.now().uptime;
        if self.process.lock.is_held(now) {
            return self.locked(pass);
        }
        match self.outside.lock {
            _ if outcome != Outcome::Fine => self.lock_failed(pass, outcome),
            None => self.create_lock(pass, outcome),
            Some(lock) => {
                let is_own = lock.node == Some(self.process.node);
                if !is_own && !self.process.lock.is_abandoned(lock.mark.into(), now) {
                    let node = lock.node.map(|node| NAMES[node].to_owned());
                    return self.held_elsewhere(pass, &LockHolder { node, since: None });
                }
                (self.see)(Sight::LockTakenOver);
                self.outside.lock = None;
                self.await_call(pass, Next::CreateLock);
            }
        }
    }

    fn create_lock(&mut self, pass: Pass, outcome: Outcome) {
        if outcome != Outcome::Fine {
            return self.lock_failed(pass, outcome);
        }
        if self.outside.lock.is_some() {
            return self.held_elsewhere(pass, &LockHolder::default());
        }
        self.outside.create_lock(Some(self.process.node));
        let now = self.now().uptime;
        self.process.lock.acquired(now);
        self.locked(pass);
    }

    fn locked(&mut self, pass: Pass) {
        self.reconcile(Pass { holds_lock: true, ..pass }, Stage::UnderLock);
    }

    fn lock_failed(&mut self, pass: Pass, outcome: Outcome) {
        if outcome == Outcome::Late {
            self.outside.late = Some(Late::CreateLock(self.process.node));
        }
        self.process.in_order = false;
        self.await_fetch(pass);
    }

    fn held_elsewhere(&mut self, mut pass: Pass, holder: &LockHolder) {
        pass.waits_for_lock = true;
        let (now, scope) = (self.now(), Site::get().scope());
        if !self.process.tokens.is_impatient(scope, now) {
            let left = self.process.tokens.left(scope, self.server_now());
            let patience = lock_patience(left, LOCK, FRACTIONS[self.process.node]);
            let wait = lock_wait(left, RANDOM);
            self.process.tokens.wait_for_lock(scope, now, wait, patience, holder.clone());
        }
        self.await_fetch(pass);
    }

    fn await_fetch(&mut self, pass: Pass) {
        let is_impatient = self.process.tokens.is_impatient(Site::get().scope(), self.now());
        if self.is_due() && (!pass.waits_for_lock || is_impatient) {
            if pass.waits_for_lock {
                (self.see)(Sight::Impatient);
            }
            self.await_call(pass, Next::Fetch);
        } else {
            self.end(pass);
        }
    }

    fn fetch(&mut self, mut pass: Pass) {
        let (now, scope) = (self.now(), Site::get().scope());
        if self.outside.has(Trouble::NoEcr) {
            pass.has_failed = true;
            let coordination = if self.process.tokens.is_impatient(scope, now) {
                Coordination::Isolated { jitter: ISOLATED_JITTER }
            } else {
                self.coordination()
            };
            self.process.tokens.failed(scope, Problem::new("refused"), coordination, now, RANDOM);
        } else {
            let token = self.outside.issue();
            let tick = self.outside.tick;
            if self.process.asked.replace(tick) == Some(tick) {
                *self.wrong = Some(Wrong::AskedAgain);
            }
            self.learn_the_time();
            self.process.tokens.succeeded(scope, token, now);
        }
        self.end(pass);
    }

    /// Ends the pass, or reconciles what it has changed.
    fn end(&mut self, mut pass: Pass) {
        self.probe_tokens(&mut pass);
        let wanted = self.knowledge().credentials(Audience::AllNodes, self.server_now());
        if pass.is_reconciled && pass.wanted == wanted {
            self.finish(pass);
        } else {
            self.reconcile(pass, Stage::Last);
        }
    }

    fn finish(&mut self, pass: Pass) {
        let holds = self.process.lock.is_held(self.now().uptime);
        if pass.holds_lock && holds && !pass.has_failed && self.process.in_order {
            self.await_call(pass, Next::Release);
        }
    }

    fn is_due(&self) -> bool {
        let (renewal, coordination) = (self.renewal(), self.coordination());
        !self.process.tokens.due(renewal, coordination, self.now(), self.server_now()).is_empty()
    }

    fn renewal(&self) -> Renewal {
        renewal(self.process.node)
    }

    fn coordination(&self) -> Coordination {
        if self.process.in_order {
            Coordination::Coordinated
        } else {
            Coordination::Isolated { jitter: ISOLATED_JITTER }
        }
    }

    fn knowledge(&self) -> Knowledge<'_> {
        self.process.knowledge()
    }

    fn learn_the_time(&mut self) {
        self.process.clock = ServerClock::from_skew(-CLOCK_ERRORS[self.process.node], self.now());
    }

    fn now(&self) -> Moment {
        self.process.now(self.outside.tick)
    }

    fn server_now(&self) -> Timestamp {
        self.process.clock.at(self.now())
    }
}
