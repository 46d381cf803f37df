//! What `check --json` prints. Its fields are stable.

use std::collections::BTreeMap;
use std::fmt;

use hadoop_rules::Rules;
use hadoop_rules::executor_config::{ExecutorConfig, List, lossy};
use jiff::Timestamp;
use serde::ser::SerializeSeq as _;
use serde::{Serialize, Serializer};

use super::inputs::DockerEngine;
use super::registry_answer::RegistryAnswer;
use crate::findings::{Finding, Severity};

/// The whole report. What was not read is null.
#[derive(Debug, Serialize)]
pub struct Report {
    pub rules: RulesName,
    pub executor_cfg: Option<ExecutorCfgReport>,
    pub docker_config: Option<DockerConfigReport>,
    pub docker: Option<DockerReport>,
    pub images: Vec<ImageReport>,
    pub findings: Vec<Finding>,
    /// What was not checked: no finding there does not mean no fault.
    pub not_checked: Vec<String>,
    /// Whether a file that was named could not be read.
    #[serde(skip)]
    pub unread: bool,
    /// Whether a NodeManager launches containers here.
    #[serde(skip)]
    pub(super) runs_containers: bool,
}

/// Serialized as `3.2`, `3.3` or `3.4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RulesName(pub Rules);

/// container-executor.cfg; of the parsed file, JSON has the parts that Hadoop decides by.
#[derive(Debug)]
pub struct ExecutorCfgReport {
    pub path: String,
    pub present: bool,
    pub parse_error: Option<ParseErrorReport>,
    /// `None` if there is no file, or it cannot be parsed.
    pub config: Option<ExecutorConfig>,
    /// The config without the fault that hides all others.
    pub(super) repaired: Option<ExecutorConfig>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ParseErrorReport {
    /// `None` if the file as a whole is at fault.
    pub line: Option<u32>,
    pub code: &'static str,
    pub message: String,
}

/// The node's Docker engine, by its own description.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DockerReport {
    pub version: String,
    pub live_restore: Option<bool>,
    pub cgroup_driver: Option<String>,
    pub data_root: Option<String>,
    /// In bytes.
    pub data_root_free: Option<u64>,
}

impl DockerReport {
    pub(super) fn of(engine: &DockerEngine) -> Option<Self> {
        Some(Self {
            version: engine.version.clone()?,
            live_restore: engine.live_restore,
            cgroup_driver: engine.cgroup_driver.clone(),
            data_root: engine.data_root.as_ref().map(|root| root.path.clone()),
            data_root_free: engine.data_root.as_ref().map(|root| root.free),
        })
    }
}

/// A config.json as YARN reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DockerConfigReport {
    pub path: String,
    /// Why a launch that names the file fails.
    pub error: Option<String>,
    /// By registry key, as written.
    pub credentials: BTreeMap<String, CredentialReport>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CredentialReport {
    /// Whether Docker can decode it.
    #[serde(skip)]
    pub usable: bool,
    /// Whether it is empty, which is not a credential.
    #[serde(skip)]
    pub empty: bool,
    /// `None` if neither the file nor the token states it.
    pub expires_at: Option<Timestamp>,
}

/// One image; what depends on a file that was not read is null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageReport {
    pub image: String,
    pub name_valid: bool,
    pub trusted: Option<bool>,
    pub privileged_trusted: Option<bool>,
    pub privileged_allowed: Option<bool>,
    pub mounts: Option<Vec<MountReport>>,
    /// Whether the node's Docker has it, so that nothing is pulled.
    pub on_node: Option<bool>,
    /// Whether the NodeManager pulls it before each launch.
    #[serde(skip)]
    pub is_updated: bool,
    pub credential: Option<ImageCredential>,
    /// `None` if that cannot be predicted.
    pub would_launch: Option<bool>,
    /// Why not.
    pub reasons: Vec<String>,
    /// What the launch depends on and could not be checked.
    pub unknown: Vec<Unknown>,
}

/// One thing that the launch of an image depends on. Displays as a clause; JSON has it as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unknown {
    /// Whether the node can pull the image, until the registry is queried.
    Pull {
        registry: String,
    },
    Other(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MountReport {
    pub mount: String,
    pub allowed: bool,
    pub reason: Option<String>,
}

/// The credential that Docker would find for the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageCredential {
    pub registry: String,
    pub expires_at: Option<Timestamp>,
}

impl ExecutorCfgReport {
    /// The config to search for findings.
    pub(super) fn examined(&self) -> Option<&ExecutorConfig> {
        self.repaired.as_ref().or(self.config.as_ref())
    }
}

impl ImageReport {
    /// Sets `would_launch` from the reasons against it and from what is unknown.
    pub(super) fn conclude(&mut self) {
        self.would_launch = match (self.reasons.is_empty(), self.unknown.is_empty()) {
            (false, _) => Some(false),
            (true, true) => Some(true),
            (true, false) => None,
        };
    }

    /// Adds what a second request for the same image depends on.
    pub(super) fn join(&mut self, other: Self) {
        let more: Vec<_> = other.reasons.into_iter().filter(|why| !self.reasons.contains(why)).collect();
        self.reasons.extend(more);
        let more: Vec<_> = other.unknown.into_iter().filter(|what| !self.unknown.contains(what)).collect();
        self.unknown.extend(more);
        self.mounts = match (self.mounts.take(), other.mounts) {
            (Some(mut mounts), Some(others)) => {
                let more: Vec<_> = others.into_iter().filter(|mount| !mounts.contains(mount)).collect();
                mounts.extend(more);
                Some(mounts)
            }
            _ => None,
        };
        self.conclude();
    }

    /// Adds the registry's answer for the image.
    pub fn add_registry_answer(&mut self, answer: &RegistryAnswer, findings: &[Finding]) {
        if !matches!(answer, RegistryAnswer::Unknown(_)) {
            self.unknown.retain(|unknown| !matches!(unknown, Unknown::Pull { .. }));
        }
        let errors = findings.iter().filter(|finding| finding.severity() == Severity::Error);
        self.reasons.extend(errors.map(|finding| finding.message.clone()));
        self.conclude();
    }
}

impl Report {
    /// Whether an error was found.
    pub fn failed(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity() == Severity::Error)
    }
}

impl From<String> for Unknown {
    fn from(what: String) -> Self {
        Self::Other(what)
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pull { registry } => write!(f, "whether this node can pull the image from {registry}"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl Serialize for Unknown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for RulesName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl Serialize for ExecutorCfgReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct View<'a> {
            path: &'a str,
            present: bool,
            parse_error: Option<&'a ParseErrorReport>,
            docker_enabled: Option<bool>,
            docker_supported: Option<bool>,
            nm_group: Option<String>,
            trusted_registries: Option<Items<'a>>,
            privileged_registries: Option<Items<'a>>,
        }
        let config = self.config.as_ref();
        // Without a file, and with one that cannot be parsed, Docker is off.
        let is_read = config.is_some() || self.parse_error.is_some() || !self.present;
        let examined = |decides: fn(&ExecutorConfig) -> bool| is_read.then(|| config.is_some_and(decides));
        let view = View {
            path: &self.path,
            present: self.present,
            parse_error: self.parse_error.as_ref(),
            docker_enabled: examined(ExecutorConfig::module_enabled),
            docker_supported: examined(ExecutorConfig::docker_supported),
            nm_group: config.and_then(|config| Some(lossy(config.nm_group()?).into_owned())),
            trusted_registries: config.and_then(|config| config.trusted_registries().map(Items)),
            privileged_registries: config.and_then(|config| config.privileged_registries().map(Items)),
        };
        view.serialize(serializer)
    }
}

/// Serialised item by item: a list of millions must not be copied into strings first.
struct Items<'a>(List<'a>);

impl Serialize for Items<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(None)?;
        for item in self.0.iter() {
            sequence.serialize_element(&lossy(item))?;
        }
        sequence.end()
    }
}
