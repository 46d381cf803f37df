//! Whether container-executor allows what the NodeManager itself adds to every Docker launch.

use hadoop_rules::Rules;
use hadoop_rules::executor_config::{DOCKER, ExecutorConfig, NoteKind, lossy};
use hadoop_rules::mounts::{self, MountRefusal, RO_MOUNTS_KEY, RW_MOUNTS_KEY, RequestedMount};

use super::inputs::{Inputs, Machine};
use super::yarn_settings::YarnSettings;
use crate::findings::{Effect, Finding, Findings, Fix, codes};

pub(super) const NETWORKS_KEY: &str = "docker.allowed.networks";
pub(super) const RUNTIMES_KEY: &str = "docker.allowed.runtimes";
pub(super) const CAPABILITIES_KEY: &str = "docker.allowed.capabilities";
/// Longer lists are not written out in fixes.
const LONGEST_LIST: usize = 4_000;
/// Each entry is resolved on the machine for each mount, as in Hadoop.
const MOST_ALLOWED_MOUNTS: usize = 1_000;
pub(super) const CAPABILITIES: &str = "CHOWN,DAC_OVERRIDE,FSETID,FOWNER,MKNOD,NET_RAW,SETGID,SETUID,SETFCAP,SETPCAP,NET_BIND_SERVICE,SYS_CHROOT,KILL,AUDIT_WRITE";

/// What the NodeManager itself requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Defaults {
    pub network: String,
    pub capabilities: Vec<String>,
    pub mounts: Vec<RequestedMount>,
    /// The NodeManager's own directories, mounted under their own names.
    pub directories: Vec<String>,
    /// For containers that get a GPU.
    pub gpu_runtime: Option<&'static str>,
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
            gpu_runtime: settings.is_some_and(|settings| settings.adds_gpu_runtime).then_some("nvidia"),
        }
    }
}

pub(super) fn check(
    path: &str,
    config: &ExecutorConfig,
    defaults: &Defaults,
    inputs: &Inputs<'_>,
    uses_default_network: bool,
    found: &mut Findings,
) {
    // Without the section, its absence is the only finding.
    if !config.docker_supported() && !has_docker_section(config) {
        return;
    }
    if uses_default_network {
        check_network(path, config, &defaults.network, Effect::NodeLaunchesFail, found);
        let networks =
            inputs.node.as_ref().and_then(|node| node.docker.as_ref()).map(|docker| &docker.networks);
        if networks.and_then(|networks| networks.get(&defaults.network)) == Some(&false) {
            found.add(unknown_network(&defaults.network).with_effect(Effect::NodeLaunchesFail));
        }
    }
    check_capabilities(path, config, &defaults.capabilities, found);
    if let Some(runtime) = defaults.gpu_runtime {
        check_gpu_runtime(path, config, runtime, found);
    }
    match overlong_mount_list(config) {
        None => check_mounts(path, config, defaults, inputs, found),
        Some(key) => found.add(too_long(path, config, key)),
    }
}

fn check_gpu_runtime(path: &str, config: &ExecutorConfig, runtime: &str, found: &mut Findings) {
    if config.items(DOCKER, RUNTIMES_KEY).any(|item| item == runtime.as_bytes()) {
        return;
    }
    let entry = config.entry(DOCKER, RUNTIMES_KEY);
    let list = entry.map(|entry| lossy(entry.value).into_owned()).filter(|list| !list.is_empty());
    let list = list.map_or_else(|| runtime.to_owned(), |list| format!("{list},{runtime}"));
    let fix = if list.len() > LONGEST_LIST || list.contains(char::is_whitespace) {
        Fix::manual(format!("add {runtime} to {RUNTIMES_KEY}"))
    } else {
        Fix::set(DOCKER, RUNTIMES_KEY, list)
    };
    let message = format!("{RUNTIMES_KEY} does not allow {runtime}, the runtime for containers with a GPU");
    let finding = Finding::new(codes::GPU_RUNTIME_REFUSED, message).fix(fix).in_file(path);
    found.add(finding.at(entry.map(|entry| entry.line)));
}

/// The key of a mount list with too many entries to resolve, if any.
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

/// Adds a finding with this effect if the network is not allowed.
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

pub(super) fn unknown_network(network: &str) -> Finding {
    let message = format!("Docker on this node has no network {network}");
    Finding::new(codes::NETWORK_UNKNOWN, message)
        .fix(Fix::manual("name a network of `docker network ls`, such as host"))
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

/// Whether there is a `[docker]` section to correct.
pub(super) fn has_docker_section(config: &ExecutorConfig) -> bool {
    config.sections().any(|section| section == DOCKER.as_bytes())
}

/// One list of allowed mounts, corrected.
struct Allowed {
    key: &'static str,
    line: Option<u32>,
    /// Whether later lines set the key as well.
    is_repeated: bool,
    items: Vec<String>,
    /// The first entry that fails every launch, and how many there are.
    broken: Option<(MountRefusal, usize)>,
    /// The NodeManager's own mounts that the list lacks.
    lacking: Vec<String>,
}

/// Checks both lists entry by entry, then each of the NodeManager's own mounts against them.
fn check_mounts(
    path: &str,
    config: &ExecutorConfig,
    defaults: &Defaults,
    inputs: &Inputs<'_>,
    found: &mut Findings,
) {
    let file = inputs.machine.realpath(path.as_bytes()).unwrap_or_else(|| path.into());
    let repaired = |key| repaired(config, key, &file, inputs.machine);
    let (Some(ro), Some(rw)) = (repaired(RO_MOUNTS_KEY), repaired(RW_MOUNTS_KEY)) else {
        let message = "the lists of allowed mounts hold a pattern that cannot be compiled";
        let fix = Fix::manual("remove the pattern, or correct it");
        found.add(Finding::new(codes::MOUNT_LIST_BREAKS_LAUNCHES, message).fix(fix).in_file(path));
        return;
    };
    let mut lists = [ro, rw];
    let Some(sound) = config_of(&lists, config.rules()) else { return };
    let check = |mount: &str| mounts::check(&sound, &[mount.as_bytes()], &file, inputs.machine);
    let mounts = defaults.mounts.iter().map(|mount| (mount.source.clone(), mount.command(), false));
    let own = defaults.directories.iter().map(|path| (path.clone(), format!("{path}:{path}:rw"), true));
    for (source, mount, is_own) in mounts.chain(own) {
        let list = match check(&mount) {
            Ok(_) => continue,
            // The NodeManager creates its directories when it needs them.
            Err(MountRefusal::SourceMissing { .. }) if is_own => continue,
            Err(MountRefusal::ReadOnly { .. }) => &mut lists[0],
            Err(MountRefusal::ReadWrite { .. }) => &mut lists[1],
            Err(refusal) => {
                let message = format!("the NodeManager mounts `{mount}` into every container: {refusal}");
                let fix = match refusal {
                    MountRefusal::SourceMissing { .. } => {
                        "remove the mount from yarn-site.xml, or create its source"
                    }
                    _ => "remove the mount from yarn-site.xml, or correct it there",
                };
                let finding = Finding::new(codes::DEFAULT_MOUNT_REFUSED, message).fix(Fix::manual(fix));
                found.add(finding.in_file(path));
                continue;
            }
        };
        list.lacking.push(mount);
        if !list.items.contains(&source) {
            list.items.push(source);
        }
    }
    for list in &lists {
        if let Some(finding) = list.finding(config.get(DOCKER, list.key).unwrap_or_default()) {
            found.add(finding.in_file(path).at(list.line));
        }
    }
}

impl Allowed {
    fn finding(&self, value: &[u8]) -> Option<Finding> {
        let fix = match self.items.join(",") {
            // After the first line, the next one would count.
            list if list.is_empty() && self.is_repeated => {
                Fix::manual(format!("remove every line of {}", self.key))
            }
            list if list.is_empty() => Fix::remove_line(),
            list if list.len() > LONGEST_LIST => Fix::manual(
                "name directories that exist, without a space or a mode, and what the NodeManager mounts",
            ),
            list => Fix::set(DOCKER, self.key, list),
        };
        if let Some((refusal, count)) = &self.broken {
            let more = if *count > 1 { format!(" (and {} more)", count - 1) } else { String::new() };
            let message = format!("{refusal}{more}: the lists are resolved before any mount");
            let about = match refusal {
                MountRefusal::AllowedMountMissing { entry, .. } => entry.as_slice(),
                _ => self.key.as_bytes(),
            };
            return Some(Finding::new(codes::MOUNT_LIST_BREAKS_LAUNCHES, message).fix(fix).about(about));
        }
        if self.lacking.is_empty() {
            return None;
        }
        let lacking = self.lacking.join("`, `");
        let message = format!(
            "the NodeManager mounts `{lacking}` into every container, which {} does not allow",
            self.key
        );
        Some(Finding::new(codes::DEFAULT_MOUNT_REFUSED, message).fix(fix).about(value))
    }
}

/// The list with entries corrected or removed until it resolves; `None` if it cannot be parsed.
fn repaired(
    config: &ExecutorConfig,
    key: &'static str,
    file: &[u8],
    machine: &dyn Machine,
) -> Option<Allowed> {
    let line = config.entry(DOCKER, key).map(|entry| entry.line);
    let shadowed = line.map(|by| NoteKind::Shadowed { by });
    let mut list = Allowed {
        key,
        line,
        is_repeated: config.notes().iter().any(|note| Some(note.kind) == shadowed),
        items: config.items(DOCKER, key).map(|item| lossy(item).into_owned()).collect(),
        broken: None,
        lacking: Vec::new(),
    };
    // Each step shortens or removes one entry.
    loop {
        let alone = config_of(std::slice::from_ref(&list), config.rules())?;
        match mounts::check(&alone, &[], file, machine) {
            Ok(_) => return Some(list),
            Err(refusal @ MountRefusal::AllowedMountMissing { .. }) => {
                let MountRefusal::AllowedMountMissing { entry, .. } = &refusal else { return None };
                let entry = lossy(entry).into_owned();
                let place = list.items.iter().position(|item| *item == entry);
                let is_first = list.broken.is_none();
                match place.map(|place| (place, shorter(&entry))) {
                    Some((place, Some(item))) if !list.items.contains(&item) => list.items[place] = item,
                    Some((place, _)) => drop(list.items.remove(place)),
                    None => return None,
                }
                match &mut list.broken {
                    Some((_, count)) => *count += usize::from(is_written(config, key, &entry)),
                    None if is_first => list.broken = Some((refusal, 1)),
                    None => {}
                }
            }
            Err(_) => return None,
        }
    }
}

fn is_written(config: &ExecutorConfig, key: &str, entry: &str) -> bool {
    config.items(DOCKER, key).any(|item| item == entry.as_bytes())
}

/// The entry as it may have been meant: trimmed, then without a destination and a mode.
fn shorter(entry: &str) -> Option<String> {
    let trimmed = entry.trim();
    let shorter = if trimmed == entry { entry.split_once(':')?.0 } else { trimmed };
    (!shorter.is_empty()).then(|| shorter.to_owned())
}

/// A configuration with these lists and nothing else.
fn config_of(lists: &[Allowed], rules: Rules) -> Option<ExecutorConfig> {
    let line = |list: &Allowed| match &list.items[..] {
        [] => String::new(),
        // The space keeps an empty value, which counts.
        items => format!("{}= {}\n", list.key, items.join(",")),
    };
    let text = format!("[{DOCKER}]\n{}", lists.iter().map(line).collect::<String>());
    ExecutorConfig::parse(text, rules).ok()
}

/// The list with one more item, and with all others trimmed.
pub(super) fn with_item(value: &[u8], item: &str) -> String {
    let mut items: Vec<String> = trimmed_items(value);
    items.push(item.to_owned());
    items.join(",")
}

pub(super) fn trimmed_items(value: &[u8]) -> Vec<String> {
    let items = value.split(|byte| *byte == b',').map(|item| lossy(item.trim_ascii()).into_owned());
    items.filter(|item| !item.is_empty()).collect()
}
