//! One HDFS shared by all tests that do not harm it.

use std::path::PathBuf;
use std::process;

use serde::{Deserialize, Serialize};

use super::jvm::Jvm;
use super::{Error, Hdfs, HdfsClient};
use crate::keeper::{self, Lease, Service};
use crate::parts::Part;
use crate::wait;

/// A lease on the shared HDFS, with a private directory on it.
#[derive(Debug)]
pub struct SharedHdfs {
    client: HdfsClient,
    directory: String,
    lease: Lease<KeptHdfs>,
}

impl SharedHdfs {
    /// Joins or starts the shared HDFS and creates a fresh directory on it with this owner and mode.
    ///
    /// Creating the directory proves that HDFS works: the keeper restarts servers that have died, and the next test
    /// to join replaces a keeper that has died.
    pub async fn join(owner: &str, mode: &str) -> Result<Self, Error> {
        Self::join_named(keeper::SHARED, owner, mode).await
    }

    /// Joins the HDFS and the shell shared by all callers with this `name`.
    pub async fn join_named(name: &'static str, owner: &str, mode: &str) -> Result<Self, Error> {
        let lease = Lease::take(name).await?;
        let directory = format!("/test/{:016x}", fastrand::u64(..));
        let what = format!("the shared HDFS; its keeper's log is {}", lease.log().display());
        // Longer than a start takes, because a failed start reports a better error.
        let client = wait::until(&what, keeper::START * 2, async || {
            let client = client(&lease).await?.with_shared_shell(name);
            client.make_directory(&directory, owner, mode).await?;
            Ok::<_, Error>(client)
        })
        .await?;
        Ok(Self { client, directory, lease })
    }

    pub fn client(&self) -> &HdfsClient {
        &self.client
    }

    /// The absolute path of `name` in the private directory.
    pub fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.directory)
    }

    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// The processes of the keeper and its servers, for tests that kill them.
    pub fn processes(&self) -> Result<Processes, Error> {
        Ok(self.lease.last_announcement()?.processes)
    }
}

async fn client(lease: &Lease<KeptHdfs>) -> Result<HdfsClient, Error> {
    let announced = lease.ensure_announced().await?;
    let jvm = Jvm::new(Part::hadoop()?, announced.conf_dir);
    Ok(HdfsClient::new(jvm, announced.authority))
}

/// The process ids of a shared HDFS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Processes {
    pub keeper: u32,
    pub namenode: u32,
    pub datanode: u32,
}

/// What a keeper announces about its HDFS.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Announcement {
    authority: String,
    conf_dir: PathBuf,
    processes: Processes,
}

/// The HDFS as a keeper runs it.
#[derive(Debug)]
pub struct KeptHdfs(Hdfs);

impl Service for KeptHdfs {
    const KIND: &'static str = "hdfs";
    type Announcement = Announcement;
    type Error = Error;

    async fn start() -> Result<Self, Error> {
        Hdfs::start().await.map(Self)
    }

    fn announcement(&self) -> Announcement {
        let Self(hdfs) = self;
        Announcement {
            authority: hdfs.client().authority().to_owned(),
            conf_dir: hdfs.client().conf_dir().to_owned(),
            processes: Processes {
                keeper: process::id(),
                namenode: hdfs.namenode_process().unwrap_or_default(),
                datanode: hdfs.datanode_process().unwrap_or_default(),
            },
        }
    }

    async fn restart_ended(&mut self) -> Result<bool, Error> {
        self.0.restart_ended().await
    }
}
