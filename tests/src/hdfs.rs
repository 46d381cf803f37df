//! A real HDFS on loopback: one NameNode, one DataNode, and EMR's directories, owners and modes.
//!
//! [`Hdfs`] owns its servers and can stop and start them; an [`HdfsClient`] uses a running HDFS; a [`SharedHdfs`]
//! serves all tests that do not harm it.

mod client;
mod conf;
mod ha;
mod jvm;
pub mod proxy;
mod secure;
mod shared;
mod shell;
pub mod writer;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use client::HdfsClient;
pub use ha::HaHdfs;
pub(crate) use jvm::Jvm;
pub use shared::{KeptHdfs, Processes, SharedHdfs};
pub use shell::{KeptShell, ShellAnnouncement};

use crate::keeper;
use crate::kerberos::Realm;
use crate::parts::{Missing, Part};
use crate::ports::{self, Port};
use crate::process::{self, Server};
use crate::scratch;
use crate::wait::{self, TimedOut};
use conf::Differences;

/// The superuser, as which the servers run.
pub const SUPERUSER: &str = "hdfs";

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
    Keeper(#[from] keeper::Error),
    #[error("cannot {operation} {}", path.display())]
    File { operation: &'static str, path: PathBuf, source: io::Error },
    #[error("this HDFS has a shell of its own")]
    OwnShell,
    #[error("cannot run {program}")]
    Run { program: String, source: io::Error },
    #[error("{command} failed with status {status}: {message}")]
    Refused { command: String, status: i32, message: String },
}

/// An HDFS for one test. Dropping it stops the servers and removes the files.
#[derive(Debug)]
pub struct Hdfs {
    // Fields drop in this order: the servers must end before their files go.
    datanode: Option<Server>,
    namenode: Option<Server>,
    jvm: Jvm,
    client: HdfsClient,
    home: scratch::Directory,
    port: Port,
}

impl Hdfs {
    /// Starts both servers and waits until HDFS accepts writes.
    pub async fn start() -> Result<Self, Error> {
        let port = Port::reserve()?;
        let differences = Differences::at(port.address().to_string());
        Self::start_with(port, &differences, |jvm| jvm).await
    }

    /// Like [`Hdfs::start`], with a DataNode that reports `host` as its name, so that a relay there can intercept
    /// clients that connect to DataNodes by name.
    pub async fn start_with_datanode_host(host: &str) -> Result<Self, Error> {
        let port = Port::reserve()?;
        let differences = Differences::at(port.address().to_string()).hdfs("dfs.datanode.hostname", host);
        Self::start_with(port, &differences, |jvm| jvm).await
    }

    /// Like [`Hdfs::start`], with Kerberos, privacy on every connection, and encrypted data transfer.
    pub async fn start_in(realm: &Realm) -> Result<Self, Error> {
        let port = Port::reserve()?;
        let differences = secure::differences(port.number(), realm);
        Self::start_with(port, &differences, |jvm| jvm.in_realm(realm.krb5_conf())).await
    }

    async fn start_with(
        port: Port,
        differences: &Differences,
        equip: impl FnOnce(Jvm) -> Jvm,
    ) -> Result<Self, Error> {
        let part = Part::hadoop()?;
        let home = scratch::directory("hdfs")?;
        let conf_dir = conf::write(home.path(), differences)?;
        copy_directory(&part.path("name"), &home.path().join("name"))?;

        let jvm = equip(Jvm::new(part, conf_dir));
        let client = HdfsClient::new(jvm.clone(), differences.authority.clone());
        let mut hdfs = Self { datanode: None, namenode: None, jvm, client, home, port };
        hdfs.spawn_namenode()?;
        hdfs.start_datanode().await?;
        Ok(hdfs)
    }

    /// Uses the shell that all tests share, which saves starting one.
    #[must_use]
    pub fn with_shared_shell(self) -> Self {
        Self { client: self.client.clone().with_shared_shell(keeper::SHARED), ..self }
    }

    pub fn client(&self) -> &HdfsClient {
        &self.client
    }

    /// The directory with all files and logs.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The NameNode's process id while it runs.
    pub fn namenode_process(&self) -> Option<u32> {
        self.namenode.as_ref()?.process_id()
    }

    /// The DataNode's process id while it runs.
    pub fn datanode_process(&self) -> Option<u32> {
        self.datanode.as_ref()?.process_id()
    }

    /// The DataNode's address for block transfer, as logged.
    pub fn datanode_address(&self) -> Option<SocketAddr> {
        let log = self.datanode.as_ref()?.log_text();
        let (_, after) = log.rsplit_once("Opened streaming server at /")?;
        after.split_whitespace().next()?.parse().ok()
    }

    /// Kills the NameNode, as in a crash.
    pub fn stop_namenode(&mut self) {
        self.namenode = None;
    }

    /// Restarts the NameNode on the same files and port, and waits until it leaves safe mode.
    pub async fn start_namenode(&mut self) -> Result<(), Error> {
        let address = self.port.address();
        let namenode = self.spawn_namenode()?;
        namenode.wait_for_port(address, START).await?;
        let client = &self.client;
        wait::until("the end of safe mode", START, async || match client.in_safe_mode().await {
            Ok(false) => Ok(()),
            Ok(true) => Err("safe mode is on".to_owned()),
            Err(error) => Err(error.to_string()),
        })
        .await?;
        Ok(())
    }

    /// Kills the DataNode: metadata can still change, but file content can be neither read nor written.
    pub fn stop_datanode(&mut self) {
        self.datanode = None;
    }

    /// Starts or restarts the DataNode and waits until the NameNode knows about it.
    pub async fn start_datanode(&mut self) -> Result<(), Error> {
        let namenode = &mut self.namenode;
        let datanode = start_datanode(&self.jvm, self.home.path(), || match namenode {
            Some(namenode) => namenode.still_runs().map_err(|ended| ended.to_string()),
            None => Err("there is no NameNode".to_owned()),
        });
        self.datanode = Some(datanode.await?);
        Ok(())
    }

    /// Restarts each server that has ended on its own; returns whether there was any.
    async fn restart_ended(&mut self) -> Result<bool, Error> {
        let namenode_ended = log_end(self.namenode.as_mut());
        if namenode_ended {
            self.start_namenode().await?;
        }
        let datanode_ended = log_end(self.datanode.as_mut());
        if datanode_ended {
            self.start_datanode().await?;
        }
        Ok(namenode_ended || datanode_ended)
    }

    fn spawn_namenode(&mut self) -> Result<&mut Server, Error> {
        let log = self.home.path().join("namenode.log");
        let command = self.jvm.command(SUPERUSER, NAMENODE);
        let server = Server::start("the NameNode", command, &log)?;
        Ok(self.namenode.insert(server))
    }
}

/// Writes the configuration of an HDFS that does not exist, for programs that require one; returns its directory.
pub(crate) fn write_conf_of_none(home: &Path) -> Result<PathBuf, Error> {
    conf::write(home, &Differences::at("localhost"))
}

const NAMENODE: &str = "org.apache.hadoop.hdfs.server.namenode.NameNode";
const DATANODE: &str = "org.apache.hadoop.hdfs.server.datanode.DataNode";
const START: Duration = Duration::from_secs(60);

/// Returns whether the server has ended; if so, prints why to standard error.
fn log_end(server: Option<&mut Server>) -> bool {
    let Some(Err(ended)) = server.map(Server::still_runs) else { return false };
    eprintln!("{ended}");
    true
}

/// Starts a DataNode and waits for its block report; fails at once if `namenode` fails.
async fn start_datanode(
    jvm: &Jvm,
    home: &Path,
    mut namenode: impl FnMut() -> Result<(), String>,
) -> Result<Server, Error> {
    let log = home.join("datanode.log");
    // Keeps the report of an earlier run from being mistaken for this one's.
    let _ = fs::remove_file(&log);
    let mut server = Server::start("the DataNode", jvm.command(SUPERUSER, DATANODE), &log)?;
    server
        .wait_until("the DataNode's report", START, async |server| {
            namenode()?;
            if server.log_text().contains("Successfully sent block report") {
                return Ok(());
            }
            Err("no block report yet".to_owned())
        })
        .await?;
    Ok(server)
}

fn copy_directory(from: &Path, to: &Path) -> Result<(), Error> {
    let failed =
        |source| Error::File { operation: "copy the NameNode's files to", path: to.to_owned(), source };
    fs::create_dir(to).map_err(failed)?;
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_directory(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target).map_err(failed)?;
        }
    }
    Ok(())
}
