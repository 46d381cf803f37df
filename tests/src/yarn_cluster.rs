//! A real YARN cluster on loopback: a ResourceManager, and nodes that each have a NodeManager, a Docker engine and room
//! for an agent. It launches containers as users do, through the ResourceManager's REST interface.
//!
//! It takes root. Each node lives in namespaces of its own, so nothing of the machine is touched, and all of it ends
//! with this process.

mod booted;
mod conf;
mod launch;
mod layout;
mod namespaces;
mod node;
mod resource_manager;
mod rest;

use std::io;
use std::path::PathBuf;

use futures_util::future::try_join_all;
use nix::unistd::geteuid;

pub use booted::Booted;
pub use launch::{Launch, Launched};
pub use node::{ClusterNode, Surroundings};
pub use rest::Rest;

use crate::agent::{self, Agent};
use crate::hdfs::HdfsClient;
use crate::http;
use crate::kerberos::Realm;
use crate::node::{self as emr_node, AwsEndpoints, Settings};
use crate::parts::{self, Missing, Part};
use crate::ports;
use crate::process;
use crate::scratch;
use crate::wait::TimedOut;
use resource_manager::ResourceManager;

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
    #[error("no Docker engine runs here")]
    NoEngine { source: Box<Self> },
    #[error("cannot run {program} on the node")]
    Run { program: String, source: io::Error },
    #[error("{program} failed on the node: {message}")]
    Failed { program: String, message: String },
    #[error("the ResourceManager answered {status} to {request}: {text}")]
    Refused { request: String, status: hyper::StatusCode, text: String },
}

/// The running cluster; it ends and its files vanish when dropped.
#[derive(Debug)]
pub struct YarnCluster {
    // Fields drop in this order: nodes end before the ResourceManager.
    nodes: Vec<ClusterNode>,
    resource_manager: ResourceManager,
}

/// Why no cluster can run here, as far as that is known before its start.
pub fn obstacle() -> Option<String> {
    parts::missing([Part::hadoop(), Part::registry(), Part::docker()])
        .or_else(|| (!geteuid().is_root()).then(|| "nodes that launch containers take root".to_owned()))
}

/// For tests: whether a cluster can run here. If not, says so loudly; in CI it panics.
pub fn can_run() -> bool {
    let obstacle = obstacle();
    if let Some(obstacle) = &obstacle {
        assert!(!parts::in_ci(), "in CI launches must be tried: {obstacle}");
        eprintln!("SKIPPED: {obstacle}");
    }
    obstacle.is_none()
}

impl YarnCluster {
    /// Starts it on a running HDFS with this number of nodes, whose container-executor.cfg trusts `registries`.
    pub async fn start(hdfs: &HdfsClient, nodes: u8, registries: &[&str]) -> Result<Self, Error> {
        Self::start_with(hdfs, nodes, registries, None).await
    }

    /// The same with one node and Kerberos, on an HDFS with Kerberos.
    pub async fn start_in(realm: &Realm, hdfs: &HdfsClient, registries: &[&str]) -> Result<Self, Error> {
        Self::start_with(hdfs, 1, registries, Some(realm)).await
    }

    /// The same with one node, on one that systemd has booted.
    pub async fn start_on(booted: Booted, hdfs: &HdfsClient, registries: &[&str]) -> Result<Self, Error> {
        let resource_manager = ResourceManager::start(hdfs, 1, None)?;
        let addresses = resource_manager.addresses();
        let around = Surroundings { hdfs, addresses, registries, realm: None };
        let nodes = vec![ClusterNode::start_on(booted, &around).await?];
        Self { nodes, resource_manager }.complete().await
    }

    async fn start_with(
        hdfs: &HdfsClient,
        nodes: u8,
        registries: &[&str],
        realm: Option<&Realm>,
    ) -> Result<Self, Error> {
        let resource_manager = ResourceManager::start(hdfs, nodes, realm)?;
        let addresses = resource_manager.addresses();
        let around = Surroundings { hdfs, addresses, registries, realm };
        let starting = (1..=nodes).map(|number| ClusterNode::start(number, &around));
        Self { nodes: try_join_all(starting).await?, resource_manager }.complete().await
    }

    /// Waits for the nodes, and makes a partition of each.
    async fn complete(mut self) -> Result<Self, Error> {
        self.wait_for_nodes().await?;
        for node in &self.nodes {
            self.rest().label(&node.host(), &node.label()).await?;
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

    /// Stops the ResourceManager.
    pub async fn stop_resource_manager(&mut self) -> Result<(), Error> {
        self.resource_manager.stop().await
    }

    pub fn rest(&self) -> Rest {
        self.resource_manager.rest()
    }

    /// Starts an agent on every node, in order, with settings for each.
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

    async fn wait_for_nodes(&mut self) -> Result<(), Error> {
        let count = self.nodes.len();
        self.resource_manager
            .wait_for_nodes(count, || self.nodes.iter_mut().try_for_each(ClusterNode::still_runs))
            .await
    }
}
