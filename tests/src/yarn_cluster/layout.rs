//! The files of a node that this process mounts over the machine's.

use std::env;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use super::Error;
use super::conf::{NodeManagerConf, YARN};
use super::node::{Ports, Surroundings};
use crate::agent::{self, program_directory};
use crate::kerberos::Realm;
use crate::node::{Node, TRUSTED_REGISTRY};

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

/// Makes all the node's own files.
pub(super) fn lay_out(
    files: &Node,
    host: &str,
    ports: &Ports,
    around: &Surroundings<'_>,
) -> Result<(), Error> {
    let Surroundings { hdfs, addresses, registries, realm } = *around;
    open_to_users(files)?;
    for name in ["etc", "etc/hadoop", "etc/hadoop/conf", "etc.work", "docker", "bin"] {
        make_directory(&files.path(name), 0o755)?;
    }
    make_directory(&files.path("etc/hadoop/tmp"), 0o1777)?;
    let hosts = hosts_with(host)?;
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
    let container_executor = files.path("bin/container-executor");
    install_container_executor(&container_executor, YARN_ID)?;
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
    conf.write(&conf_dir, &addresses)?;
    files.write("conf/container-executor.cfg", &container_executor_cfg(&local_dir, &log_dir, registries))?;
    Ok(())
}

/// Every user of the node traverses these directories to reach the parts.
pub(super) fn open_to_users(files: &Node) -> Result<(), Error> {
    [files.path(""), files.path("root")].iter().try_for_each(|path| set_mode(path, 0o755))
}

/// Installs the realm's configuration and the NodeManager's keys.
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

/// The machine's file plus this host. DataNodes use this machine's name, and the ResourceManager must be able to
/// resolve the node's name for itself.
pub(super) fn hosts_with(host: &str) -> Result<String, Error> {
    let machines = Path::new("/etc/hosts");
    let machines = fs::read_to_string(machines).map_err(|source| Error::File {
        operation: "read",
        path: machines.to_owned(),
        source,
    })?;
    Ok(format!("{machines}\n{host} {host}\n"))
}

/// Installs the stand-in, or the program in the environment variable `CONTAINER_EXECUTOR`, for this group.
pub(super) fn install_container_executor(to: &Path, group: u32) -> Result<(), Error> {
    let from = match env::var_os("CONTAINER_EXECUTOR") {
        Some(path) => PathBuf::from(path),
        None => program_directory()
            .map_err(|source| agent::Error::Directory { source })?
            .join("container-executor"),
    };
    copy(&from, to)?;
    own(to, 0, group)?;
    set_mode(to, 0o6050)
}

pub(super) fn container_executor_cfg(local_dir: &Path, log_dir: &Path, registries: &[&str]) -> String {
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

pub(super) fn make_directory(path: &Path, mode: u32) -> Result<(), Error> {
    fs::create_dir(path).map_err(|source| Error::File {
        operation: "make the directory",
        path: path.to_owned(),
        source,
    })?;
    set_mode(path, mode)
}

pub(super) fn set_mode(path: &Path, mode: u32) -> Result<(), Error> {
    let set = fs::set_permissions(path, fs::Permissions::from_mode(mode));
    set.map_err(|source| Error::File { operation: "set the mode of", path: path.to_owned(), source })
}

pub(super) fn own(path: &Path, uid: u32, gid: u32) -> Result<(), Error> {
    let set = chown(path, Some(uid), Some(gid));
    set.map_err(|source| Error::File { operation: "set the owner of", path: path.to_owned(), source })
}

pub(super) fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let copied = fs::copy(from, to);
    copied.map(drop).map_err(|source| Error::File { operation: "copy", path: from.to_owned(), source })
}
