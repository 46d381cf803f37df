//! The main loop with in-memory sinks and a clock that only the test advances.

mod clock;
mod lock;
mod planted;
mod readiness;
mod rejected;
mod settings;
mod tokens;

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
