//! Readers at full speed while agents publish continuously and are killed, and the file drifts; then the same
//! readers during `hadoop fs -put -f`, the usual way to publish such a file.

mod mallory;
mod report;

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::SignedDuration;
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

pub use mallory::{Attack, Plant, attack};
pub use report::{Bar, Launches, Report, Side};

use crate::agent::{self, Agent};
use crate::hdfs;
use crate::listener;
use crate::node::{self, TRUSTED_REGISTRY};
use crate::readers::{self, Readers, Seen};
use crate::testbed::{self, Published, SOON, Testbed};
use crate::tls;
use crate::wait::{self, TimedOut};
use crate::yarn::{self, Launch, YarnReader};

/// Load and duration.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How long the agents publish.
    pub length: Duration,
    /// On a busy machine the agents continue until they reach it, for at most `PATIENCE` times `length`.
    pub bar: Bar,
    /// A token's life: short, so that tokens are renewed every few seconds, but long enough to last until a killed
    /// publisher is replaced.
    pub token_life: SignedDuration,
    /// How long `hadoop fs -put -f` publishes.
    pub comparison: Duration,
    pub agents: usize,
    /// The number of reading threads.
    pub readers: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Agent(#[from] agent::Error),
    #[error(transparent)]
    Hdfs(#[from] hdfs::Error),
    #[error(transparent)]
    Listener(#[from] listener::Error),
    #[error(transparent)]
    Node(#[from] node::Error),
    #[error(transparent)]
    Readers(#[from] readers::Error),
    #[error(transparent)]
    Tls(#[from] tls::Error),
    #[error(transparent)]
    Testbed(#[from] testbed::Error),
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
    #[error(transparent)]
    Yarn(#[from] yarn::Error),
}

/// Runs the plan on the shared HDFS.
pub async fn run(plan: Plan) -> Result<Report, Error> {
    let published = Published::shared("hadoop", "0755").await?;
    let mut nodes = Nodes::start(&published, &plan).await?;
    let uri = published.client().uri(published.path());
    let mut readers = Readers::start(published.client(), &uri, plan.readers, &[TRUSTED_REGISTRY, SECOND])?;
    let mut yarn = YarnReader::start(published.client())?;
    let mut launches = Launches::default();

    // The minimum remaining life of a version that is put back.
    let margin = plan.token_life.unsigned_abs() / 3;
    let began = Instant::now();
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while began.elapsed() < plan.length
        || began.elapsed() < plan.length * PATIENCE && !plan.bar.is_met_by(&readers.seen().await?)
    {
        beat.tick().await;
        launches.note(&yarn.launch(&uri).await?);
        nodes.set_backs += u32::from(readers.set_back(margin).await?);
        match fastrand::u8(0..4) {
            0 => nodes.kill_one()?,
            1 => nodes.drift(&published).await?,
            _ => {}
        }
    }
    let length = began.elapsed();
    let seen = readers.seen().await?;
    let Nodes { kills, set_backs, mode_drifts, running } = nodes;
    drop(running);
    let (comparison, puts) = compare(plan.comparison, &published, &mut readers).await?;
    Ok(Report {
        length,
        agents: Side::between(&Seen::default(), &seen, seen.versions),
        kills,
        set_backs,
        mode_drifts,
        launches,
        comparison: Side::between(&comparison.0, &comparison.1, puts),
    })
}

/// A second Region, so that the file's two entries become due at different times.
const SECOND: &str = "123456789123.dkr.ecr.eu-west-1.amazonaws.com";
const BEAT: Duration = Duration::from_millis(900);
const PATIENCE: u32 = 8;

/// Nodes of one cluster that all publish to one path.
struct Nodes {
    running: Vec<(Testbed, Option<Agent>)>,
    kills: u32,
    set_backs: u32,
    mode_drifts: u32,
}

impl Nodes {
    /// Starts the agents and waits until the file has all credentials.
    async fn start(published: &Published, plan: &Plan) -> Result<Self, Error> {
        let mut running = Vec::new();
        for _ in 0..plan.agents {
            let mut testbed = Testbed::publishing(published).await?;
            testbed.ecr.set_token_life(plan.token_life);
            // A killed agent may hold the refresh lock for as long as calls may take.
            testbed.settings.set("deadlines.ecr", "2s").set("deadlines.hdfs", "2s");
            testbed.settings.set("refresh.renew_at", 0.1).registry(SECOND, &[]);
            let agent = testbed.start()?;
            running.push((testbed, Some(agent)));
        }
        let nodes = Self { running, kills: 0, set_backs: 0, mode_drifts: 0 };
        wait::until("the published file", SOON, async || {
            let document = published.json().await.map_err(|error| error.to_string())?;
            let has = |name: &str| document["auths"][name]["auth"].is_string();
            if has(TRUSTED_REGISTRY) && has(SECOND) {
                Ok(())
            } else {
                Err("credentials are missing".to_owned())
            }
        })
        .await?;
        Ok(nodes)
    }

    /// Kills an agent at a random moment and restarts it.
    fn kill_one(&mut self) -> Result<(), Error> {
        let index = fastrand::usize(..self.running.len());
        let (testbed, agent) = &mut self.running[index];
        // Dropping kills the agent, which must happen before the next one listens.
        drop(agent.take());
        *agent = Some(testbed.start()?);
        self.kills += 1;
        Ok(())
    }

    /// Gives the file a mode other than the configured one, which harms no reader.
    async fn drift(&mut self, published: &Published) -> Result<(), Error> {
        published.shell(&["-chmod", "0664", published.path()]).await?;
        self.mode_drifts += 1;
        Ok(())
    }
}

/// Publishes a file that never expires with Hadoop's shell. Returns the readers' counts before and after, and the
/// number of puts.
async fn compare(
    length: Duration,
    published: &Published,
    readers: &mut Readers,
) -> Result<((Seen, Seen), u64), Error> {
    let auth = BASE64.encode("AWS:without-an-end");
    let entry = json!({ "auth": auth });
    let document = json!({ "auths": { TRUSTED_REGISTRY: &entry, SECOND: &entry } }).to_string();
    published.put(&document).await?;
    let before = readers.seen().await?;
    let end = Instant::now() + length;
    let mut puts = 0;
    while Instant::now() < end {
        published.put(&document).await?;
        puts += 1;
    }
    Ok(((before, readers.seen().await?), puts))
}

impl Launches {
    fn note(&mut self, launch: &Launch) {
        self.tried += 1;
        let whole = match launch {
            Launch::Handed(handed) => {
                [TRUSTED_REGISTRY, SECOND].iter().all(|registry| handed.auth(registry).is_some())
            }
            Launch::Failed { .. } => false,
        };
        self.failed += u64::from(!whole);
    }
}
