//! Launches of private images on two nodes without a pause, while tokens with a life of seconds come and go:
//! published by agents, and by a script that runs `hadoop fs -put -f` at the same pace. The registry accepts each
//! token until it expires, and every launch has to pull.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use jiff::SignedDuration;
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use crate::agent::{self, Agent};
use crate::ecr::Ecr;
use crate::imds::Imds;
use crate::listener;
use crate::node::{AwsEndpoints, REGION, TRUSTED_REGISTRY};
use crate::registry::{self, Gate, IMAGE, Registry};
use crate::testbed::{self, Published, SOON};
use crate::yarn_cluster::{self, ClusterNode, Launch, Launched, YarnCluster};

const NODES: u8 = 2;
/// Proves that the container itself has run.
const RAN: i32 = 77;
const TAG: &str = IMAGE.1;

/// What publishes the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publisher {
    Agents,
    Script,
}

/// How a launch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Ran,
    /// Docker could not run the container, for which it had to pull first.
    Credentials,
    /// The NodeManager could not read the published file.
    File,
    Other,
}

/// How the launches with one publisher went.
#[derive(Debug)]
pub struct Report {
    pub publisher: Publisher,
    /// The number of published tokens.
    pub tokens: usize,
    /// Requests for the image that the registry rejected.
    pub refused: usize,
    pub took: Duration,
    outcomes: BTreeMap<Outcome, usize>,
    /// YARN's diagnostics for the first failure of each kind.
    examples: BTreeMap<Outcome, String>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Agent(#[from] agent::Error),
    #[error(transparent)]
    Listener(#[from] listener::Error),
    #[error(transparent)]
    Registry(#[from] registry::Error),
    #[error(transparent)]
    Testbed(#[from] testbed::Error),
    #[error(transparent)]
    YarnCluster(#[from] yarn_cluster::Error),
}

/// A cluster with everything that private images need, except a publisher.
#[derive(Debug)]
pub struct Storm {
    // Fields drop in this order: the nodes must end before the servers they use.
    cluster: YarnCluster,
    gate: Gate,
    ecr: Ecr,
    imds: Imds,
    published: Published,
    token_life: SignedDuration,
}

impl Storm {
    /// Starts the cluster with tokens of this life.
    pub async fn start(token_life: SignedDuration) -> Result<Self, Error> {
        let published = Published::shared("hadoop", "0755").await?;
        let gate = Gate::before(Registry::start_with_shell().await?).await?;
        let (ecr, imds) = (Ecr::start(token_life).await?, Imds::start(REGION).await?);
        gate.follow(&ecr);
        let cluster = YarnCluster::join(published.client(), NODES, &[&gate.host()]).await?;
        Ok(Self { cluster, gate, ecr, imds, published, token_life })
    }

    /// Launches this many containers with the file from this publisher.
    pub async fn launch(&self, publisher: Publisher, launches: usize) -> Result<Report, Error> {
        let refused = self.gate.refused(TAG);
        let began = Instant::now();
        let (tokens, launched) = match publisher {
            Publisher::Agents => self.launch_with_agents(launches).await?,
            Publisher::Script => self.launch_with_script(launches).await?,
        };
        let mut report = Report {
            publisher,
            tokens,
            refused: self.gate.refused(TAG) - refused,
            took: began.elapsed(),
            outcomes: BTreeMap::new(),
            examples: BTreeMap::new(),
        };
        for launched in launched {
            let outcome = Outcome::of(&launched);
            *report.outcomes.entry(outcome).or_default() += 1;
            report.examples.entry(outcome).or_insert(launched.diagnostics);
        }
        Ok(report)
    }

    async fn launch_with_agents(&self, launches: usize) -> Result<(usize, Vec<Launched>), Error> {
        let calls = self.ecr.calls().len();
        let endpoints = AwsEndpoints { ecr: self.ecr.address(), imds: self.imds.address() };
        let mut agents: Vec<Agent> = self.cluster.start_agents(endpoints, |node| {
            let mut settings = node.settings(self.published.path());
            settings.registry(TRUSTED_REGISTRY, &[&self.gate.host()]);
            settings
        })?;
        for agent in &mut agents {
            agent.wait_ready(SOON).await?;
        }
        let launched = self.launch_everywhere(launches).await?;
        Ok((self.ecr.calls().len() - calls, launched))
    }

    async fn launch_with_script(&self, launches: usize) -> Result<(usize, Vec<Launched>), Error> {
        let puts = Cell::new(0);
        self.put_token(&puts).await?;
        let launched = tokio::select! {
            failed = self.put_tokens(&puts) => return failed,
            launched = self.launch_everywhere(launches) => launched?,
        };
        Ok((puts.get(), launched))
    }

    /// Launches one container after another on each node.
    async fn launch_everywhere(&self, launches: usize) -> Result<Vec<Launched>, Error> {
        let (left, ended) = (Cell::new(launches), RefCell::new(Vec::new()));
        let on = async |node: &ClusterNode| {
            while let Some(fewer) = left.get().checked_sub(1) {
                left.set(fewer);
                let launched = self.launch_on(node).await?;
                ended.borrow_mut().push(launched);
            }
            Ok::<_, Error>(())
        };
        try_join_all(self.cluster.nodes().iter().map(on)).await?;
        Ok(ended.into_inner())
    }

    async fn launch_on(&self, node: &ClusterNode) -> Result<Launched, Error> {
        let image = self.gate.image(TAG);
        node.remove_image(&image).await?;
        let file = self.published.client().uri(self.published.path());
        let launch = Launch::docker(&image, &format!("exit {RAN}")).client_config(&file).on(node);
        Ok(self.cluster.launch(&launch).await?)
    }

    /// Publishes as often as the agents do, at half of a token's life.
    async fn put_tokens<T>(&self, puts: &Cell<usize>) -> Result<T, Error> {
        let mut pace = interval(self.token_life.unsigned_abs() / 2);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick completes immediately.
        pace.tick().await;
        loop {
            pace.tick().await;
            self.put_token(puts).await?;
        }
    }

    async fn put_token(&self, puts: &Cell<usize>) -> Result<(), Error> {
        let entry = json!({ "auth": self.ecr.issue(REGION).auth() });
        let document = json!({ "auths": { TRUSTED_REGISTRY: &entry, self.gate.host(): &entry } });
        self.published.put(&document.to_string()).await?;
        puts.set(puts.get() + 1);
        Ok(())
    }
}

impl Outcome {
    fn of(launched: &Launched) -> Self {
        match launched.exit_code {
            Some(RAN) => Self::Ran,
            Some(7) => Self::Credentials,
            Some(-1) => Self::File,
            _ => Self::Other,
        }
    }
}

impl Report {
    pub fn count(&self, outcome: Outcome) -> usize {
        self.outcomes.get(&outcome).copied().unwrap_or_default()
    }

    /// Whether every container ran.
    pub fn is_calm(&self) -> bool {
        self.outcomes.keys().all(|outcome| *outcome == Outcome::Ran)
    }

    /// YARN's diagnostics for the first failure of each kind.
    pub fn failures(&self) -> impl Iterator<Item = &str> {
        let failures = self.examples.iter().filter(|(outcome, _)| **outcome != Outcome::Ran);
        failures.map(|(_, text)| text.as_str())
    }
}

/// The header of the report lines.
pub const HEAD: &str =
    "published by  tokens  launches    ran  no credential  no file  other  refused    took";

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let publisher = match self.publisher {
            Publisher::Agents => "agents",
            Publisher::Script => "put -f",
        };
        let launches: usize = self.outcomes.values().sum();
        let count = |outcome| self.count(outcome);
        write!(
            f,
            "{publisher:<12}  {:>6}  {launches:>8}  {:>5}  {:>13}  {:>7}  {:>5}  {:>7}  {:>4} s",
            self.tokens,
            count(Outcome::Ran),
            count(Outcome::Credentials),
            count(Outcome::File),
            count(Outcome::Other),
            self.refused,
            self.took.as_secs(),
        )
    }
}
