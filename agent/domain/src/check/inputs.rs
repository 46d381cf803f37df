//! The inputs of a check: files with their content, the request, and access to the machine.

use std::collections::{BTreeMap, BTreeSet};

use hadoop_rules::launch::DockerAccess;
use hadoop_rules::mounts::Paths;
use hadoop_rules::setup::{Binary, Owned};
use hadoop_rules::site::{Resolved, Site};
use jiff::Timestamp;

use super::release::HadoopVersion;
use super::request::Request;
use super::spark::SparkProperties;
use crate::credentials::TokenScope;
use crate::documents::PublishedPath;
use crate::registry::EcrRegistry;

/// Everything to check. What is `None` was not read and is not reported on.
pub struct Inputs<'m> {
    pub hadoop: HadoopVersion,
    /// EMR's release label, as in `emr-6.9.0`.
    pub release: Option<String>,
    pub executor_cfg: Option<TextFile>,
    pub yarn_site: Option<SiteFile>,
    pub client_config: Option<ClientConfig>,
    pub emr_config: Option<TextFile>,
    /// What a job or a cluster's defaults set for Spark.
    pub spark: Option<SparkProperties>,
    pub node: Option<NodeInputs>,
    /// Whether Hadoop authenticates by Kerberos: containers then run as the user who submits the job.
    pub kerberos: bool,
    /// Where the agent publishes.
    pub published: PublishedPath,
    /// The registries in the settings, which jobs are expected to use.
    pub registries: Vec<EcrRegistry>,
    pub request: Request,
    pub machine: &'m dyn Machine,
    pub now: Timestamp,
}

impl Inputs<'_> {
    /// Whether the cluster is EMR's. Without a node, a config that trusts ECR is taken as one of EMR's.
    pub(super) fn is_emr(&self, trusts_ecr: bool) -> bool {
        self.release.is_some() || self.emr_config.is_some() || self.node.is_none() && trusts_ecr
    }

    /// No inputs yet.
    pub fn nothing(hadoop: HadoopVersion, now: Timestamp) -> Self {
        Self {
            hadoop,
            release: None,
            executor_cfg: None,
            yarn_site: None,
            client_config: None,
            emr_config: None,
            spark: None,
            node: None,
            kerberos: false,
            published: PublishedPath::default(),
            registries: Vec::new(),
            request: Request::default(),
            machine: &TextAlone,
            now,
        }
    }
}

/// A file, with the path that findings show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextFile {
    pub path: String,
    pub content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Absent,
    Directory,
    /// With the reason.
    Unreadable(String),
    Bytes(Vec<u8>),
}

/// A yarn-site.xml with its includes.
#[derive(Debug)]
pub struct SiteFile {
    pub path: String,
    pub content: SiteContent,
}

#[derive(Debug)]
pub enum SiteContent {
    Absent,
    /// Hadoop cannot load it.
    Unusable {
        line: Option<u32>,
        why: String,
    },
    Loaded {
        site: Site,
        resolved: Resolved,
    },
}

/// The file that jobs name in `YARN_CONTAINER_RUNTIME_DOCKER_CLIENT_CONFIG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientConfig {
    pub file: TextFile,
    /// `None` if unknown.
    pub access: Option<Access>,
    pub readers: Readers,
}

/// Who can read what the URI names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readers {
    /// This machine too.
    All,
    NodeManagersOnly,
    /// With the reason.
    Nobody(String),
}

/// Who may read and replace a file that jobs name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    pub file: Permissions,
    pub is_directory: bool,
    /// The file's directory first, then each parent.
    pub directories: Vec<Permissions>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    pub path: String,
    pub owner: String,
    pub group: String,
    /// Permission bits.
    pub mode: u32,
}

/// What only the node itself knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeInputs {
    /// container-executor.cfg with its links resolved, then each parent but the root.
    pub chain: Vec<Owned>,
    /// `None` leaves container-executor itself unchecked.
    pub binary: Option<Binary>,
    /// The path of container-executor in yarn-site.xml; `None` for EMR's.
    pub binary_path: Option<String>,
    /// Whether nothing exists at that path.
    pub binary_is_missing: bool,
    /// `None` if Docker was not queried.
    pub docker: Option<DockerEngine>,
    /// The registries that root's own Docker config has credentials for; `None` if unknown.
    pub root_registries: Option<BTreeSet<String>>,
    /// The Docker configs that the agent keeps on the node.
    pub docker_configs: Vec<NodeDockerConfig>,
    /// The cluster's Region.
    pub region: Option<String>,
    /// Whether the node runs containers: EMR's primary node does not, and has no Docker.
    pub runs_containers: bool,
    /// The outcomes of calls to AWS; empty if none were made.
    pub aws: Vec<AwsAnswer>,
    /// Server clock minus local clock, in seconds.
    pub clock_skew: i64,
}

/// What a Docker config on the node sets in addition to its entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeDockerConfig {
    pub path: String,
    /// The credential store for all registries without a helper.
    pub store: Option<String>,
    /// Helpers by registry.
    pub helpers: BTreeMap<String, String>,
}

/// What the node's Docker engine reports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DockerEngine {
    /// Why it does not answer; `None` if it does.
    pub failure: Option<String>,
    /// Whether it has each requested image.
    pub images: BTreeMap<Vec<u8>, bool>,
    /// Whether it has each requested network.
    pub networks: BTreeMap<String, bool>,
    pub version: Option<String>,
    /// Whether containers survive an engine restart.
    pub live_restore: Option<bool>,
    /// `cgroupfs` or `systemd`.
    pub cgroup_driver: Option<String>,
    pub data_root: Option<DataRoot>,
}

/// Where Docker keeps images and containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataRoot {
    pub path: String,
    /// In bytes.
    pub free: u64,
}

/// How a scope's call for an authorization token ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsAnswer {
    pub scope: TokenScope,
    pub outcome: AwsOutcome,
}

/// How a call to AWS ended. Status, metrics and findings use this one list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AwsOutcome {
    Token,
    NoCredentials,
    /// ECR denied the call.
    Denied,
    /// STS denied AssumeRole for the role in the settings.
    RoleDenied,
    Throttled,
    Timeout,
    Network,
    /// The service answered with another error.
    Service,
    /// The answer holds no usable token.
    Invalid,
}

impl AwsOutcome {
    /// The metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "ok",
            Self::NoCredentials => "no_credentials",
            Self::Denied => "denied",
            Self::RoleDenied => "role_denied",
            Self::Throttled => "throttled",
            Self::Timeout => "timeout",
            Self::Network => "network",
            Self::Service => "service",
            Self::Invalid => "invalid",
        }
    }
}

/// A user of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    pub uid: u32,
    pub gid: u32,
}

/// How mounts below one of the node's mounts propagate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    Private,
    Slave,
    Shared,
}

impl NodeInputs {
    /// Whether root's own Docker config has a credential for the registry; `true` if unknown.
    pub fn root_pulls_from(&self, registry: &EcrRegistry) -> bool {
        self.root_registries.as_ref().is_none_or(|registries| registries.contains(registry.host().as_str()))
    }
}

/// The machine whose file system and accounts are checked.
pub trait Machine: Paths + Sync {
    /// A group's id; `None` if the node has no such group.
    fn group_id(&self, name: &[u8]) -> Option<u32>;
    /// `None` if the node has no such user.
    fn account(&self, user: &[u8]) -> Option<Account>;
    fn docker_access(&self, user: &[u8]) -> DockerAccess;
    /// Whether a resolved path is a file that root may execute.
    fn is_executable(&self, path: &[u8]) -> bool;
    /// The propagation of the mount that holds the path; `None` if unknown.
    fn propagation(&self, path: &[u8]) -> Option<Propagation>;
    /// Whether it can distinguish files from directories.
    fn knows_files(&self) -> bool {
        true
    }
}

/// No machine: every absolute path without a colon exists.
pub struct TextAlone;

impl Paths for TextAlone {
    fn realpath(&self, path: &[u8]) -> Option<Vec<u8>> {
        let is_path = path.starts_with(b"/") && !path.contains(&b':');
        let trimmed = path.strip_suffix(b"/").filter(|rest| !rest.is_empty()).unwrap_or(path);
        is_path.then(|| trimmed.to_vec())
    }

    fn is_directory(&self, _path: &[u8]) -> bool {
        true
    }
}

impl Machine for TextAlone {
    fn group_id(&self, _name: &[u8]) -> Option<u32> {
        None
    }

    fn account(&self, _user: &[u8]) -> Option<Account> {
        None
    }

    fn docker_access(&self, _user: &[u8]) -> DockerAccess {
        DockerAccess::Granted
    }

    fn is_executable(&self, _path: &[u8]) -> bool {
        true
    }

    fn propagation(&self, _path: &[u8]) -> Option<Propagation> {
        None
    }

    fn knows_files(&self) -> bool {
        false
    }
}

/// An EMR node yet to be created: like [`TextAlone`], with the link that EMR creates for its logs.
pub struct EmrNode;

impl Paths for EmrNode {
    fn realpath(&self, path: &[u8]) -> Option<Vec<u8>> {
        const LOGS: &[u8] = b"/var/log/hadoop-yarn";
        let real = TextAlone.realpath(path)?;
        let below = real.strip_prefix(LOGS).filter(|rest| rest.is_empty() || rest.starts_with(b"/"));
        Some(below.map_or_else(|| real.clone(), |rest| [b"/mnt", LOGS, rest].concat()))
    }

    fn is_directory(&self, path: &[u8]) -> bool {
        TextAlone.is_directory(path)
    }
}

impl Machine for EmrNode {
    fn group_id(&self, name: &[u8]) -> Option<u32> {
        TextAlone.group_id(name)
    }

    fn account(&self, user: &[u8]) -> Option<Account> {
        TextAlone.account(user)
    }

    fn docker_access(&self, user: &[u8]) -> DockerAccess {
        TextAlone.docker_access(user)
    }

    fn is_executable(&self, path: &[u8]) -> bool {
        TextAlone.is_executable(path)
    }

    fn propagation(&self, path: &[u8]) -> Option<Propagation> {
        TextAlone.propagation(path)
    }

    fn knows_files(&self) -> bool {
        TextAlone.knows_files()
    }
}

impl TextFile {
    pub fn bytes(&self) -> Option<&[u8]> {
        match &self.content {
            Content::Bytes(bytes) => Some(bytes),
            Content::Absent | Content::Directory | Content::Unreadable(_) => None,
        }
    }
}
