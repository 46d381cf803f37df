//! The main loop with in-memory sinks and a clock that only the test advances.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, ready};
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::check::{
    self, Access, AwsOutcome, Content, DataRoot, DockerEngine, HadoopVersion, Inputs, NodeInputs,
    Permissions, TextFile,
};
use domain::cluster::NodeNote;
use domain::credentials::{
    Credentials, EntryName, Origin, Principal, Secret, StaticCredentials, Token, TokenScope,
};
use domain::documents::SinkKind;
use domain::documents::plan::{Attributes, Found, Plan};
use domain::documents::{Document, PublishedDocument};
use domain::findings::{Code, codes};
use domain::problem::Problem;
use domain::refresh::{LockHolder, Probe, ProbeResult, Proof};
use domain::registry::HostName;
use domain::settings::Settings;
use domain::status::StatusReport;
use domain::time::Moment;
use hadoop_rules::Rules;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{
    Agent, Call, Fetched, Parts, PassReport, RegistryProbe, SHORTEST_REST, TokenSource, Wake, World,
};
use crate::io::metrics::Metrics;
use crate::sink::{Change, Intent, Planner, Reconciled, RefreshLock, SharedSink, Sink};

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);
const TRUSTING: &str = "yarn.nodemanager.linux-container-executor.group=yarn\n[docker]\nmodule.enabled=true\ndocker.allowed.networks=host\ndocker.allowed.capabilities=CHOWN,DAC_OVERRIDE,FSETID,FOWNER,MKNOD,NET_RAW,SETGID,SETUID,SETFCAP,SETPCAP,NET_BIND_SERVICE,SYS_CHROOT,KILL,AUDIT_WRITE\ndocker.trusted.registries=local,123456789123.dkr.ecr.us-east-1.amazonaws.com,210987654321.dkr.ecr.us-east-1.amazonaws.com\n";
const HOST: &str = "123456789123.dkr.ecr.us-east-1.amazonaws.com";

/// What the test controls and inspects.
#[derive(Default)]
struct Environment {
    uptime: Cell<Duration>,
    /// What agent.toml says, and what it says after each of the next reads.
    settings: RefCell<Settings>,
    edits: RefCell<VecDeque<Settings>>,
    /// Someone wrote agent.toml after the watched files were settled.
    is_outdated: Cell<bool>,
    executor_cfg: RefCell<Option<String>>,
    docker: RefCell<Option<DockerEngine>>,
    /// ECR's next failures; once empty, ECR issues tokens that are valid for 12 h.
    answers: RefCell<VecDeque<Problem>>,
    /// Server clock minus local clock, before the latter jumped.
    skew: Cell<SignedDuration>,
    jump: Cell<SignedDuration>,
    calls: RefCell<Vec<String>>,
    /// Whether the AWS SDK panics.
    panics: Cell<bool>,
    principal: RefCell<Option<Principal>>,
    probes: RefCell<Vec<String>>,
    /// How registries answer; by default they accept.
    probe_result: RefCell<Option<ProbeResult>>,
    /// Tokens that registries always reject.
    rejected: RefCell<Vec<Secret>>,
    local: Shared,
    hdfs: Shared,
}

/// An in-memory file, and why reconciling it fails.
#[derive(Default)]
struct File {
    found: RefCell<Option<Found>>,
    access: RefCell<Option<Access>>,
    accesses: Cell<usize>,
    is_denied_to_node_manager: Cell<Option<bool>>,
    refusal: RefCell<Option<Problem>>,
    reconciled: Cell<usize>,
    lock_is_held: Cell<bool>,
    locks_released: Cell<usize>,
    notes: RefCell<Vec<NodeNote>>,
    note_refusal: RefCell<Option<Problem>>,
}

type Shared = Rc<File>;

struct TestWorld(Rc<Environment>);

struct MemorySink(SinkKind, Shared);

struct TestAws(Rc<Environment>);

impl Environment {
    fn now(&self) -> Moment {
        let uptime = self.uptime.get();
        Moment { wall: Timestamp::constant(1_700_000_000, 0) + uptime + self.jump.get(), uptime }
    }

    fn issue(&self) -> Token {
        let now = self.now().wall + self.skew.get() - self.jump.get();
        Token {
            auth: Secret::new(STANDARD.encode(format!("AWS:token-{}", now.as_second()))),
            issued_at: now,
            expires_at: now + 12 * HOUR,
            origin: Origin { ends_at: None, principal: self.principal.borrow().clone() },
            predecessor: None,
        }
    }
}

impl World for TestWorld {
    fn now(&self) -> Moment {
        self.0.now()
    }

    fn random(&self) -> f64 {
        0.5
    }

    fn node_name(&self) -> String {
        "node-1".to_owned()
    }

    fn read_settings(&self) -> Call<'_, Result<Settings, String>> {
        let settings = self.0.settings.borrow().clone();
        if let Some(edited) = self.0.edits.borrow_mut().pop_front() {
            self.0.settings.replace(edited);
            self.0.is_outdated.set(true);
        }
        Box::pin(ready(Ok(settings)))
    }

    fn static_credentials(&self, path: &Path, _: Duration) -> Call<'_, Result<StaticCredentials, Problem>> {
        unreachable!("{} is not set", path.display())
    }

    fn parts(&self, _: &Settings) -> Parts {
        Parts {
            tokens: Box::new(TestAws(Rc::clone(&self.0))),
            registries: Box::new(TestAws(Rc::clone(&self.0))),
            local: vec![Box::new(MemorySink(SinkKind::Local, Rc::clone(&self.0.local)))],
            published: Box::new(MemorySink(SinkKind::Hdfs, Rc::clone(&self.0.hdfs))),
        }
    }

    fn inputs(&self, settings: &Settings) -> Call<'_, Result<Inputs<'static>, Problem>> {
        let text = self.0.executor_cfg.borrow().clone();
        let content = text.map_or(Content::Absent, |text| Content::Bytes(text.into_bytes()));
        let path = settings.executor_cfg().display().to_string();
        let nothing = Inputs::nothing(HadoopVersion::named(Rules::V3_3), self.0.now().wall);
        // Only a node has a Docker engine.
        let node = self
            .0
            .docker
            .borrow()
            .as_ref()
            .map(|_| NodeInputs { runs_containers: true, ..NodeInputs::default() });
        let inputs = Inputs { executor_cfg: Some(TextFile { path, content }), node, ..nothing };
        Box::pin(ready(Ok(inputs)))
    }

    fn docker(&self, _: &Settings, _: Vec<String>) -> Call<'_, Option<DockerEngine>> {
        Box::pin(ready(self.0.docker.borrow().clone()))
    }

    fn check(&self, _: &Settings, inputs: Inputs<'static>) -> Call<'_, Result<check::Report, Problem>> {
        Box::pin(ready(Ok(check::run(&inputs))))
    }

    fn warm(&self, _: &Settings, _: Credentials) {}

    fn settle(&self, _: &Settings) -> Call<'_, ()> {
        self.0.is_outdated.set(false);
        Box::pin(ready(()))
    }

    fn changed(&self) -> Call<'_, ()> {
        Box::pin(std::future::pending())
    }
}

impl TokenSource for TestAws {
    fn fetch(&self, scope: TokenScope) -> Pin<Box<dyn Future<Output = Fetched> + Send>> {
        self.0.calls.borrow_mut().push(scope.to_string());
        if self.0.panics.get() {
            return Box::pin(async { panic!("as a bug might") });
        }
        let refusal = self.0.answers.borrow_mut().pop_front();
        let token = refusal.map_or_else(|| Ok(self.0.issue()), Err);
        let outcome = if token.is_ok() { AwsOutcome::Token } else { AwsOutcome::Service };
        let clock_skew = Some(self.0.skew.get() - self.0.jump.get());
        Box::pin(ready(Fetched { token, outcome, clock_skew }))
    }

    fn principal(&self, _: TokenScope) -> Pin<Box<dyn Future<Output = Option<Principal>> + Send>> {
        Box::pin(ready(self.0.principal.borrow().clone()))
    }
}

impl RegistryProbe for TestAws {
    fn probe(&self, name: HostName, token: Token) -> Pin<Box<dyn Future<Output = Probe> + Send>> {
        self.0.probes.borrow_mut().push(name.to_string());
        let result = if self.0.rejected.borrow().contains(&token.auth) {
            ProbeResult::Rejected(401)
        } else {
            self.0.probe_result.borrow().clone().unwrap_or(ProbeResult::Accepted)
        };
        let clock_skew = Some(self.0.skew.get() - self.0.jump.get());
        Box::pin(ready(Probe { result, clock_skew }))
    }
}

impl SharedSink for MemorySink {
    fn try_acquire(&mut self) -> Pin<Box<dyn Future<Output = Result<RefreshLock, Problem>> + '_>> {
        let lock = if self.1.lock_is_held.get() {
            RefreshLock::HeldElsewhere(holder())
        } else {
            RefreshLock::Acquired
        };
        Box::pin(ready(Ok(lock)))
    }

    fn leave_note(&mut self, note: NodeNote) -> Pin<Box<dyn Future<Output = Result<(), Problem>> + '_>> {
        self.1.notes.borrow_mut().push(note);
        let refusal = self.1.note_refusal.borrow().clone();
        Box::pin(ready(refusal.map_or(Ok(()), Err)))
    }

    fn remove_note(&mut self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        self.1.notes.borrow_mut().clear();
        Box::pin(ready(()))
    }

    fn is_denied_to_node_manager(&self) -> Option<bool> {
        self.1.is_denied_to_node_manager.get()
    }

    fn access(&mut self) -> Pin<Box<dyn Future<Output = Result<Option<Access>, Problem>> + '_>> {
        self.1.accesses.set(self.1.accesses.get() + 1);
        Box::pin(ready(Ok(self.1.access.borrow().clone())))
    }

    fn release(&mut self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        self.1.locks_released.set(self.1.locks_released.get() + 1);
        Box::pin(ready(()))
    }
}

impl Sink for MemorySink {
    fn kind(&self) -> SinkKind {
        self.0
    }

    fn path(&self) -> String {
        "/config.json".to_owned()
    }

    fn reconcile(
        &mut self,
        planner: Planner,
        intent: Intent,
    ) -> Pin<Box<dyn Future<Output = Result<Reconciled, Problem>> + '_>> {
        assert_eq!(intent, Intent::Apply);
        self.1.reconciled.set(self.1.reconciled.get() + 1);
        if let Some(problem) = self.1.refusal.borrow().clone() {
            return Box::pin(ready(Err(problem)));
        }
        let at_first = self.1.found.borrow().clone().unwrap_or(Found::NOTHING);
        let (found, changes) = match planner(&at_first) {
            Plan::Keep => (at_first.clone(), Vec::new()),
            Plan::Replace { document, .. } => {
                (Found::File { document, attributes: Attributes::AS_SET }, vec![Change::Replaced])
            }
            other => unreachable!("{other:?} is not planned in these tests"),
        };
        *self.1.found.borrow_mut() = Some(found.clone());
        Box::pin(ready(Ok(Reconciled { at_first, found, changes })))
    }
}

struct Harness {
    env: Rc<Environment>,
    agent: Agent,
    metrics: Metrics,
    runtime: tokio::runtime::Runtime,
}

impl Harness {
    fn new() -> Self {
        let env = Rc::new(Environment::default());
        *env.executor_cfg.borrow_mut() = Some(TRUSTING.to_owned());
        let metrics = Metrics::new().expect("metrics");
        let world = Box::new(TestWorld(Rc::clone(&env)));
        let agent = Agent::new(Settings::default(), world, metrics.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        Self { env, agent, metrics, runtime }
    }

    fn pass(&mut self, wake: Wake) -> PassReport {
        self.runtime.block_on(self.agent.pass(wake, Intent::Apply))
    }

    /// Advances the clock from timer to timer, like the loop.
    fn live_for(&mut self, span: Duration) {
        let end = self.env.uptime.get() + span;
        loop {
            let next = self.env.uptime.get() + self.agent.quiet_for();
            if next > end {
                self.env.uptime.set(end);
                // Like the loop while nothing is due.
                self.agent.publish_status();
                return;
            }
            self.env.uptime.set(next);
            self.pass(Wake::Timer);
        }
    }

    fn report(&self) -> StatusReport {
        StatusReport::new(&self.agent.status().borrow(), self.env.now())
    }

    fn calls(&self) -> usize {
        self.env.calls.borrow().len()
    }

    fn published(&self) -> Option<Document> {
        match &*self.env.hdfs.found.borrow() {
            Some(Found::File { document, .. }) => Some(document.clone()),
            _ => None,
        }
    }
}

/// Publishes a token that no agent fetched: `password` for both registries, supposedly issued now for `life`.
fn plant(env: &Environment, password: &str, life: Duration) -> Secret {
    let auth = STANDARD.encode(format!("AWS:{password}"));
    let now = env.now().wall;
    let other = HOST.replace("123456789123", "210987654321");
    let times = |at: Timestamp| json!({ HOST: at, &other: at });
    let text = json!({
        "auths": { HOST: { "auth": auth }, &other: { "auth": auth } },
        "emr-ecr-agent": { "issued_at": times(now), "expires_at": times(now + life) },
    });
    let document = Document::new(text.to_string().into_bytes());
    *env.hdfs.found.borrow_mut() = Some(Found::File { document, attributes: Attributes::AS_SET });
    Secret::new(auth)
}

fn auth_in(file: &File) -> Option<Secret> {
    let Some(Found::File { document, .. }) = &*file.found.borrow() else { return None };
    PublishedDocument::read(document).0.auth(&EntryName::parse(HOST)?).cloned()
}

fn holder() -> LockHolder {
    LockHolder { node: Some("ip-10-0-0-1".to_owned()), since: None }
}

fn down() -> Problem {
    Problem::waiting("ECR in us-east-1", "down")
}

#[test]
fn a_second_pass_does_nothing() {
    let mut harness = Harness::new();
    let first = harness.pass(Wake::Start);
    assert_eq!((first.changes.len(), first.errors.len()), (2, 0));
    assert!(harness.report().ready, "{:?}", harness.report().checks);
    assert_eq!(*harness.env.calls.borrow(), ["ECR in us-east-1"], "one call for two hosts of a Region");
    let second = harness.pass(Wake::Reload);
    assert_eq!((second.changes.len(), second.errors.len()), (0, 0));
    assert_eq!(harness.calls(), 1);
}

#[test]
fn published_credentials_never_come_near_their_expiry() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    for _ in 0..2 * 24 * 4 {
        harness.live_for(15 * MINUTE);
        assert!(harness.report().ready, "{:?}", harness.report().checks);
        let (published, poison) = PublishedDocument::read(&harness.published().expect("published"));
        let ends = published.expires_at(&EntryName::parse(HOST).expect("a name")).expect("known");
        assert_eq!(poison, None);
        assert!(ends.duration_since(harness.env.now().wall) > SignedDuration::from_hours(4));
    }
    let calls = harness.calls();
    assert!((7..=9).contains(&calls), "half of the life to 0.6 of it: {calls}");
}

#[test]
fn a_changed_aws_identity_means_a_new_token() {
    for (wake, wait) in [(Wake::Reload, Duration::ZERO), (Wake::Timer, 10 * MINUTE)] {
        let mut harness = Harness::new();
        let role = |name: &str| Some(Principal::instance_role(name));
        harness.env.principal.replace(role("first"));
        harness.pass(Wake::Start);
        harness.pass(wake);
        assert_eq!(harness.calls(), 1);
        harness.live_for(MINUTE);
        harness.env.principal.replace(role("second"));
        harness.live_for(wait);
        let report = harness.pass(wake);
        assert_eq!(harness.calls(), 2, "{wake:?} {report:?}");
        harness.env.principal.replace(None);
        harness.pass(Wake::Reload);
        assert_eq!(harness.calls(), 2, "an unknown principal is no change");
    }
}

#[test]
fn an_ecr_outage_is_survived_while_the_token_lives() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    let before = harness.published();
    harness.env.answers.borrow_mut().extend(std::iter::repeat_n(down(), 10_000));
    harness.live_for(11 * HOUR);
    assert!(harness.report().ready);
    assert_eq!(harness.published(), before);
    assert!(harness.report().registries[0].consecutive_failures > 10);
    harness.live_for(31 * MINUTE);
    assert!(!harness.report().ready, "less than the minimum validity is left");
    assert_eq!(harness.report().waiting_for, ["ECR in us-east-1"]);
    assert_eq!(harness.published(), before, "what lives is never taken away");
    harness.env.answers.borrow_mut().clear();
    harness.live_for(6 * MINUTE);
    assert!(harness.report().ready);
}

#[test]
fn an_hdfs_outage_costs_no_call_to_ecr() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    *harness.env.hdfs.refusal.borrow_mut() = Some(Problem::waiting("HDFS", "refused"));
    harness.live_for(2 * HOUR);
    assert_eq!(harness.calls(), 1);
    let report = harness.report();
    assert_eq!((report.ready, report.live), (false, true));
    assert_eq!(report.waiting_for, ["HDFS"]);
    assert!(report.sinks[0].fresh && !report.sinks[1].fresh);
    harness.env.hdfs.refusal.borrow_mut().take();
    harness.live_for(MINUTE);
    assert!(harness.report().ready);
    assert_eq!(harness.calls(), 1);
}

#[test]
fn a_failure_that_leaves_nothing_to_read_ends_readiness() {
    for (leaves_nothing, ready) in [(false, true), (true, false)] {
        let mut harness = Harness::new();
        harness.pass(Wake::Start);
        let problem = Problem { leaves_nothing, ..Problem::waiting("quota on HDFS", "refused") };
        *harness.env.hdfs.refusal.borrow_mut() = Some(problem);
        harness.live_for(MINUTE);
        let report = harness.report();
        assert!(report.sinks[1].error.is_some());
        assert_eq!(report.ready, ready, "leaves nothing: {leaves_nothing}");
    }
}

#[test]
fn a_fatal_problem_ends_the_process() {
    let harness = Harness::new();
    let problem = Problem { fatal: true, ..Problem::waiting("HDFS to answer", "three threads are stuck") };
    *harness.env.hdfs.refusal.borrow_mut() = Some(problem);
    let (_hangups, receiver) = tokio::sync::mpsc::channel(1);
    let ended = harness.runtime.block_on(harness.agent.run(receiver, std::future::pending()));
    let fatal = ended.expect_err("nothing else ends it");
    assert!(fatal.to_string().contains("three threads are stuck"), "{fatal}");
}

#[test]
fn a_planted_token_that_ends_sooner_is_refused_as_well() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    let ours = auth_in(&harness.env.hdfs);
    let planted = plant(&harness.env, "planted", 11 * HOUR);
    harness.env.rejected.borrow_mut().push(planted);
    harness.live_for(2 * MINUTE);
    assert_eq!(auth_in(&harness.env.hdfs), ours);
    assert_eq!(harness.calls(), 1);
    assert!(harness.report().ready, "{:?}", harness.report().checks);
}

#[test]
fn an_isolated_node_asks_ecr_after_a_jitter() {
    let mut harness = Harness::new();
    *harness.env.hdfs.refusal.borrow_mut() = Some(Problem::waiting("HDFS", "refused"));
    harness.pass(Wake::Start);
    assert_eq!(harness.calls(), 0);
    harness.live_for(9 * MINUTE);
    assert_eq!(harness.calls(), 1);
    assert!(harness.report().sinks[0].fresh);
}

#[test]
fn a_requested_renewal_waits_neither_for_a_jitter_nor_after_a_failure() {
    let mut harness = Harness::new();
    *harness.env.hdfs.refusal.borrow_mut() = Some(Problem::waiting("HDFS", "refused"));
    harness.env.answers.borrow_mut().push_back(down());
    harness.pass(Wake::Start);
    for calls in 1..=2 {
        harness.pass(Wake::Renew);
        assert_eq!(harness.calls(), calls);
    }
    assert!(harness.report().sinks[0].fresh);
}

#[test]
fn an_unproven_token_becomes_proven_without_another_from_ecr() {
    let mut harness = Harness::new();
    let theirs = plant(&harness.env, "theirs", 10 * HOUR);
    harness.env.probe_result.replace(Some(ProbeResult::Unknown("no route".to_owned())));
    harness.env.answers.borrow_mut().extend(std::iter::repeat_n(down(), 1_000));
    harness.pass(Wake::Start);
    let proof = |harness: &Harness| {
        let knowledge = harness.agent.state.knowledge();
        let attempts = harness.agent.state.tokens.get(&knowledge.registries[0].scope);
        attempts.and_then(|attempts| Some((attempts.token.clone()?.auth, attempts.proof)))
    };
    assert_eq!(proof(&harness), Some((theirs.clone(), Proof::Unproven)));
    harness.env.probe_result.take();
    harness.live_for(10 * MINUTE);
    assert_eq!(proof(&harness), Some((theirs, Proof::Accepted)));
}

#[test]
fn a_published_token_is_as_good_as_ones_own() {
    let mut first = Harness::new();
    first.pass(Wake::Start);
    let mut second = Harness::new();
    *second.env.hdfs.found.borrow_mut() = first.env.hdfs.found.borrow().clone();
    let pass = second.pass(Wake::Start);
    assert_eq!((pass.adopted.len(), second.calls()), (1, 0), "{pass:?}");
    assert_eq!(second.env.probes.borrow().len(), 2, "once at each registry, which gives the time");
    second.live_for(HOUR);
    assert_eq!(second.env.probes.borrow().len(), 2);
    let report = second.report();
    assert!(report.ready, "{:?}", report.checks);
    assert_eq!(report.registries[0].source.as_deref(), Some("published"));
    assert_eq!(second.published(), first.published());
}

#[test]
fn nothing_is_fetched_while_another_node_holds_the_lock() {
    let mut harness = Harness::new();
    harness.env.hdfs.lock_is_held.set(true);
    assert!(harness.pass(Wake::Start).waits_for_lock);
    harness.live_for(Duration::from_secs(30));
    assert_eq!(harness.calls(), 0);
    let waiting_for = harness.report().waiting_for;
    assert!(waiting_for[0].starts_with("the refresh lock of ip-10-0-0-1"), "{waiting_for:?}");
    harness.env.hdfs.lock_is_held.set(false);
    harness.live_for(MINUTE);
    assert_eq!((harness.calls(), harness.env.hdfs.locks_released.get()), (1, 1));
    assert!(harness.report().ready);
    assert_eq!(harness.report().waiting_for, [""; 0]);
}

#[test]
fn a_node_that_got_the_lock_no_longer_waits_for_it() {
    let mut harness = Harness::new();
    harness.env.hdfs.lock_is_held.set(true);
    harness.pass(Wake::Start);
    assert!(harness.agent.state.tokens.waits_for_lock());
    harness.env.hdfs.lock_is_held.set(false);
    harness.env.answers.borrow_mut().push_back(down());
    harness.live_for(MINUTE);
    assert!(!harness.agent.state.tokens.waits_for_lock());
}

#[test]
fn a_lock_that_never_ends_holds_nobody_up() {
    let mut harness = Harness::new();
    harness.env.hdfs.lock_is_held.set(true);
    harness.pass(Wake::Start);
    let length = Settings::default().deadlines.refresh_lock();
    harness.live_for(2 * length);
    assert_eq!(harness.calls(), 1);
    assert!(harness.report().ready, "{:?}", harness.report().checks);
    for _ in 0..2 * 24 {
        harness.live_for(HOUR);
        assert!(harness.report().ready, "{:?}", harness.report().checks);
    }
    assert!(harness.calls() <= 7, "{}", harness.calls());
}

#[test]
fn an_edit_at_any_moment_of_a_pass_is_seen() {
    let interval = |minutes: u32| {
        let mut settings = Settings::default();
        settings.refresh.pass_interval = minutes * MINUTE;
        settings
    };
    for wake in [Wake::Start, Wake::Timer, Wake::Changed, Wake::Reload, Wake::Renew] {
        let mut harness = Harness::new();
        harness.env.settings.replace(interval(2));
        // The last edit follows the second read.
        harness.env.edits.replace([interval(2), interval(3)].into());
        harness.runtime.block_on(harness.agent.logged_pass(wake));
        if harness.env.is_outdated.get() {
            harness.runtime.block_on(harness.agent.logged_pass(Wake::Changed));
        }
        assert_eq!(harness.agent.settings, interval(3), "{wake:?}");
    }
}

#[test]
fn changed_settings_of_the_published_file_are_applied_at_once() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    let before = harness.env.hdfs.reconciled.get();
    harness.env.settings.borrow_mut().published.replication = 2;
    harness.runtime.block_on(harness.agent.logged_pass(Wake::Changed));
    assert_eq!(harness.env.hdfs.reconciled.get(), before + 1);
}

#[test]
fn nothing_is_kept_of_another_file_or_cluster() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    assert!(harness.agent.state.sinks.published.is_in_order());
    let document = Document::new(br#"{"auths":{"example.com":{"auth":"YTpi"}}}"#.to_vec());
    let read = StaticCredentials::parse(&document, harness.env.now().wall);
    harness.agent.state.static_credentials = Some(read.expect("credentials"));
    harness.agent.settings.static_credentials = Some("/etc/emr-ecr-agent/one.json".into());

    let mut settings = harness.agent.settings.clone();
    settings.hadoop_conf_dir = "/etc/hadoop/other".into();
    harness.agent.take_settings(settings.clone());
    assert!(harness.agent.state.static_credentials.is_some());
    assert!(!harness.agent.state.sinks.published.is_in_order());

    settings.static_credentials = Some("/etc/emr-ecr-agent/two.json".into());
    harness.agent.take_settings(settings);
    assert_eq!(harness.agent.state.static_credentials, None);
}

#[test]
fn half_written_settings_are_not_taken() {
    let mut harness = Harness::new();
    let before = harness.agent.settings.clone();
    let mut half = Settings::default();
    half.docker_configs.clear();
    let mut whole = Settings::default();
    whole.refresh.pass_interval = 2 * MINUTE;
    harness.env.settings.replace(half);
    harness.env.edits.replace([whole.clone()].into());
    harness.runtime.block_on(harness.agent.logged_pass(Wake::Changed));
    assert_eq!(harness.agent.settings, before);
    assert!(harness.env.is_outdated.get(), "the watcher wakes the next pass");
    harness.runtime.block_on(harness.agent.logged_pass(Wake::Changed));
    assert_eq!(harness.agent.settings, whole);
}

#[test]
fn a_stopped_agent_releases_the_lock() {
    let harness = Harness::new();
    harness.env.answers.borrow_mut().push_back(down());
    let (_hangups, receiver) = tokio::sync::mpsc::channel(1);
    let ended = harness.runtime.block_on(harness.agent.run(receiver, ready(())));
    assert!(ended.is_ok());
    assert_eq!(harness.env.hdfs.locks_released.get(), 1);
}

#[test]
fn a_requested_renewal_asks_ecr_once_and_not_within_a_minute() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    harness.live_for(2 * MINUTE);
    let before = auth_in(&harness.env.hdfs);
    harness.pass(Wake::Renew);
    assert_eq!(harness.calls(), 2);
    assert_ne!(auth_in(&harness.env.hdfs), before);
    harness.pass(Wake::Renew);
    assert_eq!(harness.calls(), 2);
    harness.live_for(2 * MINUTE);
    assert_eq!(harness.calls(), 3, "the second request is kept until then");
    harness.live_for(HOUR);
    assert_eq!(harness.calls(), 3);
}

#[test]
fn a_failed_holder_lets_the_lock_expire() {
    let mut harness = Harness::new();
    harness.env.answers.borrow_mut().push_back(down());
    harness.pass(Wake::Start);
    assert_eq!(harness.env.hdfs.locks_released.get(), 0, "others would only fail as well");
    harness.live_for(MINUTE);
    assert_eq!((harness.calls(), harness.env.hdfs.locks_released.get()), (2, 1));
}

#[test]
fn a_rejected_token_is_not_published() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    let before = harness.published();
    *harness.env.probe_result.borrow_mut() = Some(ProbeResult::Rejected(401));
    harness.live_for(8 * HOUR);
    assert_eq!(harness.calls(), 2);
    assert_eq!(harness.published(), before, "what lives stays");
    let report = harness.report();
    assert!(!report.ready);
    assert_eq!(report.registries[0].probe.as_deref(), Some("rejected"));
    *harness.env.probe_result.borrow_mut() = None;
    harness.live_for(10 * MINUTE);
    assert!(harness.report().ready);
    assert_ne!(harness.published(), before);
    assert_eq!(harness.calls(), 2);
}

#[test]
fn an_unreachable_registry_is_ignored() {
    let mut harness = Harness::new();
    *harness.env.probe_result.borrow_mut() = Some(ProbeResult::Unknown("no route".to_owned()));
    harness.pass(Wake::Start);
    assert!(harness.report().ready);
    assert_eq!(harness.report().registries[0].probe.as_deref(), Some("unknown"));
}

#[test]
fn a_reload_probes_again_and_replaces_a_rejected_token() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    harness.live_for(HOUR);
    let before = harness.published();
    *harness.env.probe_result.borrow_mut() = Some(ProbeResult::Rejected(403));
    harness.pass(Wake::Reload);
    *harness.env.probe_result.borrow_mut() = None;
    harness.live_for(MINUTE);
    assert_eq!(harness.calls(), 2);
    assert!(harness.report().ready);
    assert_ne!(harness.published(), before, "published at once, though the one before still lives");
}

#[test]
fn a_reload_publishes_no_rejected_token() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    let before = harness.published();
    *harness.env.probe_result.borrow_mut() = Some(ProbeResult::Rejected(401));
    harness.live_for(8 * HOUR);
    assert_eq!(harness.calls(), 2);
    harness.pass(Wake::Reload);
    assert_eq!(harness.published(), before);
    assert!(!harness.report().ready);
}

#[test]
fn a_rejected_token_that_has_expired_keeps_nobody_busy() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    *harness.env.probe_result.borrow_mut() = Some(ProbeResult::Rejected(403));
    harness.env.answers.borrow_mut().extend(std::iter::repeat_n(down(), 10_000));
    harness.pass(Wake::Reload);
    harness.env.uptime.set(13 * HOUR);
    harness.pass(Wake::Timer);
    assert!(harness.agent.quiet_for() > SHORTEST_REST);
}

#[test]
fn a_panic_of_the_sdk_counts_as_a_failure() {
    let mut harness = Harness::new();
    harness.env.panics.set(true);
    harness.pass(Wake::Start);
    assert_eq!((harness.calls(), harness.report().registries[0].consecutive_failures), (1, 1));
    assert!(harness.agent.quiet_for() > SHORTEST_REST);
    harness.env.panics.set(false);
    harness.live_for(10 * MINUTE);
    assert!(harness.report().ready);
}

#[test]
fn drift_is_counted_by_kind() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    let count = |harness: &Harness, kind: &str| {
        let line = format!("emr_ecr_agent_drift_total{{kind=\"{kind}\",sink=\"hdfs\"}} 1");
        harness.metrics.render(&harness.report()).lines().any(|l| l == line)
    };
    assert!(!count(&harness, "content") && !count(&harness, "missing"));
    let document = Document::new(b"{}".to_vec());
    *harness.env.hdfs.found.borrow_mut() = Some(Found::File { document, attributes: Attributes::AS_SET });
    harness.live_for(MINUTE);
    assert!(count(&harness, "content") && !count(&harness, "missing"));
    *harness.env.hdfs.found.borrow_mut() = None;
    harness.live_for(MINUTE);
    assert!(count(&harness, "content") && count(&harness, "missing"));
}

#[test]
fn hdfs_is_read_at_most_once_per_interval() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    harness.env.answers.borrow_mut().extend(std::iter::repeat_n(down(), 10_000));
    harness.live_for(10 * HOUR);
    // The agent rereads the published copy before each retry and after acquiring the lock.
    assert!(
        harness.env.hdfs.reconciled.get() <= 601 + 2 * harness.calls(),
        "{}",
        harness.env.hdfs.reconciled.get()
    );
}

#[test]
fn an_empty_node_waits_and_needs_no_restart() {
    let mut harness = Harness::new();
    let cfg = harness.env.executor_cfg.borrow_mut().take();
    harness.pass(Wake::Start);
    let report = harness.report();
    assert_eq!((report.ready, report.live, report.registries.len()), (false, true, 0));
    assert!(report.waiting_for[0].contains("container-executor.cfg"));
    *harness.env.executor_cfg.borrow_mut() = cfg;
    harness.pass(Wake::Changed);
    assert!(harness.report().ready);
}

#[test]
fn a_fatal_executor_cfg_ends_readiness_and_keeps_credentials() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    let before = harness.published();
    *harness.env.executor_cfg.borrow_mut() = Some(format!("{TRUSTING} \n"));
    let report = harness.pass(Wake::Changed);
    assert_eq!(report.errors.len(), 1);
    assert!(!harness.report().ready);
    let codes: Vec<&str> = harness.report().findings.iter().map(|finding| finding.code.name).collect();
    assert_eq!(
        (codes.first(), harness.report().registries.len()),
        (Some(&"whitespace-line"), 2),
        "{codes:?}"
    );
    assert_eq!(harness.published(), before);
    *harness.env.executor_cfg.borrow_mut() = Some(TRUSTING.to_owned());
    harness.pass(Wake::Changed);
    assert!(harness.report().ready);
    assert_eq!(harness.calls(), 1);
}

#[test]
fn a_registry_that_is_not_trusted_for_a_space_ends_readiness() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    assert!(harness.report().ready);
    let spaced = TRUSTING.replace("local,123", "local, 123");
    *harness.env.executor_cfg.borrow_mut() = Some(spaced);
    harness.pass(Wake::Changed);
    let report = harness.report();
    let failing = report.checks.iter().filter(|check| !check.ok).map(|check| check.name.as_str());
    assert_eq!(failing.collect::<Vec<_>>(), ["launches"]);
    *harness.env.executor_cfg.borrow_mut() = Some(TRUSTING.to_owned());
    harness.pass(Wake::Changed);
    assert!(harness.report().ready);
}

#[test]
fn a_directory_closed_to_the_node_manager_ends_readiness() {
    let mut harness = Harness::new();
    let permissions = |path: &str, mode| Permissions {
        path: path.to_owned(),
        owner: "hadoop".to_owned(),
        group: "hdfsadmingroup".to_owned(),
        mode,
    };
    let access = |mode| Access {
        file: permissions("/user/hadoop/config.json", 0o644),
        is_directory: false,
        directories: vec![
            permissions("/user/hadoop", 0o755),
            permissions("/user", mode),
            permissions("/", 0o755),
        ],
    };
    *harness.env.hdfs.access.borrow_mut() = Some(access(0o755));
    harness.pass(Wake::Start);
    assert!(harness.report().ready);
    *harness.env.hdfs.access.borrow_mut() = Some(access(0o700));
    harness.live_for(MINUTE / 2);
    harness.pass(Wake::Reload);
    let failing = harness.report().checks.into_iter().filter(|check| !check.ok);
    let failing: Vec<(String, Option<String>)> = failing.map(|check| (check.name, check.why)).collect();
    let why = "the directory /user is owned by hadoop:hdfsadmingroup with mode 0700: the NodeManager's user yarn cannot enter it";
    assert_eq!(failing, [(format!("hdfs:{}", harness.report().sinks[1].path), Some(why.to_owned()))]);
    *harness.env.hdfs.access.borrow_mut() = Some(access(0o755));
    harness.live_for(2 * MINUTE);
    assert!(harness.report().ready);

    // An agent that reads as that user rereads owners and modes only once it is denied.
    harness.env.hdfs.is_denied_to_node_manager.set(Some(false));
    let accesses = harness.env.hdfs.accesses.get();
    harness.live_for(60 * MINUTE);
    assert_eq!(harness.env.hdfs.accesses.get(), accesses);
    harness.env.hdfs.is_denied_to_node_manager.set(Some(true));
    harness.live_for(2 * MINUTE);
    let why = harness.report().checks.into_iter().find_map(|check| check.why);
    let expected = "the NameNode denies the NodeManager's user yarn the file";
    assert_eq!(why.as_deref(), Some(expected), "the modes permit it");
    *harness.env.hdfs.access.borrow_mut() = Some(access(0o700));
    harness.live_for(2 * MINUTE);
    let why = harness.report().checks.into_iter().find_map(|check| check.why);
    assert!(why.is_some_and(|why| why.contains("cannot enter it")));
    harness.env.hdfs.is_denied_to_node_manager.set(Some(false));
    *harness.env.hdfs.access.borrow_mut() = Some(access(0o755));
    harness.live_for(2 * MINUTE);
    assert!(harness.report().ready);
}

#[test]
fn docker_counts_as_down_when_it_misses_twice() {
    let mut harness = Harness::new();
    let answers = |failure: Option<&str>| {
        let data_root = failure.is_none().then(|| DataRoot { path: "/var/lib/docker".to_owned(), free: 0 });
        Some(DockerEngine { failure: failure.map(str::to_owned), data_root, ..DockerEngine::default() })
    };
    *harness.env.docker.borrow_mut() = answers(None);
    harness.pass(Wake::Start);
    let has =
        |harness: &Harness, code: Code| harness.report().findings.iter().any(|finding| finding.code == code);
    let fails = |harness: &Harness| has(harness, codes::DOCKER_UNREACHABLE);
    let is_full = |harness: &Harness| has(harness, codes::DOCKER_DATA_ROOT_FULL);
    assert!(!fails(&harness) && is_full(&harness));
    *harness.env.docker.borrow_mut() = answers(Some("refused"));
    harness.pass(Wake::Timer);
    assert!(!fails(&harness), "one miss");
    assert!(is_full(&harness), "its last answer counts");
    assert!(harness.agent.quiet_for() <= Duration::from_secs(5), "it asks again soon");
    harness.pass(Wake::Timer);
    assert!(fails(&harness), "two misses");
    *harness.env.docker.borrow_mut() = answers(None);
    harness.pass(Wake::Timer);
    *harness.env.docker.borrow_mut() = answers(Some("refused"));
    harness.pass(Wake::Timer);
    *harness.env.docker.borrow_mut() = None;
    harness.pass(Wake::Timer);
    assert!(harness.agent.quiet_for() > Duration::from_secs(5), "it has no engine to ask again");
    *harness.env.docker.borrow_mut() = answers(None);
    harness.pass(Wake::Timer);
    assert!(!fails(&harness));
}

#[test]
fn a_wrong_local_clock_changes_nothing() {
    for hours in [-13, 13] {
        let mut harness = Harness::new();
        harness.env.skew.set(SignedDuration::from_hours(hours));
        harness.pass(Wake::Start);
        assert!(harness.report().ready, "{hours}");
        harness.live_for(20 * HOUR);
        assert!(harness.report().ready, "{hours}");
        assert!(harness.calls() <= 4, "{}", harness.calls());
    }
}

#[test]
fn a_jumping_local_clock_changes_nothing() {
    for hours in [-12, 12] {
        let mut harness = Harness::new();
        harness.pass(Wake::Start);
        harness.live_for(HOUR);
        harness.env.jump.set(SignedDuration::from_hours(hours));
        harness.live_for(4 * HOUR);
        assert_eq!(harness.calls(), 1, "{hours}: nothing was due");
        for _ in 0..24 {
            harness.live_for(HOUR);
            assert!(harness.report().ready, "{hours}");
        }
        assert!(harness.calls() <= 6, "{}", harness.calls());
    }
}

#[test]
fn the_next_pass_repairs_what_another_writer_did() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    let disturbances: [&[u8]; 4] = [b"", b"{", br#"{"auths":{"x":{}}}"#, br#"{"auths":{}}"#];
    for disturbance in disturbances {
        let document = Document::new(disturbance.to_vec());
        *harness.env.hdfs.found.borrow_mut() = Some(Found::File { document, attributes: Attributes::AS_SET });
        harness.live_for(MINUTE);
        let (published, poison) = PublishedDocument::read(&harness.published().expect("published"));
        assert_eq!(poison, None);
        assert!(published.expires_at(&EntryName::parse(HOST).expect("a name")).is_some());
        assert!(harness.report().ready);
    }
}

#[test]
fn a_planted_token_is_refused_and_replaced() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    let ours = auth_in(&harness.env.local);
    for password in ["first", "second"] {
        harness.live_for(MINUTE);
        let planted = plant(&harness.env, password, 12 * HOUR);
        harness.env.rejected.borrow_mut().push(planted);
        let report = harness.pass(Wake::Changed);
        assert_eq!(report.adopted, [""; 0]);
        harness.live_for(MINUTE);
        assert_eq!((auth_in(&harness.env.local), auth_in(&harness.env.hdfs)), (ours.clone(), ours.clone()));
        assert!(harness.report().ready, "{:?}", harness.report().checks);
    }
    assert_eq!(harness.calls(), 1, "the token at hand was good enough");
}

#[test]
fn a_token_planted_before_the_start_costs_one_call() {
    let mut harness = Harness::new();
    let planted = plant(&harness.env, "planted", 12 * HOUR);
    harness.env.rejected.borrow_mut().push(planted.clone());
    harness.pass(Wake::Start);
    assert_eq!(harness.calls(), 1);
    assert_ne!(auth_in(&harness.env.hdfs), Some(planted));
    assert_eq!(auth_in(&harness.env.local), auth_in(&harness.env.hdfs));
    assert!(harness.report().ready, "{:?}", harness.report().checks);
}

#[test]
fn readiness_speaks_of_the_entry_that_lies_in_the_file() {
    let mut harness = Harness::new();
    harness.env.answers.borrow_mut().extend(std::iter::repeat_n(down(), 1_000));
    let planted = plant(&harness.env, "planted", 12 * HOUR);
    harness.env.rejected.borrow_mut().push(planted.clone());
    harness.pass(Wake::Start);
    let report = harness.report();
    let failing: Vec<&str> = report.checks.iter().filter(|c| !c.ok).map(|c| c.name.as_str()).collect();
    assert!(failing.contains(&"hdfs:/config.json"), "{failing:?}");
    assert_eq!(report.sinks[1].entries[HOST].probe.as_deref(), Some("rejected"));
    assert_eq!(auth_in(&harness.env.local), None);
    harness.env.answers.borrow_mut().clear();
    harness.live_for(5 * MINUTE);
    assert!(harness.report().ready, "{:?}", harness.report().checks);
}

#[test]
fn an_unproven_token_is_used_only_until_ecr_gives_another() {
    let mut harness = Harness::new();
    *harness.env.probe_result.borrow_mut() = Some(ProbeResult::Unknown("no route".to_owned()));
    harness.env.answers.borrow_mut().extend(std::iter::repeat_n(down(), 3));
    let planted = plant(&harness.env, "theirs", 11 * HOUR);
    harness.pass(Wake::Start);
    let report = harness.report();
    assert_eq!((report.ready, report.registries[0].source.as_deref()), (false, Some("unproven")));
    assert_eq!((harness.calls(), auth_in(&harness.env.local)), (1, Some(planted.clone())));
    harness.live_for(5 * MINUTE);
    let report = harness.report();
    assert_eq!((report.ready, report.registries[0].source.as_deref()), (true, Some("ecr")));
    assert_ne!(auth_in(&harness.env.local), Some(planted.clone()));
    assert_eq!(auth_in(&harness.env.hdfs), Some(planted), "nobody knows that it is bad");
}

#[test]
fn what_cannot_be_probed_never_displaces_a_living_token() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    let ours = auth_in(&harness.env.local);
    harness.live_for(HOUR);
    *harness.env.probe_result.borrow_mut() = Some(ProbeResult::Unknown("no route".to_owned()));
    plant(&harness.env, "theirs", 12 * HOUR);
    harness.live_for(3 * HOUR);
    assert_eq!(auth_in(&harness.env.local), ours);
    assert_eq!(harness.report().registries[0].source.as_deref(), Some("ecr"));
    harness.live_for(4 * HOUR);
    assert_eq!(harness.calls(), 2, "its own token is renewed in time");
}

#[test]
fn no_claim_makes_ecr_be_asked_more_than_once_a_minute() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    for number in 0..120 {
        plant(&harness.env, &format!("planted-{number}"), 12 * HOUR);
        harness.env.rejected.borrow_mut().extend(auth_in(&harness.env.hdfs));
        if number % 2 == 0 {
            harness.env.rejected.borrow_mut().extend(auth_in(&harness.env.local));
            harness.pass(Wake::Reload);
        }
        harness.live_for(Duration::from_secs(5));
    }
    assert!(harness.calls() <= 11, "{} calls in ten minutes", harness.calls());
}

#[test]
fn each_lasting_state_leaves_one_note() {
    let mut harness = Harness::new();
    let pass_after = |harness: &mut Harness, span: Duration| {
        harness.env.uptime.set(harness.env.uptime.get() + span);
        harness.runtime.block_on(harness.agent.logged_pass(Wake::Timer));
        harness.env.hdfs.notes.borrow().iter().map(|note| note.ready).collect::<Vec<_>>()
    };
    assert!(pass_after(&mut harness, Duration::ZERO).is_empty());
    assert_eq!(pass_after(&mut harness, MINUTE), [true]);
    assert_eq!(pass_after(&mut harness, 10 * MINUTE), [true]);
    *harness.env.executor_cfg.borrow_mut() = None;
    *harness.env.hdfs.note_refusal.borrow_mut() = Some(down());
    assert_eq!(pass_after(&mut harness, MINUTE), [true]);
    assert_eq!(pass_after(&mut harness, MINUTE), [true, false], "tried, in vain");
    assert!(harness.report().sinks.iter().all(|sink| sink.error.is_none()), "no error of the pass");
    *harness.env.hdfs.note_refusal.borrow_mut() = None;
    assert_eq!(pass_after(&mut harness, MINUTE).len(), 2);
    assert_eq!(pass_after(&mut harness, 5 * MINUTE), [true, false, false]);
    let (_hangups, receiver) = tokio::sync::mpsc::channel(1);
    let Harness { agent, runtime, env, .. } = harness;
    runtime.block_on(agent.run(receiver, ready(()))).expect("it stops");
    assert!(env.hdfs.notes.borrow().is_empty());
}
