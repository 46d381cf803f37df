//! The state that all nodes share: ECR with its rate limit, HDFS with the published document and the lock, counters.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::credentials::EntryName;
use domain::documents::{Document, PublishedDocument};
use emr_ecr_agent_tests::node::TRUSTED_REGISTRY;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::outages::{Outages, Span};

/// When the cluster boots, by the server's clock.
pub(crate) const BOOT: Timestamp = Timestamp::constant(1_800_000_000, 0);
pub(crate) const TOKEN_LIFE: Duration = Duration::from_secs(12 * 3600);
/// ECR's limit for one account in one Region.
const CALLS_PER_SECOND: f64 = 20.0;
const BURST: f64 = 200.0;
/// The remaining life of a fresh credential: the agent's default.
const MINIMUM_VALIDITY: Duration = Duration::from_secs(30 * 60);

#[derive(Clone)]
pub(crate) struct Cluster {
    state: Arc<Mutex<State>>,
    started: Instant,
    /// Counts the changes on HDFS that nodes would notice.
    pub version: watch::Sender<u64>,
}

pub(crate) struct State {
    outages: Outages,
    bucket: Bucket,
    pub document: Option<Document>,
    pub revision: u64,
    /// The refresh lock's mark while a node holds the lock.
    lock: Option<u64>,
    marks: u64,
    published: Option<Publication>,
    pub counts: Counts,
}

/// The credential that readers find, and since when.
#[derive(Clone, Copy)]
struct Publication {
    expires_at: Duration,
    since: Duration,
}

/// The cost and the quality of one run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub calls: u64,
    pub throttled: u64,
    pub peak_calls_per_second: u64,
    second: u64,
    in_second: u64,
    pub writes: u64,
    /// NameNode calls beyond the one per interval.
    pub extra_rpcs: u64,
    pub node_seconds: f64,
    pub expired_seconds: f64,
    pub below_minimum_seconds: f64,
    pub first_publish: Option<Duration>,
    /// When the last initial node became fresh.
    pub all_fresh: Option<Duration>,
    pub passes: u64,
    pub span: Duration,
}

struct Bucket {
    tokens: f64,
    at: Duration,
}

/// ECR's response to a call.
pub(crate) enum Answer {
    Token { auth: String, issued_at: Timestamp, expires_at: Timestamp },
    Throttled,
    Down,
}

impl Cluster {
    pub(crate) fn new(outages: Outages) -> Self {
        let state = State {
            outages,
            bucket: Bucket { tokens: BURST, at: Duration::ZERO },
            document: None,
            revision: 0,
            lock: None,
            marks: 0,
            published: None,
            counts: Counts::default(),
        };
        let version = watch::Sender::new(0);
        Self { state: Arc::new(Mutex::new(state)), started: Instant::now(), version }
    }

    /// Time since the cluster booted.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn call_ecr(&self) -> Answer {
        self.state().call_ecr(self.now())
    }

    pub(crate) fn hdfs_is_up(&self) -> bool {
        let now = self.now();
        !self.state().outages.hdfs.iter().any(|span| span.holds(now))
    }

    /// The times at which HDFS starts or stops responding.
    pub(crate) fn changes_of_hdfs(&self) -> Vec<Duration> {
        self.state().outages.hdfs.iter().flat_map(|Span { from, to }| [*from, *to]).collect()
    }

    pub(crate) fn publish(&self, document: Document) {
        self.state().publish(document, self.now());
        self.touch();
    }

    /// Creates the lock; the error is the mark of an existing one.
    pub(crate) fn create_lock(&self) -> Result<(), u64> {
        let mut state = self.state();
        state.counts.extra_rpcs += 2;
        match state.lock {
            Some(mark) => Err(mark),
            None => {
                state.marks += 1;
                state.lock = Some(state.marks);
                Ok(())
            }
        }
    }

    pub(crate) fn remove_lock(&self) {
        let mut state = self.state();
        state.counts.extra_rpcs += 1;
        state.lock = None;
    }

    /// Wakes every node after a change on HDFS.
    pub(crate) fn touch(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    /// Returns the final counts.
    pub(crate) fn end(&self) -> Counts {
        let now = self.now();
        let mut state = self.state();
        state.settle(now);
        state.counts.span = now;
        state.counts.clone()
    }
}

impl State {
    fn call_ecr(&mut self, now: Duration) -> Answer {
        self.counts.calls += 1;
        if self.counts.second != now.as_secs() {
            (self.counts.second, self.counts.in_second) = (now.as_secs(), 0);
        }
        self.counts.in_second += 1;
        self.counts.peak_calls_per_second = self.counts.peak_calls_per_second.max(self.counts.in_second);
        if !self.bucket.take(now) {
            self.counts.throttled += 1;
            return Answer::Throttled;
        }
        if self.outages.ecr.iter().any(|span| span.holds(now)) {
            return Answer::Down;
        }
        let issued_at = BOOT + now;
        Answer::Token {
            auth: STANDARD.encode(format!("AWS:token-{}-{}", now.as_millis(), self.counts.calls)),
            issued_at,
            expires_at: issued_at + TOKEN_LIFE,
        }
    }

    fn publish(&mut self, document: Document, now: Duration) {
        self.settle(now);
        self.counts.writes += 1;
        self.counts.first_publish.get_or_insert(now);
        let name = EntryName::parse(TRUSTED_REGISTRY);
        let expires_at = name.and_then(|name| PublishedDocument::read(&document).0.expires_at(&name));
        self.published = expires_at.map(|at| Publication {
            expires_at: Duration::try_from(at.duration_since(BOOT)).unwrap_or_default(),
            since: now,
        });
        self.document = Some(document);
        self.revision += 1;
    }

    /// Adds up how long readers found an expired or expiring credential.
    fn settle(&mut self, now: Duration) {
        let Some(publication) = &mut self.published else { return };
        let later_than = |end: Duration| now.saturating_sub(end.max(publication.since)).as_secs_f64();
        self.counts.expired_seconds += later_than(publication.expires_at);
        self.counts.below_minimum_seconds += later_than(publication.expires_at - MINIMUM_VALIDITY);
        publication.since = now;
    }
}

impl Bucket {
    fn take(&mut self, now: Duration) -> bool {
        let refill = (now - self.at).as_secs_f64() * CALLS_PER_SECOND;
        (self.tokens, self.at) = ((self.tokens + refill).min(BURST), now);
        let allowed = self.tokens >= 1.0;
        self.tokens -= f64::from(u8::from(allowed));
        allowed
    }
}
