//! Misleading values in container-executor.cfg: switches that are off as written, items that match nothing because
//! of a space, devices that are not paths.

use hadoop_rules::executor_config::{DOCKER, Entry, ExecutorConfig, FEATURE_DOCKER_KEY, HEAD, lossy};
use hadoop_rules::users::{ALLOWED_USERS_KEY, BANNED_USERS_KEY};

use super::launch::{NETWORKS_KEY, RUNTIMES_KEY, trimmed_items};
use crate::findings::{Finding, Findings, Fix, clipped, codes};

/// Values that Hadoop reads as on, in any letter case.
const ONE_OR_TRUE: [&str; 2] = ["true", "1"];
const TRUE: [&str; 1] = ["true"];
const SWITCHES: [(&str, &str, &[&str]); 9] = [
    (DOCKER, "docker.privileged-containers.enabled", &ONE_OR_TRUE),
    (DOCKER, "docker.host-pid-namespace.enabled", &ONE_OR_TRUE),
    (DOCKER, "docker.no-new-privileges.enabled", &TRUE),
    (DOCKER, "docker.service-mode.enabled", &ONE_OR_TRUE),
    (HEAD, FEATURE_DOCKER_KEY, &ONE_OR_TRUE),
    (HEAD, "feature.mount-cgroup.enabled", &ONE_OR_TRUE),
    (HEAD, "feature.tc.enabled", &ONE_OR_TRUE),
    (HEAD, "feature.terminal.enabled", &ONE_OR_TRUE),
    (HEAD, "feature.yarn.sysfs.enabled", &ONE_OR_TRUE),
];
const LISTS: [(&str, &str); 6] = [
    (DOCKER, NETWORKS_KEY),
    (DOCKER, DEVICES_KEY),
    (DOCKER, RUNTIMES_KEY),
    (DOCKER, "docker.allowed.volume-drivers"),
    (HEAD, BANNED_USERS_KEY),
    (HEAD, ALLOWED_USERS_KEY),
];
const DEVICES_KEY: &str = "docker.allowed.devices";
/// Longer lists are not written out in fixes.
const LONGEST_LIST: usize = 1_000;

pub(super) fn check(path: &str, config: &ExecutorConfig, found: &mut Findings) {
    for (section, key, on) in SWITCHES {
        if let Some(entry) = config.entry(section, key) {
            check_switch(path, section, entry, on, found);
        }
    }
    for (section, key) in LISTS {
        if let Some(entry) = config.entry(section, key) {
            check_items(path, section, entry, config, found);
        }
    }
    check_devices(path, config, found);
}

fn check_switch(path: &str, section: &str, entry: Entry<'_>, on: &[&str], found: &mut Findings) {
    let is = |words: &[&str]| words.iter().any(|word| entry.value.eq_ignore_ascii_case(word.as_bytes()));
    if is(on) || !is(&["yes", "y", "on", "1", "enabled", "enable", "t"]) {
        return;
    }
    let key = lossy(entry.key);
    let message = format!("`{key}` is `{}`, which Hadoop does not treat as on", lossy(clipped(entry.value)));
    let fix = if key == FEATURE_DOCKER_KEY {
        // It enables Docker, which the section [docker] must then configure.
        Fix::manual("set module.enabled=true in the section [docker] instead")
    } else {
        Fix::set(section, &key, "true")
    };
    let finding = Finding::new(codes::SWITCH_OFF_AS_WRITTEN, message).fix(fix);
    found.add(finding.in_file(path).at(entry.line).about(entry.value));
}

fn check_items(path: &str, section: &str, entry: Entry<'_>, config: &ExecutorConfig, found: &mut Findings) {
    let key = lossy(entry.key);
    let spaced = config.items(section, &key).find(|item| item.iter().any(u8::is_ascii_whitespace));
    let Some(item) = spaced.filter(|item| !item.trim_ascii().is_empty()) else { return };
    let list = trimmed_items(entry.value).join(",");
    let fix = if list.len() > LONGEST_LIST || section == HEAD || list.contains(char::is_whitespace) {
        // The author must decide which users such a list bans or allows.
        Fix::manual("write the list with only commas between its items")
    } else {
        Fix::set(section, &key, list)
    };
    let message =
        format!("the item `{}` of {key} contains whitespace: items are not trimmed", lossy(clipped(item)));
    let finding = Finding::new(codes::ITEM_WITH_WHITESPACE, message).fix(fix);
    found.add(finding.in_file(path).at(entry.line).about(item));
}

fn check_devices(path: &str, config: &ExecutorConfig, found: &mut Findings) {
    let is_usable = |item: &[u8]| item.trim_ascii().starts_with(b"/") || item.starts_with(b"regex:");
    let odd =
        config.items(DOCKER, DEVICES_KEY).find(|item| !is_usable(item) && !item.trim_ascii().is_empty());
    let (Some(item), Some(entry)) = (odd, config.entry(DOCKER, DEVICES_KEY)) else { return };
    let message =
        format!("`{}` in {DEVICES_KEY} is not a device path, so it allows none", lossy(clipped(item)));
    let fix = Fix::manual("name devices by their paths, as in /dev/nvidia0, or by regex:");
    found
        .add(Finding::new(codes::DEVICE_UNUSABLE, message).fix(fix).in_file(path).at(entry.line).about(item));
}
