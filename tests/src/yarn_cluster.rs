//! A real YARN cluster on loopback: a ResourceManager, and nodes that each have a NodeManager, a Docker engine and
//! room for an agent. It launches containers as users do, through the ResourceManager's REST interface.
//!
//! It requires root. Each node lives in its own namespaces, so the machine stays untouched, and everything ends with
//! this process.

mod booted;
mod conf;
mod launch;
mod layout;
mod namespaces;
mod node;
mod partition;
mod resource_manager;
mod rest;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::try_join_all;
use nix::unistd::geteuid;

pub use booted::Booted;
pub use launch::{Launch, Launched};
pub use node::{ClusterNode, Surroundings};
pub use resource_manager::ResourceManager;
pub use rest::Rest;

use crate::agent::{self, Agent};
use crate::hdfs::{self, HdfsClient};
use crate::http;
use crate::keeper;
use crate::kerberos::Realm;
use crate::node::{self as emr_node, AwsEndpoints, Settings};
use crate::parts::{self, Missing, Part};
use crate::ports;
use crate::process;
use crate::scratch;
use crate::wait::{self, TimedOut};
use resource_manager::Manager;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Missing(#[from] Missing),
    #[error(transparent)]
    Scratch(#[from] scratch::Error),
    #[error(transparent)]
    Port(#[from] ports::Error),
    #[error(transparent)]
    Process(#[from] process::Error),
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
    #[error(transparent)]
    Http(#[from] http::Error),
    #[error(transparent)]
    Node(#[from] emr_node::Error),
    #[error(transparent)]
    Agent(#[from] agent::Error),
    #[error("cannot {operation} {}", path.display())]
    File { operation: &'static str, path: PathBuf, source: io::Error },
    #[error(transparent)]
    Hdfs(#[from] hdfs::Error),
    #[error(transparent)]
    Keeper(#[from] keeper::Error),
    #[error("all {count} partitions are in use")]
    NoPartition { count: u16 },
    #[error("the shared ResourceManager was replaced; the log of its keeper is {}", log.display())]
    Replaced { log: PathBuf },
    #[error("other clusters share the ResourceManager")]
    Shared,
    #[error("no Docker engine runs here")]
    NoEngine { source: Box<Self> },
    #[error("cannot run {program} on the node")]
    Run { program: String, source: io::Error },
    #[error("{program} failed on the node: {message}")]
    Failed { program: String, message: String },
    #[error("the ResourceManager answered {status} to {request}: {text}")]
    Refused { request: String, status: hyper::StatusCode, text: String },
}

/// A running cluster. Dropping it stops it and removes its files.
#[derive(Debug)]
pub struct YarnCluster {
    // Fields drop in this order: nodes must end before the ResourceManager.
    nodes: Vec<ClusterNode>,
    manager: Manager,
}

const START: Duration = Duration::from_secs(120);

/// Why no cluster can run here, as far as that is known in advance.
pub fn obstacle() -> Option<String> {
    parts::missing([Part::hadoop(), Part::registry(), Part::docker()])
        .or_else(|| (!geteuid().is_root()).then(|| "nodes that launch containers take root".to_owned()))
}

/// For tests: returns whether a cluster can run here. If not, prints a prominent message, or panics in CI.
pub fn can_run() -> bool {
    let obstacle = obstacle();
    if let Some(obstacle) = &obstacle {
        assert!(!parts::in_ci(), "in CI launches must be tried: {obstacle}");
        eprintln!("SKIPPED: {obstacle}");
    }
    obstacle.is_none()
}

impl YarnCluster {
    /// Starts a cluster with its own ResourceManager on a running HDFS, with this many nodes, whose
    /// container-executor.cfg trusts `registries`.
    pub async fn start(hdfs: &HdfsClient, nodes: u8, registries: &[&str]) -> Result<Self, Error> {
        let manager = Manager::own(hdfs, None)?;
        Self::with_nodes(manager, nodes, (hdfs, registries, None)).await
    }

    /// Like [`YarnCluster::start`], with the ResourceManager that all such clusters share.
    pub async fn join(hdfs: &HdfsClient, nodes: u8, registries: &[&str]) -> Result<Self, Error> {
        Self::with_nodes(Manager::shared().await?, nodes, (hdfs, registries, None)).await
    }

    /// Starts a cluster with one node and Kerberos, on an HDFS with Kerberos.
    pub async fn start_in(realm: &Realm, hdfs: &HdfsClient, registries: &[&str]) -> Result<Self, Error> {
        let manager = Manager::own(hdfs, Some(realm))?;
        Self::with_nodes(manager, 1, (hdfs, registries, Some(realm))).await
    }

    /// Starts a cluster whose only node systemd has booted.
    pub async fn start_on(booted: Booted, hdfs: &HdfsClient, registries: &[&str]) -> Result<Self, Error> {
        let manager = Manager::own(hdfs, None)?;
        let around = Surroundings { hdfs, addresses: manager.addresses(), registries, realm: None };
        let nodes = vec![ClusterNode::start_on(booted, &around).await?];
        Self { nodes, manager }.complete().await
    }

    async fn with_nodes(
        manager: Manager,
        nodes: u8,
        (hdfs, registries, realm): (&HdfsClient, &[&str], Option<&Realm>),
    ) -> Result<Self, Error> {
        let around = Surroundings { hdfs, addresses: manager.addresses(), registries, realm };
        let starting = (1..=nodes).map(|number| ClusterNode::start(number, &around));
        Self { nodes: try_join_all(starting).await?, manager }.complete().await
    }

    /// Waits until the nodes can run containers, and makes each its own partition.
    async fn complete(mut self) -> Result<Self, Error> {
        let rest = self.rest();
        let Self { nodes, manager } = &mut self;
        wait::until("the NodeManagers at the ResourceManager", START, async || {
            let all_run =
                manager.still_runs().and_then(|()| nodes.iter_mut().try_for_each(ClusterNode::still_runs));
            if let Err(ended) = all_run {
                return Ok(Err(ended));
            }
            let running = rest.running_nodes().await.map_err(|error| error.to_string())?;
            let missing = nodes.iter().map(ClusterNode::id).find(|id| !running.contains(id));
            missing.map_or(Ok(Ok(())), |id| Err(format!("no {id}")))
        })
        .await??;
        for node in nodes {
            rest.label(&node.id(), &node.label()).await?;
        }
        Ok(self)
    }

    pub fn nodes(&self) -> &[ClusterNode] {
        &self.nodes
    }

    pub fn nodes_mut(&mut self) -> &mut [ClusterNode] {
        &mut self.nodes
    }

    /// Launches one container and waits until it has ended.
    pub async fn launch(&self, launch: &Launch) -> Result<Launched, Error> {
        self.rest().launch(launch).await
    }

    /// Stops the ResourceManager if it belongs to this cluster.
    pub async fn stop_resource_manager(&mut self) -> Result<(), Error> {
        match &mut self.manager {
            Manager::Own(own) => own.stop().await,
            Manager::Shared { .. } => Err(Error::Shared),
        }
    }

    /// The ResourceManager's interface; launches default to the first node.
    pub fn rest(&self) -> Rest {
        let partition = self.nodes.first().map(ClusterNode::label).unwrap_or_default();
        Rest::at(self.manager.addresses().web, partition)
    }

    /// Starts an agent on every node, in order, each with its own settings.
    pub fn start_agents(
        &self,
        endpoints: AwsEndpoints,
        settings: impl Fn(&ClusterNode) -> Settings,
    ) -> Result<Vec<Agent>, Error> {
        let start = |node: &ClusterNode| {
            node.files().write_aws_config(endpoints)?;
            node.start_agent(&settings(node))
        };
        self.nodes.iter().map(start).collect()
    }
}
