//! A directory with the files of an EMR core node: Hadoop's configuration, EMR's instance files, root's Docker
//! config, and an AWS configuration that points to the stand-ins.

mod settings;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

pub use settings::Settings;

use crate::ecr::ACCOUNT;
use crate::scratch;
use crate::site;

/// The trusted registry from AWS's documentation.
pub const TRUSTED_REGISTRY: &str = "123456789123.dkr.ecr.us-east-1.amazonaws.com";
pub const REGION: &str = "us-east-1";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Scratch(#[from] scratch::Error),
    #[error("cannot {operation} {}", path.display())]
    File { operation: &'static str, path: PathBuf, source: io::Error },
}

/// The node's directory, removed when dropped.
#[derive(Debug)]
pub struct Node {
    home: scratch::Directory,
}

/// The endpoints for the node's AWS clients.
#[derive(Debug, Clone, Copy)]
pub struct AwsEndpoints {
    pub ecr: SocketAddr,
    pub imds: SocketAddr,
}

impl Node {
    /// Creates a node whose Hadoop clients use the HDFS configured in `hdfs_conf`.
    pub fn new(hdfs_conf: &Path) -> Result<Self, Error> {
        let node = Self { home: scratch::directory("node")? };
        for name in ["conf", "info", "aws/.aws", "mnt/yarn", "mnt/containers"] {
            node.make_directory(name, 0o755)?;
        }
        node.make_directory("root/.docker", 0o700)?;
        node.write_conf(hdfs_conf)?;
        node.write_info()?;
        Ok(node)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// The directory that corresponds to /etc/hadoop/conf on EMR.
    pub fn conf_dir(&self) -> PathBuf {
        self.path("conf")
    }

    /// The directory that corresponds to /mnt/var/lib/info on EMR.
    pub fn info_dir(&self) -> PathBuf {
        self.path("info")
    }

    /// root's Docker config, which does not exist initially.
    pub fn docker_config(&self) -> PathBuf {
        self.path("root/.docker/config.json")
    }

    /// The agent's HOME, where the AWS SDK reads `.aws/config`.
    pub fn home_dir(&self) -> PathBuf {
        self.path("aws")
    }

    pub fn agent_toml(&self) -> PathBuf {
        self.path("agent.toml")
    }

    /// Writes one of the node's files in place, keeping an existing inode.
    pub fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let path = self.path(name);
        fs::write(&path, text).map_err(|source| file_error("write", &path, source))
    }

    /// Like [`Node::write`], by renaming another file.
    pub fn replace(&self, name: &str, text: &str) -> Result<(), Error> {
        let (new, path) = (self.path(&format!("{name}.new")), self.path(name));
        let replaced = fs::write(&new, text).and_then(|()| fs::rename(&new, &path));
        replaced.map_err(|source| file_error("replace", &path, source))
    }

    /// Points the AWS SDK's configuration to the stand-ins.
    pub fn write_aws_config(&self, endpoints: AwsEndpoints) -> Result<(), Error> {
        let AwsEndpoints { ecr, imds } = endpoints;
        let text = format!(
            "[default]
ec2_metadata_service_endpoint = http://{imds}
services = sandbox

[services sandbox]
ecr =
  endpoint_url = http://{ecr}
ecr-public =
  endpoint_url = http://{ecr}
"
        );
        self.write("aws/.aws/config", &text)
    }

    fn write_conf(&self, hdfs_conf: &Path) -> Result<(), Error> {
        let home = self.home.path().display();
        let directories = [format!("{home}/mnt/yarn"), format!("{home}/mnt/containers")];
        self.write("conf/container-executor.cfg", &container_executor_cfg(&directories.join(",")))?;
        let cfg = self.path("conf/container-executor.cfg");
        fs::set_permissions(&cfg, fs::Permissions::from_mode(0o644))
            .map_err(|source| file_error("set the mode of", &cfg, source))?;

        let yarn_site = self.path("conf/yarn-site.xml");
        self.write_yarn_site(&yarn_site).map_err(|source| file_error("write", &yarn_site, source))?;
        for name in ["core-site.xml", "hdfs-site.xml"] {
            let to = self.path("conf").join(name);
            fs::copy(hdfs_conf.join(name), &to)
                .map_err(|source| file_error("copy HDFS's configuration to", &to, source))?;
        }
        Ok(())
    }

    fn write_yarn_site(&self, path: &Path) -> io::Result<()> {
        let below = |name: &str| self.path(name).display().to_string();
        site::write(
            path,
            &[
                (
                    "yarn.nodemanager.container-executor.class",
                    "org.apache.hadoop.yarn.server.nodemanager.LinuxContainerExecutor",
                ),
                ("yarn.nodemanager.linux-container-executor.group", "yarn"),
                ("yarn.nodemanager.linux-container-executor.nonsecure-mode.limit-users", "false"),
                ("yarn.nodemanager.runtime.linux.allowed-runtimes", "default,docker"),
                (
                    "yarn.nodemanager.runtime.linux.docker.default-ro-mounts",
                    "/etc/passwd:/etc/passwd,/usr/lib:/docker/usr/lib,/usr/share:/docker/usr/share",
                ),
                ("yarn.nodemanager.runtime.linux.docker.ecr-auto-authentication.enabled", "true"),
                ("yarn.nodemanager.local-dirs", &below("mnt/yarn")),
                ("yarn.nodemanager.log-dirs", &below("mnt/containers")),
            ],
        )
    }

    fn write_info(&self) -> Result<(), Error> {
        for (name, content) in [
            ("info/instance.json", instance()),
            ("info/job-flow.json", job_flow()),
            ("info/extraInstanceData.json", extra_instance_data()),
        ] {
            self.write(name, &format!("{content:#}\n"))?;
        }
        Ok(())
    }

    fn make_directory(&self, name: &str, mode: u32) -> Result<(), Error> {
        let path = self.path(name);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(&path)
            .map_err(|source| file_error("create the directory", &path, source))
    }
}

/// EMR's defaults, with the trusted registries from AWS's documentation. `directories` are YARN's own.
pub fn container_executor_cfg(directories: &str) -> String {
    let trusted = format!("local,centos,{TRUSTED_REGISTRY}");
    format!(
        "yarn.nodemanager.linux-container-executor.group=yarn
banned.users=doesnotexist
min.user.id=499

[docker]
module.enabled=true
docker.binary=/usr/bin/docker
docker.allowed.capabilities=CHOWN,DAC_OVERRIDE,FSETID,FOWNER,MKNOD,NET_RAW,SETGID,SETUID,SETFCAP,SETPCAP,NET_BIND_SERVICE,SYS_CHROOT,KILL,AUDIT_WRITE
docker.allowed.networks=bridge,host,none
docker.allowed.ro-mounts=/sys/fs/cgroup,/etc/passwd,/usr/lib,/usr/share
docker.allowed.rw-mounts={directories}
docker.privileged-containers.enabled=false
docker.trusted.registries={trusted}
docker.privileged-containers.registries={trusted}
"
    )
}

fn instance() -> Value {
    json!({
        "isMaster": false,
        "instanceGroupId": "ig-2EXAMPLECORE",
        "isRunningNameNode": false,
        "isRunningDataNode": true,
        "isRunningResourceManager": false,
        "isRunningNodeManager": true,
    })
}

fn job_flow() -> Value {
    json!({
        "jobFlowId": "j-2AXXXXXXGAPLF",
        "jobFlowCreationInstant": 1_700_000_000_000_u64,
        "instanceCount": 2,
        "masterInstanceId": "i-0fedcba9876543210",
        "masterPrivateDnsName": "ip-10-0-0-10.ec2.internal",
        "masterInstanceType": "m5.xlarge",
        "slaveInstanceType": "m5.xlarge",
        "hadoopVersion": "3.3.6",
    })
}

fn extra_instance_data() -> Value {
    json!({
        "jobFlowId": "j-2AXXXXXXGAPLF",
        "accountId": ACCOUNT,
        "region": REGION,
        "releaseLabel": "emr-6.15.0",
        "instanceRole": "core",
        "instanceType": "m5.xlarge",
        "marketType": "ON_DEMAND",
        "masterHost": "10.0.0.10",
        "haEnabled": false,
        "numCandidates": 1,
    })
}

fn file_error(operation: &'static str, path: &Path, source: io::Error) -> Error {
    Error::File { operation, path: path.to_owned(), source }
}
