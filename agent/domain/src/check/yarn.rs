//! yarn-site.xml: what keeps the NodeManager from using Docker, and whether EMR's own ECR authentication is on.

use std::collections::BTreeSet;

use hadoop_rules::executor_config::ExecutorConfig;
use hadoop_rules::mounts::RequestedMount;
use hadoop_rules::site::{Resolved, Site};

use super::inputs::{Inputs, Machine, SiteContent, SiteFile};
use super::job::user_refusal;
use super::registries::{names_ecr, trusted_ecr_registries};
use super::release::emr_version;
use super::yarn_settings::{
    CAPABILITIES_KEY, DEFAULT_IMAGE_KEY, IMAGE_UPDATE_KEY, LOCAL_USER_KEY, NETWORKS_KEY, YarnSettings,
    default_mounts, list, networks,
};
use super::{docker_mounts, yarn_keys};
use crate::emr::AUTO_AUTH_KEY;
use crate::findings::{Code, Finding, Findings, Fix, codes};

const PROVIDER_KEY: &str = "yarn.nodemanager.runtime.linux.docker.docker-client-credential-provider.class";
const PROVIDER: &str = "org.apache.hadoop.security.authentication.EcrDockerClientCredentialProvider";
pub(super) const EXECUTOR_KEY: &str = "yarn.nodemanager.container-executor.class";
pub(super) const EXECUTOR: &str = "org.apache.hadoop.yarn.server.nodemanager.LinuxContainerExecutor";
pub(super) const RUNTIMES_KEY: &str = "yarn.nodemanager.runtime.linux.allowed-runtimes";
pub(super) const RUNTIMES: &str = "default,docker";
const DEFAULT_NETWORK_KEY: &str = "yarn.nodemanager.runtime.linux.docker.default-container-network";
/// As of Linux 5.9.
const KERNEL_CAPABILITIES: [&str; 41] = [
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];
/// Names that need no runtime class.
const KNOWN_RUNTIMES: [&str; 5] = ["default", "docker", "javasandbox", "runc", "none"];
/// The first EMR release with its own ECR authentication, and the first where it is reported broken.
const AUTO_AUTH_SINCE: (u32, u32) = (6, 1);
const AUTO_AUTH_SUSPECT_SINCE: (u32, u32) = (6, 9);

pub(super) fn check(
    file: &SiteFile,
    inputs: &Inputs<'_>,
    kerberos: bool,
    config: Option<&ExecutorConfig>,
    found: &mut Findings,
) -> Option<YarnSettings> {
    let (site, resolved) = match &file.content {
        SiteContent::Loaded { site, resolved } => (site, resolved),
        SiteContent::Absent => {
            let message = format!("{} does not exist", file.path);
            let fix = Fix::manual("name the file; a node that is being set up may not have it yet");
            found.add(Finding::new(codes::SITE_UNREADABLE, message).fix(fix).in_file(&file.path));
            return None;
        }
        SiteContent::Unusable { line, why } => {
            let fix = match line {
                Some(_) => format!("correct the file; to find the fault, run: xmllint --noout {}", file.path),
                None => "run the check as root, or name a copy that can be read".to_owned(),
            };
            let fix = Fix::manual(fix);
            let finding = Finding::new(codes::SITE_UNREADABLE, why.clone()).fix(fix);
            found.add(finding.in_file(&file.path).at(*line));
            return None;
        }
    };
    let reader = Reader { file: &file.path, site, resolved };
    check_runtime(&reader, found);
    check_network(&reader, found);
    check_capabilities(&reader, found);
    check_capability_names(&reader, found);
    check_default_mounts(&reader, inputs.machine, found);
    check_image_update(&reader, found);
    check_auto_auth(&reader, inputs, config, found);
    let settings = YarnSettings::read(&file.path, resolved, kerberos);
    check_local_user(&reader, &settings, inputs, config, found);
    yarn_keys::check(&file.path, site, resolved, &settings, found);
    Some(settings)
}

/// The values, and where they are set.
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

/// Where the default image is set.
pub(super) fn location_of_default_image(file: &SiteFile) -> Option<(String, Option<u32>)> {
    let SiteContent::Loaded { site, .. } = &file.content else { return None };
    let origin = &site.property(DEFAULT_IMAGE_KEY)?.origin;
    Some((origin.file.clone(), Some(origin.line)))
}

/// The network of a launch that names none.
pub(super) fn default_network(file: &SiteFile) -> String {
    let set = match &file.content {
        SiteContent::Loaded { resolved, .. } => resolved.trimmed(DEFAULT_NETWORK_KEY),
        SiteContent::Absent | SiteContent::Unusable { .. } => None,
    };
    set.unwrap_or("host").to_owned()
}

/// Checks the user that all containers run as without Kerberos.
fn check_local_user(
    reader: &Reader<'_>,
    settings: &YarnSettings,
    inputs: &Inputs<'_>,
    config: Option<&ExecutorConfig>,
    found: &mut Findings,
) {
    let (Some(user), Some(config)) = (&settings.local_user, config) else { return };
    if let Some(refusal) = user_refusal(user, config, Some(settings), inputs) {
        let message = format!("all containers run as {LOCAL_USER_KEY}={user}: {refusal}");
        let fix = "name a user that may run containers there, or set nonsecure-mode.limit-users to false";
        found.add(reader.finding(codes::LOCAL_USER_REFUSED, LOCAL_USER_KEY, message, Some(Fix::manual(fix))));
    }
}

/// Checks what the NodeManager itself mounts into every container.
fn check_default_mounts(reader: &Reader<'_>, machine: &dyn Machine, found: &mut Findings) {
    let mut invalid = |key: &str, message: String, fix: &str| {
        let fix = Some(Fix::manual(fix));
        found.add(reader.finding(codes::DEFAULT_MOUNT_INVALID, key, message, fix));
    };
    let mut mounts = Vec::new();
    for (key, text, mount) in default_mounts(reader.resolved) {
        match mount {
            Some(mount) => mounts.push((key, mount)),
            None => {
                let message =
                    format!("`{text}` in {key} is not SRC:DST, the only form that YARN accepts there");
                invalid(key, message, "write SRC:DST: the key itself says whether it is read-only");
            }
        }
    }
    let alone: Vec<RequestedMount> = mounts.iter().map(|(_, mount)| mount.clone()).collect();
    if let Some((index, why)) = docker_mounts::fault(&alone, machine) {
        let (key, mount) = &mounts[index];
        let message = format!("the NodeManager mounts `{}` into every container: {why}", mount.command());
        invalid(key, message, "correct the mount, or remove it from the list");
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
    let unknown: Vec<&str> = runtimes
        .iter()
        .copied()
        .filter(|name| !KNOWN_RUNTIMES.contains(&name.to_ascii_lowercase().as_str()))
        .collect();
    if !unknown.is_empty() {
        let message = format!("YARN has no runtime `{}`", unknown.join(","));
        let fix = Some(Fix::property(RUNTIMES_KEY, RUNTIMES));
        found.add(reader.finding(codes::RUNTIME_UNKNOWN, RUNTIMES_KEY, message, fix));
    } else if !runtimes.iter().any(|name| name.eq_ignore_ascii_case("docker")) {
        let written = if runtimes.is_empty() { "not set".to_owned() } else { runtimes.join(",") };
        let message = format!("{RUNTIMES_KEY} is {written}, without docker");
        let fix = Some(Fix::property(RUNTIMES_KEY, RUNTIMES));
        found.add(reader.finding(codes::RUNTIME_NOT_ALLOWED, RUNTIMES_KEY, message, fix));
    }
}

fn check_network(reader: &Reader<'_>, found: &mut Findings) {
    let allowed = networks(reader.resolved);
    let default = reader.resolved.trimmed(DEFAULT_NETWORK_KEY).unwrap_or("host");
    if !allowed.iter().any(|network| network == default) {
        let message = format!("the default network {default} is not among {}", allowed.join(","));
        let fix = Some(Fix::property(NETWORKS_KEY, format!("{},{default}", allowed.join(","))));
        let key = if reader.site.property(DEFAULT_NETWORK_KEY).is_some() {
            DEFAULT_NETWORK_KEY
        } else {
            NETWORKS_KEY
        };
        found.add(reader.finding(codes::DEFAULT_NETWORK_NOT_ALLOWED, key, message, fix));
    }
}

fn check_capabilities(reader: &Reader<'_>, found: &mut Findings) {
    let capabilities = list(reader.resolved, CAPABILITIES_KEY);
    if capabilities.len() > 1 && capabilities.iter().any(|name| name.eq_ignore_ascii_case("none")) {
        let message = format!("{CAPABILITIES_KEY} mixes none with {} names", capabilities.len() - 1);
        let fix = Some(Fix::property(CAPABILITIES_KEY, "none"));
        found.add(reader.finding(codes::CAPABILITIES_MIXED, CAPABILITIES_KEY, message, fix));
    }
}

/// Docker accepts kernel capability names in any letter case, with or without `CAP_`.
fn check_capability_names(reader: &Reader<'_>, found: &mut Findings) {
    let capabilities = list(reader.resolved, CAPABILITIES_KEY);
    let is_known = |name: &String| {
        let name = name.to_ascii_uppercase();
        let name = name.strip_prefix("CAP_").unwrap_or(&name);
        matches!(name, "ALL" | "NONE") || KERNEL_CAPABILITIES.contains(&name)
    };
    let unknown: Vec<String> = capabilities.into_iter().filter(|name| !is_known(name)).collect();
    if !unknown.is_empty() {
        let message = format!("{CAPABILITIES_KEY} names {}, which no kernel has", unknown.join(","));
        let fix = Some(Fix::manual("name capabilities as in `man 7 capabilities`, without CAP_"));
        found.add(reader.finding(codes::CAPABILITY_UNKNOWN, CAPABILITIES_KEY, message, fix));
    }
}

fn check_image_update(reader: &Reader<'_>, found: &mut Findings) {
    if reader.resolved.boolean(IMAGE_UPDATE_KEY) == Some(true) {
        let message = format!("{IMAGE_UPDATE_KEY} is on");
        let fix = Some(Fix::property(IMAGE_UPDATE_KEY, "false"));
        found.add(reader.finding(codes::IMAGE_UPDATE_ON, IMAGE_UPDATE_KEY, message, fix));
    }
}

/// Reports whether EMR's own authentication is off, on, on but suspect, or on but insufficient for the registries
/// in use.
fn check_auto_auth(
    reader: &Reader<'_>,
    inputs: &Inputs<'_>,
    config: Option<&ExecutorConfig>,
    found: &mut Findings,
) {
    let node = inputs.node.as_ref();
    let release = inputs.release.as_deref().and_then(emr_version);
    let known = release.is_none_or(|release| release >= AUTO_AUTH_SINCE);
    let on = known && reader.resolved.boolean(AUTO_AUTH_KEY) == Some(true);
    let is_emr = || inputs.is_emr(config.is_some_and(names_ecr));
    let is_set = || reader.site.property(AUTO_AUTH_KEY).is_some();
    if !on && (is_set() || is_emr()) {
        let message = "EMR's own ECR authentication is off".to_owned();
        found.add(reader.finding(codes::ECR_AUTO_AUTH_OFF, AUTO_AUTH_KEY, message, None));
    }
    if !on {
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
    if inputs.emr_config.is_some() || inputs.client_config.is_some() && inputs.node.is_none() {
        let provider = reader.resolved.trimmed(PROVIDER_KEY);
        let by = provider.map_or_else(String::new, |class| format!(", by {class}"));
        let message = format!("EMR's own ECR authentication is on{by}, in addition to the published file");
        let fix = Fix::manual(format!(
            "use one of the two: set {AUTO_AUTH_KEY} to false where the agent publishes, or leave the agent out"
        ));
        found.add(reader.finding(codes::ECR_AUTO_AUTH_BESIDE_FILE, AUTO_AUTH_KEY, message, Some(fix)));
    }
    let foreign = foreign_regions(node.and_then(|node| node.region.as_deref()), config);
    if !foreign.is_empty() {
        let message = format!(
            "EMR's own ECR authentication is on, but registries in {} are trusted",
            foreign.join(", ")
        );
        let fix =
            Fix::manual("name the published file in YARN_CONTAINER_RUNTIME_DOCKER_CLIENT_CONFIG of each job");
        found.add(reader.finding(codes::ECR_AUTO_AUTH_INSUFFICIENT, AUTO_AUTH_KEY, message, Some(fix)));
    }
}

/// The Regions of trusted registries other than the cluster's; if that is unknown, all of them if there are
/// several.
fn foreign_regions(own: Option<&str>, config: Option<&ExecutorConfig>) -> Vec<String> {
    let registries = config.map(trusted_ecr_registries).unwrap_or_default();
    let regions: BTreeSet<String> = registries.iter().map(|registry| registry.region().to_string()).collect();
    match own {
        Some(own) => regions.into_iter().filter(|region| region != own).collect(),
        None if regions.len() > 1 => regions.into_iter().collect(),
        None => Vec::new(),
    }
}
