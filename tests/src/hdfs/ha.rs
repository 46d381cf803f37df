//! HDFS with two NameNodes behind EMR's nameservice. Tests fail over by command instead of through ZooKeeper.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use super::conf::{self, Differences};
use super::jvm::Jvm;
use super::{Error, HdfsClient, NAMENODE, START, SUPERUSER, client, copy_directory, start_datanode};
use crate::keeper;
use crate::parts::Part;
use crate::ports::Port;
use crate::process::Server;
use crate::scratch;

/// The nameservice, as on EMR.
const NAMESERVICE: &str = "ha-nn-uri";

/// A nameservice for one test. Dropping it stops the servers and removes the files.
#[derive(Debug)]
pub struct HaHdfs {
    // Fields drop in this order: the servers must end before their files go.
    datanode: Option<Server>,
    namenodes: [Option<Server>; 2],
    jvm: Jvm,
    client: HdfsClient,
    home: scratch::Directory,
    ports: Vec<Port>,
}

impl HaHdfs {
    /// Starts all servers; the first NameNode is active.
    pub async fn start() -> Result<Self, Error> {
        let part = Part::hadoop()?;
        let home = scratch::directory("ha-hdfs")?;
        let ports = (0..4).map(|_| Port::reserve()).collect::<Result<Vec<_>, _>>()?;
        let shared = differences(home.path(), &ports);
        let conf_dir = conf::write(home.path(), &shared)?;
        let jvm = Jvm::new(part.clone(), conf_dir);

        let mut members = Vec::new();
        for name in NAMES {
            let member = home.path().join(name);
            fs::create_dir(&member).map_err(|source| Error::File {
                operation: "create the directory",
                path: member.clone(),
                source,
            })?;
            let own = shared.clone().hdfs("dfs.ha.namenode.id", name);
            members.push(Jvm::new(part.clone(), conf::write(&member, &own)?));
        }
        let files = NAMES.map(|name| home.path().join(name).join("name"));
        copy_directory(&part.path("name"), &files[0])?;
        initialize_edits(&members[0]).await?;
        copy_directory(&files[0], &files[1])?;

        let mut namenodes = [None, None];
        for (index, member) in members.iter().enumerate() {
            namenodes[index] = Some(start_namenode(member, home.path(), &ports[index], NAMES[index]).await?);
        }
        transition(&jvm, NAMES[0]).await?;
        let datanode = start_datanode(&jvm, home.path(), || Ok(())).await?;
        let client = HdfsClient::new(jvm.clone(), NAMESERVICE.to_owned()).with_shared_shell(keeper::SHARED);
        Ok(Self { datanode: Some(datanode), namenodes, jvm, client, home, ports })
    }

    pub fn client(&self) -> &HdfsClient {
        &self.client
    }

    /// The second NameNode's address, active or not.
    pub fn second_namenode(&self) -> SocketAddr {
        self.ports[1].address()
    }

    /// Kills the DataNode, which has the only replica of every block.
    pub fn stop_datanode(&mut self) {
        self.datanode = None;
    }

    /// Restarts the DataNode and waits for its block report.
    pub async fn start_datanode(&mut self) -> Result<(), Error> {
        self.datanode = Some(start_datanode(&self.jvm, self.home.path(), || Ok(())).await?);
        Ok(())
    }

    /// Kills the first NameNode, as in a crash, which leaves none active.
    pub fn kill_active(&mut self) {
        self.namenodes[0] = None;
    }

    /// Makes the second NameNode active.
    pub async fn activate_standby(&self) -> Result<(), Error> {
        transition(&self.jvm, NAMES[1]).await
    }
}

const NAMES: [&str; 2] = ["nn1", "nn2"];
const HA_ADMIN: &str = "org.apache.hadoop.hdfs.tools.DFSHAAdmin";

fn differences(home: &Path, ports: &[Port]) -> Differences {
    let key = |name: &str| format!("{name}.{NAMESERVICE}");
    let mut differences = Differences::at(NAMESERVICE)
        .hdfs("dfs.nameservices", NAMESERVICE)
        .hdfs(key("dfs.ha.namenodes"), NAMES.join(","))
        .hdfs(
            key("dfs.client.failover.proxy.provider"),
            "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider",
        )
        .hdfs("dfs.namenode.shared.edits.dir", format!("file://{}", home.join("edits").display()))
        .hdfs("dfs.ha.fencing.methods", "shell(/bin/true)")
        .hdfs("dfs.ha.tail-edits.period", "1")
        // By default, a read without a DataNode takes half a minute to fail.
        .hdfs("dfs.client.retry.window.base", "100");
    for (index, name) in NAMES.iter().enumerate() {
        let at = |port: &Port| port.address().to_string();
        differences = differences
            .hdfs(format!("{}.{name}", key("dfs.namenode.rpc-address")), at(&ports[index]))
            .hdfs(format!("{}.{name}", key("dfs.namenode.http-address")), at(&ports[index + 2]));
    }
    differences
}

/// Shares the existing edits with both NameNodes: the file system was formatted for one.
async fn initialize_edits(jvm: &Jvm) -> Result<(), Error> {
    let command = jvm.command(SUPERUSER, NAMENODE);
    let args = ["-initializeSharedEdits", "-force"];
    client::succeeded("hdfs namenode", &args, client::run(command, &args).await?).map(drop)
}

async fn start_namenode(jvm: &Jvm, home: &Path, port: &Port, name: &str) -> Result<Server, Error> {
    let log = home.join(format!("{name}.log"));
    let command = jvm.command(SUPERUSER, NAMENODE);
    let mut server = Server::start("a NameNode", command, &log)?;
    server.wait_for_port(port.address(), START).await?;
    Ok(server)
}

async fn transition(jvm: &Jvm, name: &str) -> Result<(), Error> {
    let args = ["-ns", NAMESERVICE, "-transitionToActive", "--forceactive", name];
    let output = client::run(jvm.command(SUPERUSER, HA_ADMIN), &args).await?;
    client::succeeded("hdfs haadmin", &args, output).map(drop)
}
