//! The operator's settings, parsed from agent.toml into types that cannot hold an invalid value.
//!
//! Every key is optional; an empty file means all defaults. All mistakes in a file are reported at once, each with
//! its line. This module takes text and never opens a file.

mod effective;
mod reader;
mod registries;
mod values;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::credentials::EntryName;
use crate::documents::PublishedPath;
use crate::registry::{EcrRegistry, HostName};
pub use effective::{Effective, Origin, effective};
pub use reader::Mistake;
use reader::Section;
pub use registries::RegistrySettings;
use values::{
    absolute_path, account, boolean, duration, entry_names, gigabytes, host_names, images,
    kerberos_principal, library_log_level, log_format, log_level, mode, number, owner, published_path,
    replication, socket_address, socket_path,
};

/// The settings file if `--config` is not given.
pub const DEFAULT_SETTINGS_FILE: &str = "/etc/emr-ecr-agent/agent.toml";

/// What a refresh takes in addition to its calls.
const LOCK_SLACK: Duration = Duration::from_secs(5);

/// All settings in agent.toml.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Whether to also serve the ECR hosts that container-executor.cfg trusts.
    pub discover_registries: bool,
    pub registries: Vec<RegistrySettings>,
    /// A file with credentials for other registries.
    pub static_credentials: Option<PathBuf>,
    pub docker_configs: Vec<DockerConfigSettings>,
    pub published: PublishedSettings,
    /// Hadoop's configuration directory.
    pub hadoop_conf_dir: PathBuf,
    /// The directory of EMR's instance files.
    pub emr_info_dir: PathBuf,
    pub refresh: RefreshSettings,
    pub deadlines: Deadlines,
    pub warm: WarmSettings,
    /// Address of the health endpoint.
    pub listen: SocketAddr,
    /// Host names that health requests may use, in addition to this machine's own.
    pub health_hosts: Vec<HostName>,
    /// The socket that `status` connects to.
    pub health_socket: PathBuf,
    pub log: LogSettings,
}

/// One local Docker config file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerConfigSettings {
    pub path: PathBuf,
    pub mode: Mode,
    /// `None` gives new files the agent's own user and group.
    pub owner: Option<Owner>,
}

/// The published file, which NodeManagers read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedSettings {
    pub path: PublishedPath,
    /// The directory belongs to the agents: they create it, and trust no file of another HDFS user there.
    pub secure_directory: bool,
    pub mode: Mode,
    /// `None` keeps what HDFS assigns to a new file.
    pub owner: Option<String>,
    pub group: Option<String>,
    pub replication: u16,
    /// Entries of other registries to keep; `None` keeps all.
    pub keep_entries: Option<Vec<EntryName>>,
    /// The HDFS user the agent acts as on a cluster without Kerberos.
    pub user: String,
    /// The Kerberos principal; `None` uses the tickets that the process finds.
    pub kerberos: Option<KerberosLogin>,
}

/// An identity on a cluster with Kerberos.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KerberosLogin {
    /// Such as `hadoop/host@REALM`.
    pub principal: String,
    /// `None` takes the principal's tickets from the process's ticket cache.
    pub keytab: Option<PathBuf>,
}

/// When to renew tokens and run passes.
#[derive(Debug, Clone, PartialEq)]
pub struct RefreshSettings {
    /// Fraction of a token's lifetime after which the first node renews it, in `0.1..=0.9`.
    pub renew_at: f64,
    /// Fraction of the lifetime, from then on, over which the nodes spread, in `0.0..=0.5`.
    pub jitter: f64,
    /// The remaining lifetime that a credential needs to count as fresh.
    pub minimum_validity: Duration,
    pub pass_interval: Duration,
    /// The time over which nodes that cannot reach the published file spread their calls.
    pub isolated_jitter: Duration,
}

/// Time limits for external calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deadlines {
    /// One authorization token, including the AWS credentials for it.
    pub ecr: Duration,
    /// Reading the published file, and replacing it if needed.
    pub hdfs: Duration,
    /// Reading a local file, and replacing it if needed, including the lookup of its owner in the name service.
    pub files: Duration,
    /// DataNodes reporting a file's blocks, such as after a NameNode restart, before they count as lost.
    pub block_report: Duration,
}

impl Deadlines {
    /// The longest that a live node holds the refresh lock.
    pub fn refresh_lock(&self) -> Duration {
        self.ecr + self.hdfs + LOCK_SLACK
    }
}

/// Images to pull before a job needs them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmSettings {
    pub images: Vec<String>,
    /// The time over which a cluster's nodes spread the start of their pulls.
    pub spread: Duration,
    /// The space that a pull leaves free where Docker stores images, in gigabytes.
    pub disk_floor_gb: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    pub format: LogFormat,
    /// Of the agent itself.
    pub level: LogLevel,
    /// Of the libraries it uses.
    pub libraries: LibraryLogLevel,
    /// Written in addition to stderr, rotated daily.
    pub file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// At debug and trace, libraries log requests and handshakes, including credentials: those levels cannot be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LibraryLogLevel {
    Error,
    Warn,
    Info,
}

/// Permission bits of a file that holds credentials, `0o400..=0o777`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Mode(u32);

/// A local user and optional group, as names or numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub user: String,
    pub group: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            discover_registries: true,
            registries: Vec::new(),
            static_credentials: None,
            docker_configs: vec![DockerConfigSettings::at("/root/.docker/config.json")],
            published: PublishedSettings {
                path: PublishedPath::default(),
                secure_directory: false,
                mode: Mode(0o644),
                owner: None,
                group: None,
                replication: 3,
                keep_entries: None,
                user: "hadoop".to_owned(),
                kerberos: None,
            },
            hadoop_conf_dir: "/etc/hadoop/conf".into(),
            emr_info_dir: "/mnt/var/lib/info".into(),
            refresh: RefreshSettings {
                renew_at: 0.51,
                jitter: 0.02,
                minimum_validity: Duration::from_secs(30 * 60),
                pass_interval: Duration::from_secs(60),
                isolated_jitter: Duration::from_secs(9 * 60),
            },
            deadlines: Deadlines {
                ecr: Duration::from_secs(20),
                hdfs: Duration::from_secs(20),
                files: Duration::from_secs(20),
                block_report: Duration::from_secs(30),
            },
            warm: WarmSettings { images: Vec::new(), spread: Duration::from_secs(5 * 60), disk_floor_gb: 20 },
            listen: SocketAddr::from(([127, 0, 0, 1], 9470)),
            health_hosts: Vec::new(),
            health_socket: "/run/emr-ecr-agent/status.sock".into(),
            log: LogSettings {
                format: LogFormat::Text,
                level: LogLevel::Info,
                libraries: LibraryLogLevel::Error,
                file: None,
            },
        }
    }
}

impl DockerConfigSettings {
    fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), mode: Mode(0o600), owner: None }
    }
}

impl Settings {
    /// Parses agent.toml; on failure returns every mistake, ordered by line.
    pub fn parse(text: &str) -> Result<Self, Vec<Mistake>> {
        reader::read(text, Self::default(), Self::fill)
    }

    /// The registries to serve: the configured ones, then the other trusted ones if they are discovered.
    pub fn wanted_registries(&self, trusted: &[EcrRegistry]) -> Vec<RegistrySettings> {
        let mut wanted = self.registries.clone();
        if self.discover_registries {
            let named = |registry: &EcrRegistry| {
                self.registries.iter().any(|wanted| wanted.names().any(|name| name == registry.host()))
            };
            let found = trusted.iter().filter(|registry| !named(registry));
            wanted.extend(found.cloned().map(RegistrySettings::of));
        }
        wanted
    }

    /// Path of container-executor.cfg.
    pub fn executor_cfg(&self) -> PathBuf {
        self.hadoop_conf_dir.join("container-executor.cfg")
    }

    /// Whether the configuration directory is the one compiled into EMR's container-executor, so that owners and
    /// modes there are the ones it finds.
    pub fn names_hadoops_own_conf_dir(&self) -> bool {
        self.hadoop_conf_dir == Path::new("/etc/hadoop/conf")
    }

    fn fill(&mut self, root: &mut Section<'_, '_>) {
        root.set("discover_registries", &mut self.discover_registries, boolean);
        root.set("static_credentials", &mut self.static_credentials, |v| absolute_path(v).map(Some));
        root.tables("registries", |table| {
            let read = RegistrySettings::read(table, &self.registries);
            self.registries.extend(read);
        });
        let mut docker_configs = Vec::new();
        let given = root.tables("docker_configs", |table| {
            let path = table.required("path", absolute_path);
            let mut config = DockerConfigSettings::at(PathBuf::new());
            table.set("mode", &mut config.mode, mode);
            table.set("owner", &mut config.owner, |v| owner(v).map(Some));
            docker_configs.extend(path.map(|path| DockerConfigSettings { path, ..config }));
        });
        if given {
            self.docker_configs = docker_configs;
        }
        root.table("published", |table| {
            let published = &mut self.published;
            table.set("secure_directory", &mut published.secure_directory, boolean);
            if published.secure_directory {
                published.path = PublishedPath::secure();
                table.set("path", &mut published.path, |_| {
                    Err("cannot be set together with published.secure_directory".to_owned())
                });
            } else {
                table.set("path", &mut published.path, published_path);
            }
            table.set("mode", &mut published.mode, mode);
            table.set("owner", &mut published.owner, |v| account(v).map(Some));
            table.set("group", &mut published.group, |v| account(v).map(Some));
            table.set("replication", &mut published.replication, replication);
            table.set("keep_entries", &mut published.keep_entries, |v| entry_names(v).map(Some));
            table.set("user", &mut published.user, account);
            let (mut keytab, mut principal) = (None, None);
            table.set("keytab", &mut keytab, |v| absolute_path(v).map(Some));
            match keytab {
                Some(_) => principal = table.required("principal", kerberos_principal),
                None => table.set("principal", &mut principal, |v| kerberos_principal(v).map(Some)),
            }
            published.kerberos = principal.map(|principal| KerberosLogin { principal, keytab });
        });
        root.table("hadoop", |table| {
            table.set("conf_dir", &mut self.hadoop_conf_dir, absolute_path);
        });
        root.table("node", |table| {
            table.set("info_dir", &mut self.emr_info_dir, absolute_path);
        });
        root.table("refresh", |table| {
            let refresh = &mut self.refresh;
            table.set("renew_at", &mut refresh.renew_at, |v| number(v, 0.1, 0.9));
            table.set("jitter", &mut refresh.jitter, |v| number(v, 0.0, 0.5));
            table.set("minimum_validity", &mut refresh.minimum_validity, |v| {
                duration(v, Duration::from_secs(1), Duration::from_secs(11 * 3600))
            });
            table.set("pass_interval", &mut refresh.pass_interval, |v| {
                duration(v, Duration::from_secs(1), Duration::from_secs(3600))
            });
            table.set("isolated_jitter", &mut refresh.isolated_jitter, |v| {
                duration(v, Duration::ZERO, Duration::from_secs(3600))
            });
        });
        root.table("deadlines", |table| {
            let (least, most) = (Duration::from_secs(1), Duration::from_secs(600));
            table.set("ecr", &mut self.deadlines.ecr, |v| duration(v, least, most));
            table.set("hdfs", &mut self.deadlines.hdfs, |v| duration(v, least, most));
            table.set("files", &mut self.deadlines.files, |v| duration(v, least, most));
            table.set("block_report", &mut self.deadlines.block_report, |v| duration(v, least, most));
        });
        root.table("warm", |table| {
            table.set("images", &mut self.warm.images, images);
            table.set("spread", &mut self.warm.spread, |v| {
                duration(v, Duration::ZERO, Duration::from_secs(12 * 3600))
            });
            table.set("disk_floor_gb", &mut self.warm.disk_floor_gb, gigabytes);
        });
        root.table("health", |table| {
            table.set("listen", &mut self.listen, socket_address);
            table.set("hosts", &mut self.health_hosts, host_names);
            table.set("socket", &mut self.health_socket, socket_path);
        });
        root.table("log", |table| {
            let log = &mut self.log;
            table.set("format", &mut log.format, log_format);
            table.set("level", &mut log.level, log_level);
            table.set("libraries", &mut log.libraries, library_log_level);
            table.set("file", &mut log.file, |v| absolute_path(v).map(Some));
        });
    }
}

impl PublishedSettings {
    /// The HDFS user that owns the files of all agents.
    pub fn writer<'s>(&'s self) -> &'s str {
        let of_principal = |login: &'s KerberosLogin| login.principal.split(['/', '@']).next();
        let by_principal = self.kerberos.as_ref().and_then(of_principal);
        self.owner.as_deref().or(by_principal).unwrap_or(&self.user)
    }

    /// Whether a file of this HDFS user can be an agent's. Without Kerberos on the cluster, `user` counts.
    pub fn is_by_an_agent(&self, owner: &str) -> bool {
        !self.secure_directory || owner == self.writer() || owner == self.user
    }
}

impl Mode {
    /// The permission bits.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl std::fmt::Debug for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "0{:o}", self.0)
    }
}

impl LogLevel {
    /// The name in agent.toml.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

#[cfg(test)]
mod tests;
