//! One node: what it knows, and its next call. Between two calls the agent's own code decides.

mod pass;

use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use domain::credentials::{Credentials, EntryName, Renewal, Secret, TokenScope};
use domain::refresh::schedule::Coordination;
use domain::refresh::{Knowledge, LockState, ProbeResult, Probes, Proof, Tokens};
use domain::registry::EcrRegistry;
use domain::settings::RegistrySettings;
use domain::time::{Moment, ServerClock};
use jiff::SignedDuration;

use crate::outside::{File, HOST, LIFE, Outside, TICK, at};
pub(crate) use pass::Step;

pub(crate) const NODES: usize = 3;
/// Local clock minus the server's: one clock is right, one is further ahead than a token's life, one is behind.
const CLOCK_ERRORS: [SignedDuration; NODES] =
    [SignedDuration::ZERO, SignedDuration::from_mins(60), SignedDuration::from_mins(-20)];
const NAMES: [&str; NODES] = ["node-0", "node-1", "node-2"];
/// Each node's position in the spread.
const FRACTIONS: [f64; NODES] = [0.0, 0.4, 0.8];
const RENEW_AT: f64 = 0.51;
const JITTER: f64 = 0.1;
/// The longest that a living node holds the refresh lock.
const LOCK: Duration = Duration::from_secs(90);
const ISOLATED_JITTER: Duration = Duration::from_secs(120);
/// Every random draw returns the mean.
const RANDOM: f64 = 0.5;
/// The reconciliation of a sink gives up after this many plans.
const ATTEMPTS: u8 = 6;

/// The constants of the search.
#[derive(Debug)]
pub(crate) struct Site {
    registries: [RegistrySettings; 1],
    pub entry: EntryName,
}

/// A process of the agent, with its knowledge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    node: usize,
    born: u16,
    tokens: Tokens,
    probes: Probes,
    lock: LockState,
    clock: ServerClock,
    /// Whether the last call to HDFS succeeded.
    in_order: bool,
    /// The tick of the last successful call to ECR.
    asked: Option<u16>,
    pub pass: Progress,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Progress {
    Due,
    Under(Box<Pass>),
    Done,
}

/// A pass between two calls.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Pass {
    next: Next,
    /// The credentials that the file was last reconciled with.
    wanted: Credentials,
    is_reconciled: bool,
    attempts: u8,
    waits_for_lock: bool,
    holds_lock: bool,
    has_failed: bool,
}

/// The next call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Next {
    Read(Stage),
    /// After writing the temporary file: is the target unchanged since the plan?
    Compare(Stage, Arc<File>, Option<Arc<File>>),
    Rename(Stage, Arc<File>, Option<Arc<File>>),
    Lock,
    /// After deleting the abandoned lock.
    CreateLock,
    Fetch,
    Release,
}

/// Why the pass reconciles the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stage {
    First,
    BeforeLock,
    UnderLock,
    Last,
}

/// How the next call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    Fine,
    /// The NameNode responds after the deadline and executes the call at any later time.
    Late,
    /// HDFS cannot be reached.
    Failed,
}

/// A violation of a safety property.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Wrong {
    /// A node replaced a living token that the registry accepts with one that it rejects.
    TokenDisplaced,
    /// A node replaced a good file that it had just read with a worse one.
    FileDisplaced,
    /// A node published a credential that only others vouch for.
    HearsayPublished,
    /// A process called ECR again within a minute of a success.
    AskedAgain,
}

impl Site {
    pub(crate) fn get() -> &'static Self {
        static SITE: LazyLock<Site> = LazyLock::new(|| {
            let registry = EcrRegistry::parse(HOST).expect("a registry");
            let entry = EntryName::from(registry.host());
            Site { registries: [RegistrySettings::of(registry)], entry }
        });
        &SITE
    }

    fn scope(&self) -> &TokenScope {
        &self.registries[0].scope
    }
}

impl Process {
    pub(crate) fn new(node: usize, tick: u16) -> Self {
        let mut tokens = Tokens::default();
        tokens.retain([Site::get().scope()], Moment { wall: at(tick), uptime: Duration::ZERO });
        Self {
            node,
            born: tick,
            tokens,
            probes: Probes::default(),
            lock: LockState::new(LOCK),
            clock: ServerClock::default(),
            in_order: false,
            asked: None,
            pass: Progress::Due,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.pass == Progress::Done
    }

    pub(crate) fn begin_tick(&mut self) {
        self.pass = Progress::Due;
    }

    /// Returns whether the next call is to HDFS and its failure matters.
    pub(crate) fn calls_hdfs(&self) -> bool {
        match &self.pass {
            Progress::Due => true,
            Progress::Under(pass) => {
                matches!(pass.next, Next::Read(_) | Next::Rename(..) | Next::Lock | Next::CreateLock)
            }
            Progress::Done => false,
        }
    }

    /// Returns whether it has a believed token that the registry accepts.
    pub(crate) fn is_good(&self, outside: &Outside) -> bool {
        let until = self.believed().and_then(|auth| outside.taken_until(auth));
        until.is_some_and(|until| until > outside.now())
    }

    /// The token that it has reason to believe.
    fn believed(&self) -> Option<&Secret> {
        let attempts =
            self.tokens.get(Site::get().scope()).filter(|attempts| attempts.proof != Proof::Unproven);
        attempts.and_then(|attempts| attempts.token.as_ref()).map(|token| &token.auth)
    }

    pub(crate) fn is_in_order(&self) -> bool {
        self.in_order
    }

    pub(crate) fn rejects(&self, file: &File) -> bool {
        file.auth
            .as_ref()
            .is_some_and(|auth| self.probes.rejects(Site::get().registries[0].registry.host(), auth))
    }

    /// Hashes everything that later steps depend on, with times relative to now, since most deadlines have passed.
    /// Counts of consecutive failures are left out: no wait for the next attempt is longer than a tick.
    pub(crate) fn hash_essence<H: Hasher>(&self, outside: &Outside, hasher: &mut H) {
        let site = Site::get();
        let now = self.now(outside.tick);
        let attempts = self.tokens.get(site.scope());
        let renewal = renewal(self.node);
        let isolated = Coordination::Isolated { jitter: ISOLATED_JITTER };
        let asks_after = [Coordination::Coordinated, isolated].map(|coordination| {
            attempts.map(|attempts| attempts.asks_after(renewal, coordination).saturating_sub(now.uptime))
        });
        let deadline = attempts
            .and_then(|attempts| attempts.lock_wait.as_ref())
            .map(|wait| wait.deadline.saturating_sub(now.uptime));
        let soon = [Duration::ZERO, TICK, TICK * 2].map(|wait| now.uptime + wait);
        let holds = soon.map(|at| self.lock.is_held(at));
        let abandons = outside.lock.map(|lock| {
            // A lock not seen before is never abandoned.
            [soon[0], soon[1], soon[2], Duration::MAX]
                .map(|at| self.lock.clone().is_abandoned(lock.mark.into(), at))
        });
        let is_overtaken = match &self.pass {
            Progress::Under(pass) => match &pass.next {
                Next::Compare(_, _, base) | Next::Rename(_, _, base) => *base != outside.file,
                _ => false,
            },
            _ => false,
        };
        let host = site.registries[0].registry.host();
        let in_file = outside.file.as_ref().and_then(|file| file.auth.as_ref());
        let token = attempts.and_then(|attempts| attempts.token.as_ref());
        let in_hand = token.map(|token| &token.auth);
        let auths = outside.issued.iter().map(|token| &token.auth).chain(in_hand).chain(in_file);
        let probed: Vec<_> = auths
            .map(|auth| {
                let verdict = match self.probes.result(host, auth)? {
                    ProbeResult::Accepted => 0,
                    ProbeResult::Rejected(_) => 1,
                    ProbeResult::Unknown(_) => 2,
                };
                Some((verdict, self.probes.is_due(host, auth, now)))
            })
            .collect();
        let asked_now = self.asked == Some(outside.tick);
        (token.map(|token| (&token.auth, &token.predecessor)), attempts.map(|a| a.proof)).hash(hasher);
        (asks_after, deadline, holds, abandons, probed, self.clock.is_known()).hash(hasher);
        (self.in_order, asked_now, is_overtaken, &self.pass).hash(hasher);
    }

    fn now(&self, tick: u16) -> Moment {
        Moment { wall: at(tick) + CLOCK_ERRORS[self.node], uptime: TICK * u32::from(tick - self.born) }
    }

    fn knowledge(&self) -> Knowledge<'_> {
        Knowledge { registries: &Site::get().registries, tokens: &self.tokens, probes: &self.probes }
    }
}

fn renewal(node: usize) -> Renewal {
    Renewal { renew_at: RENEW_AT, jitter: JITTER, jitter_fraction: FRACTIONS[node] }
}

impl Pass {
    fn new() -> Self {
        Self {
            next: Next::Read(Stage::First),
            wanted: Credentials::new(),
            is_reconciled: false,
            attempts: 0,
            waits_for_lock: false,
            holds_lock: false,
            has_failed: false,
        }
    }
}

const _: () = assert!(LIFE > 8, "a life has to be longer than the waits for the lock");
