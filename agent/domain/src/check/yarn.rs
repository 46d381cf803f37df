//! yarn-site.xml: what keeps the NodeManager from Docker, and whether EMR's own ECR authentication is on.

use std::collections::BTreeSet;

use hadoop_rules::executor_config::ExecutorConfig;
use hadoop_rules::site::{Resolved, Site};

use super::inputs::{Inputs, NodeInputs, SiteContent, SiteFile, emr_version};
use super::registries::trusted_ecr_registries;
use crate::emr::AUTO_AUTH_KEY;
use crate::findings::{Code, Finding, Findings, Fix, codes};

const PROVIDER_KEY: &str = "yarn.nodemanager.runtime.linux.docker.docker-client-credential-provider.class";
const PROVIDER: &str = "org.apache.hadoop.security.authentication.EcrDockerClientCredentialProvider";
pub(super) const EXECUTOR_KEY: &str = "yarn.nodemanager.container-executor.class";
pub(super) const EXECUTOR: &str = "org.apache.hadoop.yarn.server.nodemanager.LinuxContainerExecutor";
pub(super) const RUNTIMES_KEY: &str = "yarn.nodemanager.runtime.linux.allowed-runtimes";
pub(super) const RUNTIMES: &str = "default,docker";
const IMAGE_UPDATE_KEY: &str = "yarn.nodemanager.runtime.linux.docker.image-update";
const DEFAULT_NETWORK_KEY: &str = "yarn.nodemanager.runtime.linux.docker.default-container-network";
const NETWORKS_KEY: &str = "yarn.nodemanager.runtime.linux.docker.allowed-container-networks";
const CAPABILITIES_KEY: &str = "yarn.nodemanager.runtime.linux.docker.capabilities";
/// All keys that are checked here, apart from the mounts.
pub(super) const KEYS: [&str; 8] = [
    AUTO_AUTH_KEY,
    PROVIDER_KEY,
    EXECUTOR_KEY,
    RUNTIMES_KEY,
    IMAGE_UPDATE_KEY,
    DEFAULT_NETWORK_KEY,
    NETWORKS_KEY,
    CAPABILITIES_KEY,
];
/// The first release of EMR with its own ECR authentication, and the first where it is reported broken.
const AUTO_AUTH_SINCE: (u32, u32) = (6, 1);
const AUTO_AUTH_SUSPECT_SINCE: (u32, u32) = (6, 9);

/// What yarn-site.xml sets for the NodeManager's own requests; `None` where it sets nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct YarnSettings {
    pub default_network: Option<String>,
    pub capabilities: Option<Vec<String>>,
    /// The default mounts and the NodeManager's own directories, as `source:destination:mode`.
    pub mounts: Vec<String>,
}

pub(super) fn check(
    file: &SiteFile,
    inputs: &Inputs<'_>,
    config: Option<&ExecutorConfig>,
    found: &mut Findings,
) -> Option<YarnSettings> {
    let (site, resolved) = match &file.content {
        SiteContent::Loaded { site, resolved } => (site, resolved),
        SiteContent::Absent => {
            let message = format!("{} does not exist", file.path);
            let fix = Fix::manual("name the file; EMR writes it when it provisions the node");
            found.add(Finding::new(codes::SITE_UNREADABLE, message).fix(fix).in_file(&file.path));
            return None;
        }
        SiteContent::Unusable { line, why } => {
            let fix = Fix::manual(format!(
                "correct the file; to find the fault, run: xmllint --noout {}",
                file.path
            ));
            let finding = Finding::new(codes::SITE_UNREADABLE, why.clone()).fix(fix);
            found.add(finding.in_file(&file.path).at(*line));
            return None;
        }
    };
    let reader = Reader { file: &file.path, site, resolved };
    check_runtime(&reader, found);
    check_network(&reader, found);
    check_image_update(&reader, found);
    check_auto_auth(&reader, inputs.node.as_ref(), config, found);
    Some(settings(resolved))
}

/// The values, and where they were written.
struct Reader<'s> {
    file: &'s str,
    site: &'s Site,
    resolved: &'s Resolved,
}

impl Reader<'_> {
    fn finding(&self, code: Code, key: &str, message: String, fix: Option<Fix>) -> Finding {
        let finding = Finding { fix, ..Finding::new(code, message).about(key.as_bytes()) };
        match self.site.property(key) {
            Some(property) => finding.in_file(&property.origin.file).at(property.origin.line),
            None => finding.in_file(self.file),
        }
    }
}

fn settings(resolved: &Resolved) -> YarnSettings {
    let list = |key: &str| -> Vec<String> {
        resolved.list(key).into_iter().filter(|item| !item.is_empty()).map(str::to_owned).collect()
    };
    let with_mode = |key: &str, mode: &str| -> Vec<String> {
        list(key).into_iter().map(|mount| format!("{mount}:{mode}")).collect()
    };
    let docker = "yarn.nodemanager.runtime.linux.docker";
    let mut mounts = with_mode(&format!("{docker}.default-ro-mounts"), "ro");
    mounts.extend(with_mode(&format!("{docker}.default-rw-mounts"), "rw"));
    for key in ["yarn.nodemanager.local-dirs", "yarn.nodemanager.log-dirs"] {
        let directories = list(key).into_iter().filter(|directory| directory.starts_with('/'));
        mounts.extend(directories.map(|directory| format!("{directory}:{directory}:rw")));
    }
    YarnSettings {
        default_network: resolved.trimmed(DEFAULT_NETWORK_KEY).map(str::to_owned),
        capabilities: resolved.get(CAPABILITIES_KEY).map(|_| list(CAPABILITIES_KEY)),
        mounts,
    }
}

fn check_runtime(reader: &Reader<'_>, found: &mut Findings) {
    let resolved = reader.resolved;
    let class = resolved.trimmed(EXECUTOR_KEY);
    if class != Some(EXECUTOR) {
        let message = match class {
            Some(class) => format!("{EXECUTOR_KEY} is {class}"),
            None => format!("{EXECUTOR_KEY} is not set, and the default does not support Docker"),
        };
        let fix = Some(Fix::property(EXECUTOR_KEY, EXECUTOR));
        found.add(reader.finding(codes::WRONG_EXECUTOR_CLASS, EXECUTOR_KEY, message, fix));
    }
    let runtimes = resolved.list(RUNTIMES_KEY);
    if !runtimes.contains(&"docker") {
        let written = if runtimes.is_empty() { "not set".to_owned() } else { runtimes.join(",") };
        let message = format!("{RUNTIMES_KEY} is {written}, without docker");
        let fix = Some(Fix::property(RUNTIMES_KEY, RUNTIMES));
        found.add(reader.finding(codes::RUNTIME_NOT_ALLOWED, RUNTIMES_KEY, message, fix));
    }
}

fn check_network(reader: &Reader<'_>, found: &mut Findings) {
    let allowed = reader.resolved.list(NETWORKS_KEY);
    let allowed = if allowed.is_empty() { vec!["host", "none", "bridge"] } else { allowed };
    let default = reader.resolved.trimmed(DEFAULT_NETWORK_KEY).unwrap_or("host");
    if !allowed.contains(&default) {
        let message = format!("the default network {default} is not among {}", allowed.join(","));
        let fix = Some(Fix::property(NETWORKS_KEY, format!("{},{default}", allowed.join(","))));
        found.add(reader.finding(codes::DEFAULT_NETWORK_NOT_ALLOWED, NETWORKS_KEY, message, fix));
    }
}

fn check_image_update(reader: &Reader<'_>, found: &mut Findings) {
    if reader.resolved.boolean(IMAGE_UPDATE_KEY) == Some(true) {
        let message = format!("{IMAGE_UPDATE_KEY} is on");
        let fix = Some(Fix::property(IMAGE_UPDATE_KEY, "false"));
        found.add(reader.finding(codes::IMAGE_UPDATE_ON, IMAGE_UPDATE_KEY, message, fix));
    }
}

/// Whether EMR's own authentication is off, on, on but suspect, or on and not enough for the registries in
/// use.
fn check_auto_auth(
    reader: &Reader<'_>,
    node: Option<&NodeInputs>,
    config: Option<&ExecutorConfig>,
    found: &mut Findings,
) {
    let release = node.and_then(|node| emr_version(node.release.as_deref()?));
    let known = release.is_none_or(|release| release >= AUTO_AUTH_SINCE);
    let on = known && reader.resolved.boolean(AUTO_AUTH_KEY) == Some(true);
    if !on {
        let message = "EMR's own ECR authentication is off".to_owned();
        found.add(reader.finding(codes::ECR_AUTO_AUTH_OFF, AUTO_AUTH_KEY, message, None));
        return;
    }
    let suspect = release.is_some_and(|release| release >= AUTO_AUTH_SUSPECT_SINCE);
    let provided = reader.resolved.trimmed(PROVIDER_KEY) == Some(PROVIDER);
    if suspect && !provided {
        let message = "EMR's own ECR authentication is on, without its provider class".to_owned();
        let fix = Some(Fix::property(PROVIDER_KEY, PROVIDER));
        found.add(reader.finding(codes::ECR_AUTO_AUTH_SUSPECT, AUTO_AUTH_KEY, message, fix));
    } else {
        let message = "EMR's own ECR authentication is on".to_owned();
        found.add(reader.finding(codes::ECR_AUTO_AUTH_ON, AUTO_AUTH_KEY, message, None));
    }
    let foreign = foreign_regions(node.and_then(|node| node.region.as_deref()), config);
    if !foreign.is_empty() {
        let message = format!(
            "EMR's own ECR authentication is on, and registries in {} are trusted",
            foreign.join(", ")
        );
        let fix =
            Fix::manual("name the published file in YARN_CONTAINER_RUNTIME_DOCKER_CLIENT_CONFIG of each job");
        found.add(reader.finding(codes::ECR_AUTO_AUTH_INSUFFICIENT, AUTO_AUTH_KEY, message, Some(fix)));
    }
}

/// The Regions of trusted registries that are not the cluster's; if that is not known, all Regions
/// where there are several.
fn foreign_regions(own: Option<&str>, config: Option<&ExecutorConfig>) -> Vec<String> {
    let registries = config.map(trusted_ecr_registries).unwrap_or_default();
    let regions: BTreeSet<String> = registries.iter().map(|registry| registry.region().to_string()).collect();
    match own {
        Some(own) => regions.into_iter().filter(|region| region != own).collect(),
        None if regions.len() > 1 => regions.into_iter().collect(),
        None => Vec::new(),
    }
}
