//! Whether container-executor allows what the NodeManager itself adds to every Docker launch.

use hadoop_rules::executor_config::{DOCKER, ExecutorConfig, lossy};
use hadoop_rules::mounts::{self, MountRefusal, RO_MOUNTS_KEY, RW_MOUNTS_KEY, RequestedMount};

use super::inputs::{Inputs, Request};
use super::job::unknown_network;
use super::yarn::YarnSettings;
use crate::findings::{Effect, Finding, Findings, Fix, codes};

pub(super) const NETWORKS_KEY: &str = "docker.allowed.networks";
pub(super) const CAPABILITIES_KEY: &str = "docker.allowed.capabilities";
/// Each entry is resolved on the machine for each mount, as Hadoop does.
const MOST_ALLOWED_MOUNTS: usize = 1_000;
pub(super) const CAPABILITIES: &str = "CHOWN,DAC_OVERRIDE,FSETID,FOWNER,MKNOD,NET_RAW,SETGID,SETUID,SETFCAP,SETPCAP,NET_BIND_SERVICE,SYS_CHROOT,KILL,AUDIT_WRITE";

/// What the NodeManager itself asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Defaults {
    pub network: String,
    pub capabilities: Vec<String>,
    pub mounts: Vec<RequestedMount>,
    /// The NodeManager's own directories, mounted under their own names.
    pub directories: Vec<String>,
}

impl Defaults {
    /// YARN's own defaults where yarn-site.xml was not read or does not set them.
    pub(super) fn of(settings: Option<&YarnSettings>) -> Self {
        let said = |list: Option<&Vec<String>>| list.filter(|list| !list.is_empty()).cloned();
        let capabilities = said(settings.and_then(|settings| settings.capabilities.as_ref()))
            .unwrap_or_else(|| CAPABILITIES.split(',').map(str::to_owned).collect());
        Self {
            network: settings.and_then(|s| s.default_network.clone()).unwrap_or_else(|| "host".to_owned()),
            capabilities: if matches!(&capabilities[..], [one] if one.eq_ignore_ascii_case("none")) {
                Vec::new()
            } else {
                capabilities
            },
            mounts: settings.map(|settings| settings.default_mounts.clone()).unwrap_or_default(),
            directories: settings.map(|settings| settings.directories.clone()).unwrap_or_default(),
        }
    }
}

pub(super) fn check(
    path: &str,
    config: &ExecutorConfig,
    defaults: &Defaults,
    inputs: &Inputs<'_>,
    request: &Request,
    found: &mut Findings,
) {
    if !config.docker_supported() {
        return;
    }
    if request.network.is_none() {
        check_network(path, config, &defaults.network, Effect::NodeLaunchesFail, found);
        let networks =
            inputs.node.as_ref().and_then(|node| node.docker.as_ref()).map(|docker| &docker.networks);
        if networks.and_then(|networks| networks.get(&defaults.network)) == Some(&false) {
            found.add(unknown_network(&defaults.network).with_effect(Effect::NodeLaunchesFail));
        }
    }
    check_capabilities(path, config, &defaults.capabilities, found);
    match overlong_mount_list(config) {
        None => check_mounts(path, config, defaults, inputs, found),
        Some(key) => found.add(too_long(path, config, key)),
    }
}

/// The key of a mount list with more entries than are resolved here, if there is one.
pub(super) fn overlong_mount_list(config: &ExecutorConfig) -> Option<&'static str> {
    let is_too_long = |key: &&str| config.items(DOCKER, key).nth(MOST_ALLOWED_MOUNTS).is_some();
    [RO_MOUNTS_KEY, RW_MOUNTS_KEY].into_iter().find(is_too_long)
}

fn too_long(path: &str, config: &ExecutorConfig, key: &str) -> Finding {
    let message = format!("{key} has more than {MOST_ALLOWED_MOUNTS} entries");
    let fix = Fix::manual("name the directories that hold what launches mount");
    let finding = Finding::new(codes::MOUNT_LIST_TOO_LONG, message).fix(fix);
    finding.in_file(path).at(config.entry(DOCKER, key).map(|entry| entry.line)).about(key.as_bytes())
}

/// A finding with this effect if the network is not allowed.
pub(super) fn check_network(
    path: &str,
    config: &ExecutorConfig,
    network: &str,
    effect: Effect,
    found: &mut Findings,
) {
    let allowed = config.list(DOCKER, NETWORKS_KEY);
    if allowed.is_some_and(|allowed| allowed.contains(network.as_bytes())) {
        return;
    }
    let entry = config.entry(DOCKER, NETWORKS_KEY);
    let (message, value) = match entry {
        None => (
            format!("{NETWORKS_KEY} is not set, so no network is allowed; launches ask for {network}"),
            network.to_owned(),
        ),
        Some(entry) => (
            format!("launches ask for the network {network}, which is not in {NETWORKS_KEY}"),
            with_item(entry.value, network),
        ),
    };
    let fix = Fix::set(DOCKER, NETWORKS_KEY, value);
    let finding = Finding::new(codes::NETWORK_REFUSED, message).with_effect(effect).fix(fix);
    let finding = finding.in_file(path).at(entry.map(|entry| entry.line));
    found.add(finding.about(entry.map_or(&[][..], |entry| entry.value)));
}

fn check_capabilities(path: &str, config: &ExecutorConfig, wanted: &[String], found: &mut Findings) {
    if wanted.is_empty() {
        return;
    }
    let allowed = config.list(DOCKER, CAPABILITIES_KEY);
    let is_missing = |name: &&str| !allowed.is_some_and(|allowed| allowed.contains(name.as_bytes()));
    let missing: Vec<&str> = wanted.iter().map(String::as_str).filter(is_missing).collect();
    if missing.is_empty() {
        return;
    }
    let entry = config.entry(DOCKER, CAPABILITIES_KEY);
    let message = match entry {
        None => format!("{CAPABILITIES_KEY} is not set, and the NodeManager asks for {}", missing.join(",")),
        Some(_) => format!(
            "the NodeManager asks for {}, which are not in {CAPABILITIES_KEY}, byte for byte",
            missing.join(",")
        ),
    };
    let fix = Fix::set(DOCKER, CAPABILITIES_KEY, wanted.join(","));
    let finding = Finding::new(codes::CAPABILITY_REFUSED, message).fix(fix).in_file(path);
    let finding = finding.at(entry.map(|entry| entry.line));
    found.add(finding.about(entry.map_or(&[][..], |entry| entry.value)));
}

fn check_mounts(
    path: &str,
    config: &ExecutorConfig,
    defaults: &Defaults,
    inputs: &Inputs<'_>,
    found: &mut Findings,
) {
    let file = inputs.machine.realpath(path.as_bytes()).unwrap_or_else(|| path.into());
    let check = |mounts: &[&[u8]]| mounts::check(config, mounts, &file, inputs.machine);
    if let Err(refusal) = check(&[]) {
        found.add(breaking_list(path, config, &refusal));
        return;
    }
    let mounts = defaults.mounts.iter().map(|mount| (mount.source.clone(), mount.command(), false));
    let own = defaults.directories.iter().map(|path| (path.clone(), format!("{path}:{path}:rw"), true));
    for (source, mount, is_own) in mounts.chain(own) {
        let source = source.as_str();
        let refusal = match check(&[mount.as_bytes()]) {
            Ok(_) => continue,
            // The NodeManager creates its directories when it needs them.
            Err(MountRefusal::SourceMissing { .. }) if is_own => continue,
            Err(refusal) => refusal,
        };
        let key = if mount.ends_with(":rw") { RW_MOUNTS_KEY } else { RO_MOUNTS_KEY };
        let entry = config.entry(DOCKER, key);
        if matches!(refusal, MountRefusal::SourceMissing { .. }) {
            let message = format!("the NodeManager mounts `{mount}` into every container: {refusal}");
            let fix = Fix::manual("take the mount out of yarn-site.xml, or create its source");
            found.add(Finding::new(codes::DEFAULT_MOUNT_REFUSED, message).fix(fix).in_file(path));
            continue;
        }
        let value = entry.map_or_else(|| source.to_owned(), |entry| with_item(entry.value, source));
        let finding = Finding::new(
            codes::DEFAULT_MOUNT_REFUSED,
            format!("the NodeManager mounts `{mount}` into every container: {refusal}"),
        )
        .fix(Fix::set(DOCKER, key, value));
        found.add(finding.in_file(path).at(entry.map(|entry| entry.line)));
    }
}

fn breaking_list(path: &str, config: &ExecutorConfig, refusal: &MountRefusal) -> Finding {
    let (key, item) = match refusal {
        MountRefusal::AllowedMountMissing { key, entry } => (*key, entry.clone()),
        _ => (RO_MOUNTS_KEY, Vec::new()),
    };
    let entry = config.entry(DOCKER, key);
    let value = entry.map(|entry| entry.value).unwrap_or_default();
    let fix = match (without_item(value, &item), lossy(&item).trim()) {
        (_, "") => Fix::manual(format!("remove the line {key}, or name paths that exist")),
        (rest, _) if rest.is_empty() => Fix::remove_line(),
        (rest, _) => Fix::set(DOCKER, key, rest),
    };
    let message = format!("{refusal}: the lists are resolved before any mount");
    let finding = Finding::new(codes::MOUNT_LIST_BREAKS_LAUNCHES, message).fix(fix).in_file(path);
    finding.at(entry.map(|entry| entry.line)).about(&item)
}

fn with_item(value: &[u8], item: &str) -> String {
    let mut items: Vec<String> = trimmed_items(value);
    items.push(item.to_owned());
    items.join(",")
}

fn without_item(value: &[u8], item: &[u8]) -> String {
    let item = lossy(item).trim().to_owned();
    trimmed_items(value).into_iter().filter(|other| *other != item).collect::<Vec<_>>().join(",")
}

fn trimmed_items(value: &[u8]) -> Vec<String> {
    let items = value.split(|byte| *byte == b',').map(|item| lossy(item.trim_ascii()).into_owned());
    items.filter(|item| !item.is_empty()).take(100).collect()
}
