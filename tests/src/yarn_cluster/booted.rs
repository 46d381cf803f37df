//! A node booted by systemd, with its own users, that can host an engine and a NodeManager.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::Error;
use super::conf::{NodeManagerConf, YARN};
use super::layout::{container_executor_cfg, copy, hosts_with, install_container_executor, own, set_mode};
use super::node::{Ports, Surroundings};
use crate::parts::{self, Part};

/// The path on the node where this machine's files are mounted.
pub(super) const MACHINE: &str = "/srv/machine";

/// The node, identified by its first process.
#[derive(Debug, Clone, Copy)]
pub struct Booted {
    leader: u32,
}

const CONTAINER_EXECUTOR: &str = "/opt/hadoop/container-executor";
const LOCAL_DIR: &str = "/mnt/yarn";
const LOG_DIR: &str = "/mnt/containers";
const RECOVERY_DIR: &str = "/mnt/recovery";

impl Booted {
    /// A node with users yarn and hadoop and group docker, without Hadoop, booted with [`Booted::mounts`].
    pub fn led_by(leader: u32) -> Self {
        Self { leader }
    }

    /// The mounts that such a node needs from this machine, as pairs of a local path and the node's path. The parts
    /// contain neither a JVM nor the engine's libraries.
    pub fn mounts() -> [(PathBuf, String); 4] {
        let below = |name: &str| format!("{MACHINE}/{name}");
        [
            (parts::cache(), below("cache")),
            ("/usr".into(), below("usr")),
            ("/etc".into(), below("etc")),
            ("/sys/fs/cgroup".into(), below("cgroup")),
        ]
    }

    /// The command prefix that runs a program among the node's files.
    pub(super) fn entry(self) -> impl Iterator<Item = OsString> {
        let leader = self.leader.to_string();
        ["/usr/bin/nsenter", "--target", &leader, "--mount", "--"].map(OsString::from).into_iter()
    }

    /// Makes the files that come with Docker and Hadoop, except for the name of Hadoop's configuration directory.
    pub(super) fn lay_out(self, host: &str, ports: &Ports, around: &Surroundings<'_>) -> Result<(), Error> {
        let Surroundings { hdfs, addresses, registries, .. } = *around;
        let (user, group) = (self.id("etc/passwd", YARN)?, self.id("etc/group", YARN)?);
        self.write("/etc/hosts", &hosts_with(host)?)?;
        copy(&Part::docker()?.path("usr/bin/docker"), &self.path("/usr/bin/docker"))?;
        for directory in [LOCAL_DIR, LOG_DIR, RECOVERY_DIR] {
            own(&self.make_directory(directory)?, user, group)?;
        }
        self.make_directory("/opt/hadoop")?;
        install_container_executor(&self.path(CONTAINER_EXECUTOR), group)?;

        set_mode(&self.make_directory("/etc/hadoop/tmp")?, 0o1777)?;
        let conf_dir = self.make_directory("/etc/hadoop/conf.empty")?;
        for name in ["core-site.xml", "hdfs-site.xml", "log4j.properties"] {
            copy(&hdfs.conf_dir().join(name), &conf_dir.join(name))?;
        }
        let conf = NodeManagerConf {
            host,
            port: ports.node_manager.number(),
            web_port: ports.node_manager_web.number(),
            container_executor: Path::new(CONTAINER_EXECUTOR),
            local_dir: Path::new(LOCAL_DIR),
            log_dir: Path::new(LOG_DIR),
            recovery_dir: Path::new(RECOVERY_DIR),
            keytab: None,
        };
        conf.write(&conf_dir, &addresses)?;
        let cfg = container_executor_cfg(Path::new(LOCAL_DIR), Path::new(LOG_DIR), registries);
        self.write("/etc/hadoop/conf.empty/container-executor.cfg", &cfg)?;
        set_mode(&conf_dir.join("container-executor.cfg"), 0o400)
    }

    /// Gives Hadoop's configuration directory its name.
    pub(super) fn configure(self) -> Result<(), Error> {
        let path = self.path("/etc/hadoop/conf");
        let made = symlink("conf.empty", &path);
        made.map_err(|source| Error::File { operation: "make the symbolic link", path, source })
    }

    /// The id of this name in a file like /etc/passwd.
    fn id(self, file: &str, name: &str) -> Result<u32, Error> {
        let path = self.path("/").join(file);
        let failed = |source| Error::File { operation: "read", path: path.clone(), source };
        let text = fs::read_to_string(&path).map_err(failed)?;
        let found = text.lines().find_map(|line| {
            let mut fields = line.split(':');
            if fields.next() == Some(name) { fields.nth(1)?.parse().ok() } else { None }
        });
        found.ok_or_else(|| Error::Failed {
            program: format!("the look-up of {name}"),
            message: format!("{} does not have it", path.display()),
        })
    }

    fn write(self, path: &str, text: &str) -> Result<(), Error> {
        let path = self.path(path);
        fs::write(&path, text).map_err(|source| Error::File { operation: "write", path, source })
    }

    /// Returns the directory's path on this machine.
    fn make_directory(self, path: &str) -> Result<PathBuf, Error> {
        let path = self.path(path);
        match fs::create_dir_all(&path) {
            Ok(()) => Ok(path),
            Err(source) => Err(Error::File { operation: "make the directory", path, source }),
        }
    }

    /// Maps a path of the node to this machine.
    fn path(self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.leader))
    }
}

/// Maps a path in the cache to the node.
pub(super) fn path_of(path: &Path) -> PathBuf {
    let below = path.strip_prefix(parts::cache()).unwrap_or(path);
    Path::new(MACHINE).join("cache").join(below)
}
