//! One node: namespaces with files of their own, a Docker engine, a NodeManager, and an agent if wanted.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{self, kill};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::Error;
use super::conf::{self, Addresses, NodeManagerConf, YARN};
use crate::agent::{self, Agent, program_directory};
use crate::hdfs::{HdfsClient, Jvm};
use crate::kerberos::Realm;
use crate::node::{Node, Settings, TRUSTED_REGISTRY};
use crate::parts::{self, Part};
use crate::ports::Port;
use crate::process::{self, Server};
use crate::reaper::{self, Resource};
use crate::wait;

const MAIN: &str = "org.apache.hadoop.yarn.server.nodemanager.NodeManager";
const START: Duration = Duration::from_secs(60);
const SCRIPT: &str = include_str!("node.sh");
/// Only the engine's own tools: another docker of this machine must not be found.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// The node's configuration directory, as the node sees it.
const CONF_DIR: &str = "/etc/hadoop/conf";

const YARN_ID: u32 = 1001;
const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
hdfs:x:1002:1002::/var/lib/hdfs:/bin/bash
yarn:x:1001:1001::/var/lib/yarn:/bin/bash
hadoop:x:1003:1003::/home/hadoop:/bin/bash
alice:x:1004:1004::/home/alice:/bin/bash
";
const GROUP: &str = "\
root:x:0:
nogroup:x:65534:
docker:x:999:
hdfs:x:1002:
yarn:x:1001:
hadoop:x:1003:yarn
alice:x:1004:
";

/// The running node; all of it ends when dropped.
#[derive(Debug)]
pub struct ClusterNode {
    // Fields drop in this order: what runs on the node ends before it, and it before its files go.
    node_manager: Option<Server>,
    engine: Option<Server>,
    namespaces: Namespaces,
    control_groups: ControlGroups,
    number: u8,
    ports: Ports,
    /// The directory of Kerberos's libraries.
    libraries: Option<PathBuf>,
    files: Node,
}

/// What a node is part of.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    pub hdfs: &'a HdfsClient,
    pub addresses: &'a Addresses,
    /// Those that container-executor.cfg trusts.
    pub registries: &'a [&'a str],
    pub realm: Option<&'a Realm>,
}

/// Of servers that are restarted, or that somebody has to find.
#[derive(Debug)]
struct Ports {
    health: Port,
    node_manager: Port,
    node_manager_web: Port,
}

impl ClusterNode {
    /// Starts engine and NodeManager on the node with this number.
    pub async fn start(number: u8, around: &Surroundings<'_>) -> Result<Self, Error> {
        let mut node = Self::with_engine(number, around).await?;
        node.start_node_manager()?;
        Ok(node)
    }

    /// Starts a node with an engine alone, for what can be asked about it beforehand.
    pub async fn without_yarn(hdfs: &HdfsClient) -> Result<Self, Error> {
        let addresses = &Addresses::reserve()?;
        Self::with_engine(0, &Surroundings { hdfs, addresses, registries: &[], realm: None }).await
    }

    async fn with_engine(number: u8, around: &Surroundings<'_>) -> Result<Self, Error> {
        let host = address_of(number).to_string();
        let files = Node::new(around.hdfs.conf_dir())?;
        let ports = Ports::reserve()?;
        lay_out(&files, &host, &ports, around)?;
        let no_engine = |source| Error::NoEngine { source: Box::new(source) };
        let namespaces = Namespaces::start(&files, &host).await.map_err(no_engine)?;
        let control_groups = ControlGroups::named_after(&files)?;
        let mut node = Self {
            node_manager: None,
            engine: None,
            namespaces,
            control_groups,
            number,
            ports,
            libraries: around.realm.map(Realm::libraries),
            files,
        };
        node.start_engine().await.map_err(no_engine)?;
        Ok(node)
    }

    /// The node's address, which is its name in YARN.
    pub fn host(&self) -> String {
        address_of(self.number).to_string()
    }

    /// The node's partition in YARN.
    pub fn label(&self) -> String {
        conf::label_of(self.number)
    }

    /// Its files as this machine sees them; `conf/` is the node's /etc/hadoop/conf.
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
        // The engine leaves its own there, also when it is stopped.
        command
            .arg("--exec-opt=native.cgroupdriver=cgroupfs")
            // Absolute: otherwise it would lie below the group of this process.
            .arg(format!("--cgroup-parent=/{}", self.control_groups.0));
        command.arg("--data-root").arg(self.files.path("docker"));
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

    /// Stops the engine, as its service does.
    pub async fn stop_engine(&mut self) -> Result<(), Error> {
        let Some(mut engine) = self.engine.take() else { return Ok(()) };
        self.run(&["/bin/sh", "-c", "kill \"$(cat /var/run/docker.pid)\""]).await?;
        let is_gone = async || if engine.still_runs().is_err() { Ok(()) } else { Err("it still runs") };
        Ok(wait::until("the engine's end", START, is_gone).await?)
    }

    /// Kills the engine, as a crash does. What containerd has started lives on.
    pub async fn kill_engine(&mut self) -> Result<(), Error> {
        let Some(engine) = self.engine.take() else { return Ok(()) };
        kill_within(engine).await
    }

    /// Kills the NodeManager, as a crash does: its containers and those who wait for them live on.
    pub async fn kill_node_manager(&mut self) -> Result<(), Error> {
        let Some(node_manager) = self.node_manager.take() else { return Ok(()) };
        kill_within(node_manager).await
    }

    /// Starts the NodeManager; the ResourceManager tells when it is there.
    pub fn start_node_manager(&mut self) -> Result<(), Error> {
        self.start_node_manager_with(&[])
    }

    /// The same with these additional environment variables.
    pub fn start_node_manager_with(&mut self, environment: &[(&'static str, PathBuf)]) -> Result<(), Error> {
        let as_yarn = ["setpriv", "--reuid", YARN, "--regid", YARN, "--init-groups", "--"];
        let before = self.namespaces.words().chain(as_yarn.map(OsString::from)).collect();
        let mut jvm = Jvm::new(Part::hadoop()?, PathBuf::from(CONF_DIR)).within(before);
        if self.libraries.is_some() {
            jvm = jvm.in_realm(PathBuf::from("/etc/krb5.conf"));
        }
        let mut command = jvm.command_with(&["-Xmx256m"], YARN, MAIN);
        command.envs(environment.iter().cloned());
        let log = self.files.path("nodemanager.log");
        self.node_manager = Some(Server::start("the NodeManager", command, &log)?);
        Ok(())
    }

    /// The settings of an agent here that publishes to this file, with its health endpoint on the node's own address.
    pub fn settings(&self, published: &str) -> Settings {
        let mut settings = Settings::of(&self.files, published, self.listen());
        settings.set("hadoop.conf_dir", CONF_DIR);
        settings
    }

    /// Runs the agent on the node with these settings.
    pub fn start_agent(&self, settings: &Settings) -> Result<Agent, Error> {
        self.start_agent_with(settings, &[])
    }

    /// The same with these additional environment variables.
    pub fn start_agent_with(
        &self,
        settings: &Settings,
        environment: &[(&'static str, PathBuf)],
    ) -> Result<Agent, Error> {
        self.files.write_settings(settings)?;
        let mut environment = environment.to_vec();
        environment.extend(self.libraries.iter().map(|path| ("LD_LIBRARY_PATH", path.clone())));
        Ok(Agent::start_within(&self.files, self.listen(), self.namespaces.words(), &environment)?)
    }

    pub fn listen(&self) -> SocketAddr {
        (address_of(self.number), self.ports.health.number()).into()
    }

    /// The words before a program that run it on the node.
    pub fn entry(&self) -> String {
        let words: Vec<String> =
            self.namespaces.words().map(|word| word.to_string_lossy().into_owned()).collect();
        words.join(" ")
    }

    /// Runs a program on the node as root; gives its output.
    pub async fn run(&self, words: &[&str]) -> Result<String, Error> {
        let output = self.output(words).await?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Error::Failed { program: words.join(" "), message })
    }

    /// The same, however it ends.
    pub async fn output(&self, words: &[&str]) -> Result<Output, Error> {
        let mut command = self.namespaces.command();
        command.env_clear().env("PATH", PATH).args(words).stdin(Stdio::null());
        let output = tokio::process::Command::from(command).kill_on_drop(true).output().await;
        output.map_err(|source| Error::Run { program: words.join(" "), source })
    }

    /// Gives the engine the small image under this name.
    pub async fn import_image(&self, name: &str) -> Result<(), Error> {
        let layer = Part::docker()?.path("image.tar").display().to_string();
        self.run(&["/usr/bin/docker", "import", &layer, name]).await.map(drop)
    }

    /// Takes an image off the node, so that the next launch pulls it.
    pub async fn remove_image(&self, image: &str) -> Result<(), Error> {
        self.run(&["/usr/bin/docker", "image", "rm", "--force", image]).await.map(drop)
    }

    /// Takes all images off the node. The layers of one stay for as long as the NodeManager has not removed its container.
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

/// Kills the program that this server has started on the node, and nothing that this has started in turn.
async fn kill_within(mut server: Server) -> Result<(), Error> {
    if let Some(program) = server.process_id().and_then(process::only_child) {
        // It may have ended on its own.
        let _ = kill(program, signal::Signal::SIGKILL);
    }
    server.ended(START).await?;
    Ok(())
}

/// The control groups of the engine's containers, all below one; they are removed when dropped.
#[derive(Debug)]
struct ControlGroups(String);

impl ControlGroups {
    fn named_after(files: &Node) -> Result<Self, Error> {
        let home = files.path("");
        let name = home.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("emr-ecr-agent-{name}");
        let resource = Resource::ControlGroups(name.clone());
        reaper::register(&resource)
            .map_err(|source| Error::Run { program: "the reaper".to_owned(), source })?;
        Ok(Self(name))
    }
}

impl Drop for ControlGroups {
    fn drop(&mut self) {
        reaper::remove_control_groups(&self.0);
        reaper::release(&Resource::ControlGroups(self.0.clone()));
    }
}

/// Mount, host name and process namespaces, kept by their first process.
#[derive(Debug)]
struct Namespaces {
    unshare: Server,
    first: Pid,
}

impl Namespaces {
    async fn start(files: &Node, host_name: &str) -> Result<Self, Error> {
        let home = files.path("");
        let mut command = process::bound_to_parent(Path::new("/usr/bin/unshare"));
        command.args(["--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        command.args(["bash", "-c", SCRIPT, "node.sh"]).arg(&home);
        command.arg(parts::cache()).arg(Part::docker()?.path("")).arg(host_name);
        let mut unshare = Server::start("the node", command, &files.path("node.log"))?;
        let ready = files.path("ready");
        unshare
            .wait_until("the node's file systems", START, async |_| {
                if ready.exists() { Ok(()) } else { Err("not mounted yet") }
            })
            .await?;
        let first = unshare
            .process_id()
            .and_then(process::only_child)
            .and_then(|first| Pid::from_raw(first.as_raw()));
        let gone = || Error::Failed { program: "the node".to_owned(), message: unshare.log_text() };
        let first = first.ok_or_else(gone)?;
        Ok(Self { unshare, first })
    }

    /// The words that run the program after them on the node.
    fn words(&self) -> impl Iterator<Item = OsString> + use<> {
        let target = self.first.as_raw_nonzero().to_string();
        ["/usr/bin/nsenter", "--target", &target, "--mount", "--uts", "--pid", "--"]
            .map(OsString::from)
            .into_iter()
    }

    fn command(&self) -> Command {
        process::bound_to_parent_words(self.words())
    }
}

impl Drop for Namespaces {
    /// When the first process ends, the kernel kills all others, and only then is it gone.
    fn drop(&mut self) {
        if self.unshare.still_runs().is_ok()
            && let Ok(first) = pidfd_open(self.first, PidfdFlags::empty())
        {
            let _ = pidfd_send_signal(&first, Signal::KILL);
            let _ = retry_on_intr(|| poll(&mut [PollFd::new(&first, PollFlags::IN)], None));
        }
    }
}

/// Every node has an address of its own on loopback.
fn address_of(node: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, 10 + node)
}

/// Makes all the node's own files.
fn lay_out(files: &Node, host: &str, ports: &Ports, around: &Surroundings<'_>) -> Result<(), Error> {
    let Surroundings { hdfs, addresses, registries, realm } = *around;
    // Every user of the node passes through here.
    set_mode(&files.path(""), 0o755)?;
    for name in ["etc", "etc/hadoop", "etc/hadoop/conf", "etc.work", "docker", "bin"] {
        make_directory(&files.path(name), 0o755)?;
    }
    make_directory(&files.path("etc/hadoop/tmp"), 0o1777)?;
    set_mode(&files.path("root"), 0o755)?;
    // DataNodes go by this machine's name. What the node calls itself, the ResourceManager must be able to resolve.
    let machines = Path::new("/etc/hosts");
    let machines = fs::read_to_string(machines).map_err(|source| Error::File {
        operation: "read",
        path: machines.to_owned(),
        source,
    })?;
    let hosts = format!("{machines}\n{host} {host}\n");
    for (name, text) in [("etc/passwd", PASSWD), ("etc/group", GROUP), ("etc/hosts", &hosts)] {
        files.write(name, text)?;
        set_mode(&files.path(name), 0o644)?;
    }
    let (local_dir, log_dir) = (files.path("nm-local"), files.path("nm-log"));
    let recovery_dir = files.path("nm-recovery");
    for directory in [&local_dir, &log_dir, &recovery_dir] {
        make_directory(directory, 0o755)?;
        own(directory, YARN_ID, YARN_ID)?;
    }
    let keytab = realm.map(|realm| install_keytab(files, realm)).transpose()?;
    let container_executor = install_container_executor(files)?;
    let conf_dir = files.conf_dir();
    copy(&hdfs.conf_dir().join("log4j.properties"), &conf_dir.join("log4j.properties"))?;
    let conf = NodeManagerConf {
        host,
        port: ports.node_manager.number(),
        web_port: ports.node_manager_web.number(),
        container_executor: &container_executor,
        local_dir: &local_dir,
        log_dir: &log_dir,
        recovery_dir: &recovery_dir,
        keytab,
    };
    conf.write(&conf_dir, addresses)?;
    files.write("conf/container-executor.cfg", &container_executor_cfg(&local_dir, &log_dir, registries))?;
    Ok(())
}

/// The realm's configuration and the NodeManager's keys.
fn install_keytab(files: &Node, realm: &Realm) -> Result<PathBuf, Error> {
    let krb5_conf = files.path("etc/krb5.conf");
    copy(&realm.krb5_conf(), &krb5_conf)?;
    set_mode(&krb5_conf, 0o644)?;
    let keytab = files.path("yarn.keytab");
    copy(&realm.yarn_keytab(), &keytab)?;
    set_mode(&keytab, 0o400)?;
    own(&keytab, YARN_ID, YARN_ID)?;
    Ok(keytab)
}

/// The stand-in, or the one that the environment variable `CONTAINER_EXECUTOR` names.
fn install_container_executor(files: &Node) -> Result<PathBuf, Error> {
    let from = match env::var_os("CONTAINER_EXECUTOR") {
        Some(path) => PathBuf::from(path),
        None => program_directory()
            .map_err(|source| agent::Error::Directory { source })?
            .join("container-executor"),
    };
    let to = files.path("bin/container-executor");
    copy(&from, &to)?;
    own(&to, 0, YARN_ID)?;
    set_mode(&to, 0o6050)?;
    Ok(to)
}

fn container_executor_cfg(local_dir: &Path, log_dir: &Path, registries: &[&str]) -> String {
    let (local_dir, log_dir) = (local_dir.display(), log_dir.display());
    let trusted = [&[TRUSTED_REGISTRY], registries].concat().join(",");
    format!(
        "yarn.nodemanager.linux-container-executor.group={YARN}
banned.users=bin
min.user.id=1000
allowed.system.users=hadoop
[docker]
  module.enabled=true
  docker.binary=/usr/bin/docker
  docker.allowed.capabilities=SYS_CHROOT
  docker.allowed.networks=host,none
  docker.allowed.ro-mounts=/etc/passwd,/etc/group,{local_dir}
  docker.allowed.rw-mounts={local_dir},{log_dir}
  docker.trusted.registries={trusted}
"
    )
}

fn make_directory(path: &Path, mode: u32) -> Result<(), Error> {
    fs::create_dir(path).map_err(|source| Error::File {
        operation: "make the directory",
        path: path.to_owned(),
        source,
    })?;
    set_mode(path, mode)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), Error> {
    let set = fs::set_permissions(path, fs::Permissions::from_mode(mode));
    set.map_err(|source| Error::File { operation: "set the mode of", path: path.to_owned(), source })
}

fn own(path: &Path, uid: u32, gid: u32) -> Result<(), Error> {
    let set = chown(path, Some(uid), Some(gid));
    set.map_err(|source| Error::File { operation: "set the owner of", path: path.to_owned(), source })
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let copied = fs::copy(from, to);
    copied.map(drop).map_err(|source| Error::File { operation: "copy", path: from.to_owned(), source })
}
