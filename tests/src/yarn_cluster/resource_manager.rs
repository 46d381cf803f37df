//! The ResourceManager: one shared by all clusters that do not harm it, or a cluster's own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Error;
use super::conf::{self, Addresses};
use super::layout::{copy, make_directory};
use crate::hdfs::{self, HdfsClient, Jvm};
use crate::keeper::{self, Lease, Service};
use crate::kerberos::Realm;
use crate::parts::Part;
use crate::ports::Port;
use crate::process::Server;
use crate::scratch;

const MAIN: &str = "org.apache.hadoop.yarn.server.resourcemanager.ResourceManager";
const START: Duration = Duration::from_secs(90);
const STOP: Duration = Duration::from_secs(120);

/// A running ResourceManager, stopped when dropped.
#[derive(Debug)]
pub struct ResourceManager {
    // Fields drop in this order: the server must end before its files go.
    server: Server,
    jvm: Jvm,
    ports: [Port; 5],
    home: scratch::Directory,
}

impl ResourceManager {
    /// Starts one for clusters on this HDFS.
    fn start_on(hdfs: &HdfsClient, realm: Option<&Realm>) -> Result<Self, Error> {
        let home = scratch::directory("resourcemanager")?;
        let conf_dir = home.path().join("conf");
        make_directory(&conf_dir, 0o755)?;
        make_directory(&home.path().join("tmp"), 0o755)?;
        for name in ["core-site.xml", "hdfs-site.xml", "log4j.properties"] {
            copy(&hdfs.conf_dir().join(name), &conf_dir.join(name))?;
        }
        Self::start_in(home, conf_dir, realm)
    }

    fn start_in(home: scratch::Directory, conf_dir: PathBuf, realm: Option<&Realm>) -> Result<Self, Error> {
        let ports = Addresses::reserve()?;
        let keytab = realm.map(Realm::yarn_keytab);
        conf::write_resource_manager(&conf_dir, &Addresses::of(&ports), keytab)?;
        let mut jvm = Jvm::new(Part::hadoop()?, conf_dir);
        if let Some(realm) = realm {
            jvm = jvm.in_realm(realm.krb5_conf());
        }
        let server = spawn(&jvm, home.path())?;
        Ok(Self { server, jvm, ports, home })
    }

    async fn wait_until_it_answers(&mut self) -> Result<(), Error> {
        Ok(self.server.wait_for_port(self.addresses().web, START).await?)
    }

    pub(super) fn addresses(&self) -> Addresses {
        Addresses::of(&self.ports)
    }

    pub(super) fn still_runs(&mut self) -> Result<(), Error> {
        Ok(self.server.still_runs()?)
    }

    pub(super) async fn stop(&mut self) -> Result<(), Error> {
        Ok(self.server.terminate(STOP).await.map(drop)?)
    }
}

/// Shared by all clusters of a run. NodeManagers find a restarted one; applications do not survive the restart.
impl Service for ResourceManager {
    const KIND: &'static str = "resource-manager";
    type Announcement = Addresses;
    type Error = Error;

    async fn start() -> Result<Self, Error> {
        let home = scratch::directory("resourcemanager")?;
        let conf_dir = hdfs::write_conf_of_none(home.path())?;
        let mut started = Self::start_in(home, conf_dir, None)?;
        started.wait_until_it_answers().await?;
        Ok(started)
    }

    fn announcement(&self) -> Addresses {
        self.addresses()
    }

    async fn restart_ended(&mut self) -> Result<bool, Error> {
        let Err(ended) = self.server.still_runs() else { return Ok(false) };
        eprintln!("{ended}");
        self.server = spawn(&self.jvm, self.home.path())?;
        self.wait_until_it_answers().await?;
        Ok(true)
    }
}

fn spawn(jvm: &Jvm, home: &Path) -> Result<Server, Error> {
    let command = jvm.command_with(&["-Xmx256m"], conf::YARN, MAIN);
    Ok(Server::start("the ResourceManager", command, &home.join("resourcemanager.log"))?)
}

/// A cluster's access to its ResourceManager.
#[derive(Debug)]
pub(super) enum Manager {
    Own(Box<ResourceManager>),
    Shared { addresses: Addresses, lease: Lease<ResourceManager> },
}

impl Manager {
    pub(super) fn own(hdfs: &HdfsClient, realm: Option<&Realm>) -> Result<Self, Error> {
        Ok(Self::Own(Box::new(ResourceManager::start_on(hdfs, realm)?)))
    }

    pub(super) async fn shared() -> Result<Self, Error> {
        let lease = Lease::take(keeper::SHARED).await?;
        Ok(Self::Shared { addresses: lease.ensure_announced().await?, lease })
    }

    pub(super) fn addresses(&self) -> Addresses {
        match self {
            Self::Own(own) => own.addresses(),
            Self::Shared { addresses, .. } => *addresses,
        }
    }

    /// Returns an error if the ResourceManager has ended for good.
    pub(super) fn still_runs(&mut self) -> Result<(), Error> {
        match self {
            Self::Own(own) => own.still_runs(),
            Self::Shared { addresses, lease } => match lease.last_announcement()? {
                now if now == *addresses => Ok(()),
                _ => Err(Error::Replaced { log: lease.log() }),
            },
        }
    }
}
