//! The ResourceManager.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::Error;
use super::conf::{self, Addresses};
use super::rest::Rest;
use crate::hdfs::{HdfsClient, Jvm};
use crate::kerberos::Realm;
use crate::parts::Part;
use crate::process::Server;
use crate::scratch;
use crate::wait;

const MAIN: &str = "org.apache.hadoop.yarn.server.resourcemanager.ResourceManager";
const START: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub(super) struct ResourceManager {
    // Fields drop in this order: the server ends before its files go.
    server: Server,
    addresses: Addresses,
    _home: scratch::Directory,
}

impl ResourceManager {
    /// For a cluster with this number of nodes.
    pub(super) fn start(hdfs: &HdfsClient, nodes: u8, realm: Option<&Realm>) -> Result<Self, Error> {
        let home = scratch::directory("resourcemanager")?;
        let conf_dir = home.path().join("conf");
        let addresses = Addresses::reserve()?;
        make_directory(&conf_dir)?;
        make_directory(&home.path().join("tmp"))?;
        for name in ["core-site.xml", "hdfs-site.xml", "log4j.properties"] {
            copy(&hdfs.conf_dir().join(name), &conf_dir.join(name))?;
        }
        conf::write_resource_manager(&conf_dir, &addresses, nodes, realm.map(Realm::yarn_keytab))?;

        let mut jvm = Jvm::new(Part::hadoop()?, conf_dir);
        if let Some(realm) = realm {
            jvm = jvm.in_realm(realm.krb5_conf());
        }
        let command = jvm.command_with(&["-Xmx256m"], conf::YARN, MAIN);
        let log = home.path().join("resourcemanager.log");
        let server = Server::start("the ResourceManager", command, &log)?;
        Ok(Self { server, addresses, _home: home })
    }

    pub(super) fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Waits until this many nodes can take containers, as long as `they_run`.
    pub(super) async fn wait_for_nodes(
        &mut self,
        count: usize,
        mut they_run: impl FnMut() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let rest = self.rest();
        wait::until("the NodeManagers at the ResourceManager", START, async || {
            let all_run = self.server.still_runs().map_err(Error::from).and_then(|()| they_run());
            if let Err(ended) = all_run {
                return Ok(Err(ended));
            }
            match rest.active_nodes().await.map_err(|error| error.to_string())? {
                all if all == count as u64 => Ok(Ok(())),
                active => Err(format!("{active} of {count}")),
            }
        })
        .await?
    }

    pub(super) async fn stop(&mut self) -> Result<(), Error> {
        Ok(self.server.terminate(START).await.map(drop)?)
    }

    pub(super) fn rest(&self) -> Rest {
        Rest::at(self.addresses.web())
    }
}

fn make_directory(path: &Path) -> Result<(), Error> {
    fs::create_dir(path).map_err(|source| Error::File {
        operation: "make the directory",
        path: path.to_owned(),
        source,
    })
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let copied = fs::copy(from, to);
    copied.map(drop).map_err(|source| Error::File { operation: "write", path: to.to_owned(), source })
}
