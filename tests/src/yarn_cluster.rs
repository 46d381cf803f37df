//! A real YARN cluster on loopback: a ResourceManager, and nodes that each have a NodeManager, a Docker engine and room
//! for an agent. It launches containers as users do, through the ResourceManager's REST interface.
//!
//! It takes root. Each node lives in namespaces of its own, so nothing of the machine is touched, and all of it ends
//! with this process.

mod conf;
mod launch;
mod node;
mod resource_manager;

use std::io;
use std::path::PathBuf;

use nix::unistd::geteuid;

pub use launch::{Launch, Launched};
pub use node::ClusterNode;

use crate::agent;
use crate::hdfs::HdfsClient;
use crate::http;
use crate::node as emr_node;
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

/// For tests: whether a cluster can run here. If not, says so loudly; in CI it panics.
pub fn can_run() -> bool {
    if !parts::present([Part::hadoop(), Part::registry(), Part::docker()]) {
        return false;
    }
    let is_root = geteuid().is_root();
    assert!(is_root || !parts::in_ci(), "in CI launches must be tried, which takes root");
    if !is_root {
        eprintln!("SKIPPED: nodes that launch containers take root");
    }
    is_root
}

impl YarnCluster {
    /// Starts it on a running HDFS with this number of nodes, whose container-executor.cfg trusts `registries`.
    pub async fn start(hdfs: &HdfsClient, nodes: u8, registries: &[&str]) -> Result<Self, Error> {
        let resource_manager = ResourceManager::start(hdfs)?;
        let mut running = Vec::new();
        for number in 1..=nodes {
            running.push(ClusterNode::start(number, hdfs, resource_manager.addresses(), registries).await?);
        }
        let mut cluster = Self { nodes: running, resource_manager };
        cluster.wait_for_nodes().await?;
        Ok(cluster)
    }

    pub fn nodes(&self) -> &[ClusterNode] {
        &self.nodes
    }

    pub fn nodes_mut(&mut self) -> &mut [ClusterNode] {
        &mut self.nodes
    }

    /// Launches one container and waits until it has ended.
    pub async fn launch(&self, launch: &Launch) -> Result<Launched, Error> {
        self.resource_manager.launch(launch).await
    }

    async fn wait_for_nodes(&mut self) -> Result<(), Error> {
        let count = self.nodes.len();
        self.resource_manager
            .wait_for_nodes(count, || self.nodes.iter_mut().try_for_each(ClusterNode::still_runs))
            .await
    }
}
