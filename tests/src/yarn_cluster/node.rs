//! One node: namespaces with their own files, a Docker engine, a NodeManager, and optionally an agent.

use std::ffi::OsString;
use std::iter;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{self, kill};

use super::Error;
use super::booted::{self, Booted};
use super::conf::{Addresses, YARN};
use super::layout;
use super::namespaces::{ControlGroups, Namespaces};
use super::partition::Partition;
use crate::agent::Agent;
use crate::hdfs::{HdfsClient, Jvm};
use crate::kerberos::Realm;
use crate::node::{Node, Settings};
use crate::parts::Part;
use crate::ports::Port;
use crate::process::{self, Server};
use crate::wait;

const MAIN: &str = "org.apache.hadoop.yarn.server.nodemanager.NodeManager";
const START: Duration = Duration::from_secs(60);
/// Contains only the engine's own tools: another docker on this machine must not be found.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// The node's configuration directory, as the node sees it.
const CONF_DIR: &str = "/etc/hadoop/conf";

/// A running node, stopped when dropped.
#[derive(Debug)]
pub struct ClusterNode {
    // Fields drop in this order: what runs on the node ends before the node, and the node before its files go.
    node_manager: Option<Server>,
    engine: Option<Server>,
    namespaces: Namespaces,
    control_groups: ControlGroups,
    number: u8,
    partition: Partition,
    ports: Ports,
    /// The directory with Kerberos's libraries.
    libraries: Option<PathBuf>,
    /// The engine's data root, as the node sees it.
    data_root: PathBuf,
    files: Node,
}

/// The environment that a node belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    pub hdfs: &'a HdfsClient,
    pub addresses: Addresses,
    /// The registries that container-executor.cfg trusts.
    pub registries: &'a [&'a str],
    pub realm: Option<&'a Realm>,
}

/// The ports of servers that are restarted or must be known in advance.
#[derive(Debug)]
pub(super) struct Ports {
    health: Port,
    pub node_manager: Port,
    pub node_manager_web: Port,
}

impl ClusterNode {
    /// Starts engine and NodeManager on the node with this number.
    pub async fn start(number: u8, around: &Surroundings<'_>) -> Result<Self, Error> {
        let mut node = Self::with_engine(number, around).await?;
        node.start_node_manager()?;
        Ok(node)
    }

    /// Starts a node with only an engine, for checks that precede YARN.
    pub async fn without_yarn(hdfs: &HdfsClient) -> Result<Self, Error> {
        // No ResourceManager listens on these.
        let addresses = Addresses::of(&Addresses::reserve()?);
        Self::with_engine(0, &Surroundings { hdfs, addresses, registries: &[], realm: None }).await
    }

    /// Starts engine and NodeManager on a booted node, whose Hadoop configuration appears once the engine runs.
    pub async fn start_on(booted: Booted, around: &Surroundings<'_>) -> Result<Self, Error> {
        let number = 1;
        let files = Node::new(around.hdfs.conf_dir())?;
        let ports = Ports::reserve()?;
        booted.lay_out(&address_of(number).to_string(), &ports, around)?;
        layout::open_to_users(&files)?;
        let data_root = files.path("docker");
        layout::make_directory(&data_root, 0o755)?;
        let data_root = booted::path_of(&data_root);
        let mut node = Self::with_namespaces(number, around, (files, ports, data_root), Some(booted)).await?;
        booted.configure()?;
        node.start_node_manager()?;
        Ok(node)
    }

    async fn with_engine(number: u8, around: &Surroundings<'_>) -> Result<Self, Error> {
        let files = Node::new(around.hdfs.conf_dir())?;
        let ports = Ports::reserve()?;
        layout::lay_out(&files, &address_of(number).to_string(), &ports, around)?;
        let data_root = files.path("docker");
        Self::with_namespaces(number, around, (files, ports, data_root), None).await
    }

    async fn with_namespaces(
        number: u8,
        around: &Surroundings<'_>,
        (files, ports, data_root): (Node, Ports, PathBuf),
        on: Option<Booted>,
    ) -> Result<Self, Error> {
        let no_engine = |source| Error::NoEngine { source: Box::new(source) };
        let host = address_of(number).to_string();
        let namespaces = Namespaces::start(&files, &host, on).await.map_err(no_engine)?;
        let control_groups = ControlGroups::named_after(&files)?;
        let mut node = Self {
            node_manager: None,
            engine: None,
            namespaces,
            control_groups,
            number,
            partition: Partition::reserve()?,
            ports,
            libraries: around.realm.map(Realm::libraries),
            data_root,
            files,
        };
        node.start_engine().await.map_err(no_engine)?;
        Ok(node)
    }

    /// The node's address, which is also its name in YARN.
    pub fn host(&self) -> String {
        address_of(self.number).to_string()
    }

    /// The node's id in YARN.
    pub fn id(&self) -> String {
        format!("{}:{}", self.host(), self.ports.node_manager.number())
    }

    /// The node's partition in YARN.
    pub fn label(&self) -> String {
        self.partition.label()
    }

    /// The node's files as this machine sees them; `conf/` is the node's /etc/hadoop/conf.
    pub fn files(&self) -> &Node {
        &self.files
    }

    pub fn still_runs(&mut self) -> Result<(), Error> {
        for server in [&mut self.node_manager, &mut self.engine].into_iter().flatten() {
            server.still_runs()?;
        }
        Ok(())
    }

    pub async fn start_engine(&mut self) -> Result<(), Error> {
        let mut command = self.namespaces.command();
        command.env_clear().env("PATH", PATH).args([
            "dockerd",
            "--iptables=false",
            "--ip6tables=false",
            "--bridge=none",
        ]);
        // The engine leaves its own control groups there, even when stopped.
        command
            .arg("--exec-opt=native.cgroupdriver=cgroupfs")
            // Absolute, or else it would be below this process's group.
            .arg(format!("--cgroup-parent=/{}", self.control_groups.name()));
        command.arg("--data-root").arg(&self.data_root);
        let log = self.files.path("dockerd.log");
        let mut engine = Server::start("dockerd", command, &log)?;
        engine
            .wait_until("the Docker engine", START, async |_| {
                self.run(&["/usr/bin/docker", "version"]).await.map(drop)
            })
            .await?;
        self.engine = Some(engine);
        Ok(())
    }

    /// Stops the engine as its service does.
    pub async fn stop_engine(&mut self) -> Result<(), Error> {
        let Some(mut engine) = self.engine.take() else { return Ok(()) };
        self.run(&["/bin/sh", "-c", "kill \"$(cat /var/run/docker.pid)\""]).await?;
        let is_gone = async || if engine.still_runs().is_err() { Ok(()) } else { Err("it still runs") };
        Ok(wait::until("the engine's end", START, is_gone).await?)
    }

    /// Kills the engine, as in a crash. What containerd has started lives on.
    pub async fn kill_engine(&mut self) -> Result<(), Error> {
        let Some(engine) = self.engine.take() else { return Ok(()) };
        kill_within(engine).await
    }

    /// Kills the NodeManager, as in a crash: its containers and the processes that wait for them live on.
    pub async fn kill_node_manager(&mut self) -> Result<(), Error> {
        let Some(node_manager) = self.node_manager.take() else { return Ok(()) };
        kill_within(node_manager).await
    }

    /// Starts the NodeManager; the ResourceManager reports when it is available.
    pub fn start_node_manager(&mut self) -> Result<(), Error> {
        self.start_node_manager_with(&[])
    }

    /// Like [`ClusterNode::start_node_manager`], with additional environment variables.
    pub fn start_node_manager_with(&mut self, environment: &[(&'static str, PathBuf)]) -> Result<(), Error> {
        let as_yarn = ["setpriv", "--reuid", YARN, "--regid", YARN, "--init-groups", "--"];
        let before =
            self.namespaces.words().chain(as_yarn.map(OsString::from)).chain(with(environment)).collect();
        let mut jvm = Jvm::new(Part::hadoop()?, PathBuf::from(CONF_DIR)).within(before);
        if self.libraries.is_some() {
            jvm = jvm.in_realm(PathBuf::from("/etc/krb5.conf"));
        }
        let command = jvm.command_with(&["-Xmx256m"], YARN, MAIN);
        let log = self.files.path("nodemanager.log");
        self.node_manager = Some(Server::start("the NodeManager", command, &log)?);
        Ok(())
    }

    /// Settings for an agent here that publishes to this file, with its health endpoint on the node's own address.
    pub fn settings(&self, published: &str) -> Settings {
        let mut settings = Settings::of(&self.files, published, self.listen());
        settings.set("hadoop.conf_dir", CONF_DIR);
        settings
    }

    /// Runs an agent on the node with these settings.
    pub fn start_agent(&self, settings: &Settings) -> Result<Agent, Error> {
        self.start_agent_with(settings, &[])
    }

    /// Like [`ClusterNode::start_agent`], with additional environment variables.
    pub fn start_agent_with(
        &self,
        settings: &Settings,
        environment: &[(&'static str, PathBuf)],
    ) -> Result<Agent, Error> {
        self.files.write_settings(settings)?;
        let mut environment = environment.to_vec();
        environment.extend(self.libraries.iter().map(|path| ("LD_LIBRARY_PATH", path.clone())));
        let words = self.namespaces.words().chain(with(&environment));
        Ok(Agent::start_within(&self.files, self.listen(), words)?)
    }

    pub fn listen(&self) -> SocketAddr {
        (address_of(self.number), self.ports.health.number()).into()
    }

    /// The command prefix that runs a program on the node.
    pub fn entry(&self) -> String {
        let words: Vec<String> =
            self.namespaces.words().map(|word| word.to_string_lossy().into_owned()).collect();
        words.join(" ")
    }

    /// Runs a program on the node as root and returns its output.
    pub async fn run(&self, words: &[&str]) -> Result<String, Error> {
        let output = self.output(words).await?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Error::Failed { program: words.join(" "), message })
    }

    /// Like [`ClusterNode::run`], whatever the exit code.
    pub async fn output(&self, words: &[&str]) -> Result<Output, Error> {
        let mut command = self.namespaces.command();
        command.env_clear().env("PATH", PATH).args(words).stdin(Stdio::null());
        let output = tokio::process::Command::from(command).kill_on_drop(true).output().await;
        output.map_err(|source| Error::Run { program: words.join(" "), source })
    }

    /// Imports the small image into the engine under this name.
    pub async fn import_image(&self, name: &str) -> Result<(), Error> {
        let layer = Part::docker()?.path("image.tar").display().to_string();
        self.run(&["/usr/bin/docker", "import", &layer, name]).await.map(drop)
    }

    /// Removes an image from the node, so that the next launch pulls it.
    pub async fn remove_image(&self, image: &str) -> Result<(), Error> {
        self.run(&["/usr/bin/docker", "image", "rm", "--force", image]).await.map(drop)
    }

    /// Removes all images from the node. An image's layers stay until the NodeManager has removed its container.
    pub async fn remove_images(&self) -> Result<(), Error> {
        const REMOVE: &str = "\
            docker ps --all --quiet | xargs --no-run-if-empty docker rm --force
            docker images --all --quiet | xargs --no-run-if-empty docker image rm --force
            test -z \"$(docker images --all --quiet)\"";
        let remove = async || self.run(&["/bin/sh", "-c", REMOVE]).await;
        wait::until("the end of all layers", START, remove).await?;
        Ok(())
    }

    pub fn node_manager_log(&self) -> String {
        self.node_manager.as_ref().map(Server::log_text).unwrap_or_default()
    }
}

impl Ports {
    fn reserve() -> Result<Self, Error> {
        let port = Port::reserve;
        Ok(Self { health: port()?, node_manager: port()?, node_manager_web: port()? })
    }
}

/// Kills the program that this server has started on the node, but none of the program's own children.
async fn kill_within(mut server: Server) -> Result<(), Error> {
    if let Some(program) = server.process_id().and_then(process::only_child) {
        // The program may have ended on its own.
        let _ = kill(program, signal::Signal::SIGKILL);
    }
    server.ended(START).await?;
    Ok(())
}

/// The command prefix that sets these variables for the program after it, but not for the programs before it.
fn with(environment: &[(&'static str, PathBuf)]) -> impl Iterator<Item = OsString> {
    let assigned = environment.iter().map(|(name, value)| {
        let mut word = OsString::from(name);
        word.push("=");
        word.push(value);
        word
    });
    iter::once(OsString::from("/usr/bin/env")).chain(assigned)
}

/// Every node has its own loopback address.
fn address_of(node: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, 10 + node)
}
