//! A node of the cluster. It runs only the passes that may have work to do; those in between, which would only find
//! an unchanged file, are counted but not run.

use std::cell::RefCell;
use std::future::{Future, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use domain::check::{self, Access, AwsOutcome, Content, DockerEngine, HadoopVersion, Inputs, TextFile};
use domain::cluster::NodeNote;
use domain::credentials::{Credentials, Origin, Principal, Secret, StaticCredentials, Token, TokenScope};
use domain::documents::Document;
use domain::documents::SinkKind;
use domain::documents::plan::{Attributes, Found, Plan};
use domain::problem::Problem;
use domain::refresh::{LockHolder, LockState, Probe, ProbeResult};
use domain::registry::HostName;
use domain::settings::Settings;
use domain::time::Moment;
use emr_ecr_agent::agent::{Agent, Call, Fetched, Parts, RegistryProbe, TokenSource, Wake, World};
use emr_ecr_agent::io::metrics::Metrics;
use emr_ecr_agent::sink::{Change, Intent, Planner, Reconciled, RefreshLock, SharedSink, Sink};
use emr_ecr_agent_tests::node::TRUSTED_REGISTRY;
use hadoop_rules::Rules;
use jiff::SignedDuration;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::cluster::{Answer, BOOT, Cluster};

/// The capabilities that NodeManagers request unless yarn-site.xml overrides them.
const CAPABILITIES: &str = "CHOWN,DAC_OVERRIDE,FSETID,FOWNER,MKNOD,NET_RAW,SETGID,SETUID,SETFCAP,SETPCAP,NET_BIND_SERVICE,SYS_CHROOT,KILL,AUDIT_WRITE";
/// Latencies.
const READ: Duration = Duration::from_millis(5);
const WRITE: Duration = Duration::from_millis(1_200);
const CALL: Duration = Duration::from_millis(300);
const REFUSAL: Duration = Duration::from_secs(3);
/// The RPCs of a replacement: create, block, complete, read back, check, rename, clean up.
const RPCS_OF_WRITE: u64 = 9;
/// All nodes boot within this time.
const BOOT_SPAN: Duration = Duration::from_secs(30);
/// The mean life of a node, after which another one replaces it.
const MEAN_LIFE: Duration = Duration::from_secs(10 * 24 * 3600);
/// One in this many nodes joins later, as with managed scaling.
const LATE_SHARE: usize = 5;
const WRONG_CLOCK: f64 = 3600.0;
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// A node's own state.
struct Node {
    cluster: Cluster,
    name: String,
    booted: Duration,
    /// Local clock minus the server's.
    clock_error: SignedDuration,
    random: RefCell<fastrand::Rng>,
    metrics: Metrics,
}

/// Runs this many nodes for `span`.
pub(crate) async fn live(
    cluster: &Cluster,
    nodes: usize,
    span: Duration,
    seed: u64,
) -> Result<(), Box<dyn std::error::Error>> {
    // Shared: ten thousand metric registries would only use memory.
    let metrics = Metrics::new()?;
    let mut random = fastrand::Rng::with_seed(seed);
    let late = if nodes > 1 { nodes / LATE_SHARE } else { 0 };
    let awaited = Rc::new(Awaited { cluster: cluster.clone() });
    for number in 0..nodes {
        let boots =
            if number < nodes - late { BOOT_SPAN.mul_f64(random.f64()) } else { span.mul_f64(random.f64()) };
        let site = Site {
            cluster: cluster.clone(),
            metrics: metrics.clone(),
            number,
            awaited: (number < nodes - late).then(|| Rc::clone(&awaited)),
            random: random.fork(),
        };
        tokio::task::spawn_local(site.run(boots));
    }
    drop(awaited);
    for change in cluster.changes_of_hdfs() {
        let cluster = cluster.clone();
        tokio::task::spawn_local(async move {
            sleep(change).await;
            cluster.touch();
        });
    }
    sleep(span).await;
    Ok(())
}

/// A slot in the cluster that runs one node after another.
struct Site {
    cluster: Cluster,
    metrics: Metrics,
    number: usize,
    /// Held by the initial nodes until they are fresh.
    awaited: Option<Rc<Awaited>>,
    random: fastrand::Rng,
}

/// Dropped by the last initial node when it becomes fresh or dies.
struct Awaited {
    cluster: Cluster,
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.cluster.state().counts.all_fresh = Some(self.cluster.now());
    }
}

impl Site {
    async fn run(mut self, boots: Duration) {
        sleep(boots).await;
        for generation in 0_u32.. {
            let node = Node {
                cluster: self.cluster.clone(),
                name: format!("ip-{}-{generation}", self.number),
                booted: self.cluster.now(),
                clock_error: SignedDuration::from_secs_f64((self.random.f64() * 2.0 - 1.0) * WRONG_CLOCK),
                random: RefCell::new(self.random.fork()),
                metrics: self.metrics.clone(),
            };
            // Exponential: nodes do not age.
            let life = MEAN_LIFE.mul_f64(-(1.0 - self.random.f64()).ln());
            let awaited = self.awaited.take();
            let born = self.cluster.now();
            // A node may die at any moment, even during a renewal.
            let _ = timeout(life, node.run(awaited)).await;
            self.cluster.state().counts.node_seconds += (self.cluster.now() - born).as_secs_f64();
        }
    }
}

impl Node {
    async fn run(self, mut awaited: Option<Rc<Awaited>>) {
        let settings = Settings::default();
        let interval = settings.refresh.pass_interval;
        let (cluster, metrics) = (self.cluster.clone(), self.metrics.clone());
        let mut version = cluster.version.subscribe();
        let mut agent = Agent::new(settings, Box::new(self), metrics);
        let mut wake = Wake::Start;
        loop {
            version.mark_unchanged();
            agent.pass(wake, Intent::Apply).await;
            wake = Wake::Timer;
            cluster.state().counts.passes += 1;
            if is_fresh(&agent) {
                drop(awaited.take());
            }
            let ended = Instant::now();
            let due = ended + agent.renewal_in().unwrap_or(FOREVER).max(Duration::from_millis(1));
            let next = ended + agent.quiet_for();
            tokio::select! {
                // Otherwise the order of simultaneous events would not depend on the seed alone.
                biased;
                () = sleep_until(due) => {}
                Ok(()) = version.changed() => {
                    // The passes since then found an unchanged file.
                    let skipped = next.elapsed().as_millis().div_ceil(interval.as_millis());
                    let tick = next + interval * u32::try_from(skipped).unwrap_or(u32::MAX);
                    sleep_until(tick.min(due)).await;
                }
            }
        }
    }
}

fn is_fresh(agent: &Agent) -> bool {
    let status = agent.status();
    let status = status.borrow();
    status.sinks.iter().all(|sink| sink.error.is_none() && !sink.held.is_empty())
}

/// The outside world of a node's agent.
impl World for Node {
    fn now(&self) -> Moment {
        let now = self.cluster.now();
        Moment { wall: BOOT + now + self.clock_error, uptime: now - self.booted }
    }

    fn random(&self) -> f64 {
        self.random.borrow_mut().f64()
    }

    fn node_name(&self) -> String {
        self.name.clone()
    }

    fn read_settings(&self) -> Call<'_, Result<Settings, String>> {
        Box::pin(ready(Ok(Settings::default())))
    }

    fn static_credentials(
        &self,
        path: &std::path::Path,
        _: Duration,
    ) -> Call<'_, Result<StaticCredentials, Problem>> {
        Box::pin(ready(Err(Problem::new(format!("{} is not part of the simulation", path.display())))))
    }

    fn parts(&self, settings: &Settings) -> Parts {
        let outside = Outside { cluster: self.cluster.clone(), clock_error: self.clock_error };
        Parts {
            tokens: Box::new(outside.clone()),
            registries: Box::new(outside),
            local: vec![Box::new(LocalFile(Found::NOTHING))],
            published: Box::new(SharedFile {
                cluster: self.cluster.clone(),
                lock: LockState::new(settings.deadlines.refresh_lock()),
            }),
        }
    }

    fn inputs(&self, settings: &Settings) -> Call<'_, Result<Inputs<'static>, Problem>> {
        let text = format!(
            "yarn.nodemanager.linux-container-executor.group=yarn\n[docker]\nmodule.enabled=true\ndocker.allowed.networks=host\ndocker.allowed.capabilities={CAPABILITIES}\ndocker.trusted.registries={TRUSTED_REGISTRY}\n"
        );
        let inputs = Inputs {
            executor_cfg: Some(TextFile {
                path: settings.executor_cfg().display().to_string(),
                content: Content::Bytes(text.into_bytes()),
            }),
            ..Inputs::nothing(HadoopVersion::named(Rules::V3_3), World::now(self).wall)
        };
        Box::pin(ready(Ok(inputs)))
    }

    fn docker(&self, _: &Settings, _: Vec<String>) -> Call<'_, Option<DockerEngine>> {
        Box::pin(ready(None))
    }

    fn check(&self, _: &Settings, inputs: Inputs<'static>) -> Call<'_, Result<check::Report, Problem>> {
        Box::pin(ready(Ok(check::run(&inputs))))
    }

    fn warm(&self, _: &Settings, _: Credentials) {}

    fn settle(&self, _: &Settings) -> Call<'_, ()> {
        Box::pin(ready(()))
    }

    fn changed(&self) -> Call<'_, ()> {
        Box::pin(std::future::pending())
    }
}

/// ECR and its registries, as a node with a wrong clock sees them.
#[derive(Clone)]
struct Outside {
    cluster: Cluster,
    clock_error: SignedDuration,
}

impl TokenSource for Outside {
    fn fetch(&self, scope: TokenScope) -> Pin<Box<dyn Future<Output = Fetched> + Send>> {
        let outside = self.clone();
        Box::pin(async move {
            sleep(CALL).await;
            let skew = Some(-outside.clock_error);
            let failed = |outcome, why: &str, skew| {
                let token = Err(Problem::waiting(scope.to_string(), why));
                Fetched { token, outcome, clock_skew: skew }
            };
            match outside.cluster.call_ecr() {
                Answer::Token { auth, issued_at, expires_at } => {
                    let auth = Secret::new(auth);
                    let origin = Origin::default();
                    let token = Ok(Token { auth, issued_at, expires_at, origin, predecessor: None });
                    Fetched { token, outcome: AwsOutcome::Token, clock_skew: skew }
                }
                Answer::Throttled => failed(AwsOutcome::Throttled, "throttled", skew),
                Answer::Down => {
                    sleep(REFUSAL).await;
                    failed(AwsOutcome::Network, "unreachable", None)
                }
            }
        })
    }

    fn principal(&self, _: TokenScope) -> Pin<Box<dyn Future<Output = Option<Principal>> + Send>> {
        Box::pin(std::future::ready(None))
    }
}

impl RegistryProbe for Outside {
    fn probe(&self, _: HostName, _: Token) -> Pin<Box<dyn Future<Output = Probe> + Send>> {
        let probed = Probe { result: ProbeResult::Accepted, clock_skew: Some(-self.clock_error) };
        Box::pin(std::future::ready(probed))
    }
}

/// The node's own Docker config.
struct LocalFile(Found);

impl Sink for LocalFile {
    fn kind(&self) -> SinkKind {
        SinkKind::Local
    }

    fn path(&self) -> String {
        "/root/.docker/config.json".to_owned()
    }

    fn reconcile(
        &mut self,
        planner: Planner,
        _: Intent,
    ) -> Pin<Box<dyn Future<Output = Result<Reconciled, Problem>> + '_>> {
        let at_first = self.0.clone();
        let (found, changes) = carried_out(planner(&at_first), &at_first);
        self.0 = found.clone();
        Box::pin(std::future::ready(Ok(Reconciled { at_first, found, changes })))
    }
}

/// The published file.
struct SharedFile {
    cluster: Cluster,
    lock: LockState,
}

impl SharedFile {
    async fn reach(&self) -> Result<(), Problem> {
        if self.cluster.hdfs_is_up() {
            sleep(READ).await;
            return Ok(());
        }
        sleep(REFUSAL).await;
        Err(Problem::waiting("HDFS", "unreachable"))
    }

    fn read(&self) -> (u64, Found) {
        let state = self.cluster.state();
        (state.revision, state.document.clone().map_or(Found::NOTHING, file))
    }
}

impl Sink for SharedFile {
    fn kind(&self) -> SinkKind {
        SinkKind::Hdfs
    }

    fn path(&self) -> String {
        "/user/hadoop/config.json".to_owned()
    }

    fn reconcile(
        &mut self,
        planner: Planner,
        _: Intent,
    ) -> Pin<Box<dyn Future<Output = Result<Reconciled, Problem>> + '_>> {
        Box::pin(async move {
            self.reach().await?;
            let (mut revision, at_first) = self.read();
            let mut found = at_first.clone();
            loop {
                let Plan::Replace { document, .. } = planner(&found) else {
                    return Ok(Reconciled { at_first, found, changes: Vec::new() });
                };
                sleep(WRITE).await;
                self.cluster.state().counts.extra_rpcs += RPCS_OF_WRITE;
                let (now, there) = self.read();
                if now == revision {
                    self.cluster.publish(document.clone());
                    return Ok(Reconciled {
                        at_first,
                        found: file(document),
                        changes: vec![Change::Replaced],
                    });
                }
                (revision, found) = (now, there);
            }
        })
    }
}

impl SharedSink for SharedFile {
    fn try_acquire(&mut self) -> Pin<Box<dyn Future<Output = Result<RefreshLock, Problem>> + '_>> {
        Box::pin(async move {
            let now = self.cluster.now();
            if self.lock.is_held(now) {
                return Ok(RefreshLock::Acquired);
            }
            self.reach().await?;
            let created = match self.cluster.create_lock() {
                Err(mark) if self.lock.is_abandoned(mark, now) => {
                    self.cluster.remove_lock();
                    self.cluster.create_lock()
                }
                other => other,
            };
            if created.is_err() {
                return Ok(RefreshLock::HeldElsewhere(LockHolder::default()));
            }
            self.lock.acquired(self.cluster.now());
            Ok(RefreshLock::Acquired)
        })
    }

    fn is_denied_to_node_manager(&self) -> Option<bool> {
        None
    }

    fn access(&mut self) -> Pin<Box<dyn Future<Output = Result<Option<Access>, Problem>> + '_>> {
        Box::pin(ready(Ok(None)))
    }

    fn leave_note(&mut self, _: NodeNote) -> Pin<Box<dyn Future<Output = Result<(), Problem>> + '_>> {
        Box::pin(ready(Ok(())))
    }

    fn remove_note(&mut self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(ready(()))
    }

    fn release(&mut self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        if self.lock.is_held(self.cluster.now()) {
            self.lock.released();
            self.cluster.remove_lock();
        }
        Box::pin(std::future::ready(()))
    }
}

fn file(document: Document) -> Found {
    Found::File { document, attributes: Attributes::AS_SET }
}

fn carried_out(plan: Plan, found: &Found) -> (Found, Vec<Change>) {
    match plan {
        Plan::Replace { document, .. } => (file(document), vec![Change::Replaced]),
        _ => (found.clone(), Vec::new()),
    }
}
