//! Keys that Hadoop does not know, or does not read where they are.

use hadoop_rules::executor_config::{
    DOCKER, Entry, ExecutorConfig, HEAD, MODULE_ENABLED_KEY, NM_GROUP_KEY, PRIVILEGED_REGISTRIES_KEY,
    TRUSTED_REGISTRIES_KEY, lossy,
};
use hadoop_rules::mounts::{RO_MOUNTS_KEY, RW_MOUNTS_KEY};

use crate::findings::{Finding, Findings, Fix, clipped, codes};

/// Every key that Hadoop reads in `[docker]`, in any version.
const DOCKER_KEYS: [&str; 16] = [
    "module.enabled",
    "docker.binary",
    "docker.trusted.registries",
    "docker.privileged-containers.enabled",
    "docker.privileged-containers.registries",
    "docker.allowed.capabilities",
    "docker.allowed.networks",
    "docker.allowed.ro-mounts",
    "docker.allowed.rw-mounts",
    "docker.allowed.devices",
    "docker.allowed.volume-drivers",
    "docker.allowed.runtimes",
    "docker.host-pid-namespace.enabled",
    "docker.no-new-privileges.enabled",
    "docker.inspect.max.retries",
    "docker.service-mode.enabled",
];
/// The one of these keys that Hadoop also reads above the first section.
const IN_HEAD_TOO: &str = "docker.binary";
/// Every key that Hadoop reads above the first section, in any version.
const HEAD_KEYS: [&str; 12] = [
    NM_GROUP_KEY,
    "yarn.nodemanager.local-dirs",
    "yarn.nodemanager.log-dirs",
    "banned.users",
    "min.user.id",
    "allowed.system.users",
    "feature.docker.enabled",
    "feature.mount-cgroup.enabled",
    "feature.runc.enabled",
    "feature.tc.enabled",
    "feature.terminal.enabled",
    "feature.yarn.sysfs.enabled",
];
/// The sections of other modules, and every key that Hadoop reads there, in any version.
const MODULES: [(&str, &[&str]); 4] = [
    ("gpu", &["module.enabled", "gpu.major-device-number", "gpu.allowed-device-minor-numbers"]),
    ("fpga", &["module.enabled", "fpga.major-device-number", "fpga.allowed-device-minor-numbers"]),
    ("devices", &["module.enabled", "devices.denied-numbers"]),
    (CGROUPS, &["root", "yarn-hierarchy"]),
];
/// Where the modules above find the cgroups of containers.
const CGROUPS: &str = "cgroups";
/// Longer keys are not compared with known ones.
const LONGEST: usize = 100;
/// Longer values are not written out in fixes.
const LONGEST_VALUE: usize = 1_000;

/// Reports every unknown key, and every known one in a section where Hadoop does not read it.
pub(super) fn check(path: &str, config: &ExecutorConfig, found: &mut Findings) {
    for entry in config.entries(DOCKER) {
        if is_head_key(entry.key) || module_of(entry.key).is_some() {
            found.add(elsewhere(path, DOCKER, entry));
        } else if !is_docker_key(entry.key) {
            found.add(unknown(path, DOCKER, config, entry));
        }
        if !found.wants(codes::UNKNOWN_KEY) {
            break;
        }
    }
    for section in config.sections().filter(|section| *section != DOCKER.as_bytes()) {
        let Ok(name) = std::str::from_utf8(section) else { continue };
        if name.trim().eq_ignore_ascii_case(DOCKER) {
            // The section's wrong name is the only cause.
            continue;
        }
        for entry in config.entries(name) {
            let switch = entry.key == MODULE_ENABLED_KEY.as_bytes() && matches!(name, HEAD | CGROUPS);
            let docker = entry.key.starts_with(b"docker.") && is_docker_key(entry.key);
            let is_read = name == HEAD && entry.key == IN_HEAD_TOO.as_bytes();
            // Above the first section, `root` may belong to another tool.
            let of_module = module_of(entry.key)
                .is_some_and(|module| module != name && (name != HEAD || entry.key != b"root"));
            if (switch || docker || of_module) && !is_read || name != HEAD && is_head_key(entry.key) {
                found.add(elsewhere(path, name, entry));
            } else if name == HEAD
                && !is_read
                && !is_head_key(entry.key)
                && meant_in_head(entry.key).is_some()
                || known_in(name).is_some_and(|keys| !is_among(keys, entry.key))
            {
                found.add(unknown(path, name, config, entry));
            }
        }
    }
    check_modules(path, config, found);
}

/// An enabled module needs the container's cgroup.
fn check_modules(path: &str, config: &ExecutorConfig, found: &mut Findings) {
    let missing = |key: &&&str| config.get(CGROUPS, key).is_none_or(<[u8]>::is_empty);
    let Some(key) = ["root", "yarn-hierarchy"].iter().find(missing) else { return };
    for (module, _) in MODULES.into_iter().filter(|(module, _)| *module != CGROUPS) {
        let Some(entry) = config.entry(module, MODULE_ENABLED_KEY).filter(|entry| entry.value == b"true")
        else {
            continue;
        };
        let message = format!("the module {module} is on, but {key} is not set in the section [{CGROUPS}]");
        let fix = Fix::manual(format!(
            "set root and yarn-hierarchy in [{CGROUPS}] to what yarn-site.xml has for cgroups.mount-path and cgroups.hierarchy of yarn.nodemanager.linux-container-executor"
        ));
        let finding = Finding::new(codes::MODULE_WITHOUT_CGROUPS, message).fix(fix);
        found.add(finding.in_file(path).at(entry.line).about(entry.key));
    }
}

fn unknown(path: &str, section: &str, config: &ExecutorConfig, entry: Entry<'_>) -> Finding {
    let key = lossy(clipped(entry.key));
    let meant = match section {
        HEAD => meant_in_head(entry.key),
        DOCKER => meant(&key),
        module => known_in(module).and_then(|keys| nearest(&key, module, keys)),
    };
    let finding = match meant.map(|meant| (meant, config.entry(section, meant))) {
        Some((meant, Some(_))) => {
            let message =
                format!("Hadoop has no key `{key}`; `{meant}`, which was probably meant, is set too");
            Finding::new(codes::UNKNOWN_KEY, message)
                .fix(Fix::manual("move the value there, or remove the line"))
        }
        Some((meant, None)) => {
            // An enabled module needs more than this line.
            let fix = if known_in(section).is_none() && is_sound(meant, entry.value) {
                Fix::replace_entry(meant, lossy(entry.value))
            } else {
                Fix::manual(format!("write {meant}"))
            };
            let message = format!("Hadoop has no key `{key}`; `{meant}` was probably meant");
            Finding::new(codes::UNKNOWN_KEY, message).fix(fix)
        }
        None => {
            Finding::new(codes::UNKNOWN_KEY, format!("Hadoop has no key `{key}` in the section [{section}]"))
                .fix(Fix::manual("remove the line, or move it to the section it belongs to"))
        }
    };
    finding.in_file(path).at(entry.line).about(entry.key)
}

/// Whether the value causes no other finding under that key.
fn is_sound(key: &str, value: &[u8]) -> bool {
    if value.len() > LONGEST_VALUE || value.iter().any(u8::is_ascii_whitespace) {
        return false;
    }
    match key {
        MODULE_ENABLED_KEY => value == b"true",
        // Whether such a list is sound depends on more than this line.
        TRUSTED_REGISTRIES_KEY | PRIVILEGED_REGISTRIES_KEY | RO_MOUNTS_KEY | RW_MOUNTS_KEY => false,
        "docker.allowed.devices" => value.starts_with(b"/"),
        key if key.ends_with(".enabled") => matches!(value, b"true" | b"false"),
        key if key.starts_with("docker.") => true,
        // Groups and users.
        _ => false,
    }
}

fn elsewhere(path: &str, section: &str, entry: Entry<'_>) -> Finding {
    let place = if section == HEAD {
        "above the first section".to_owned()
    } else {
        format!("in the section [{section}]")
    };
    let key = lossy(entry.key);
    let module = module_of(entry.key);
    let (right, fix) = if is_head_key(entry.key) {
        ("above the first section".to_owned(), Fix::manual("move the line above the first section"))
    } else {
        let in_others = if entry.key == MODULE_ENABLED_KEY.as_bytes() { " and in other modules" } else { "" };
        let module = module.unwrap_or(DOCKER);
        let fix = Fix::manual(format!("move the line into the section [{module}]"));
        (format!("in [{module}]{in_others}"), fix)
    };
    let message = format!("`{key}` is {place}; Hadoop reads it {right} only");
    let finding = Finding::new(codes::KEY_IN_WRONG_SECTION, message).fix(fix);
    finding.in_file(path).at(entry.line).about(entry.key)
}

fn is_head_key(key: &[u8]) -> bool {
    is_among(&HEAD_KEYS, key)
}

/// The most similar key above the first section. Other tools keep keys there too, so it must be very similar.
fn meant_in_head(key: &[u8]) -> Option<&'static str> {
    let key = lossy(key);
    if key.len() > LONGEST {
        return None;
    }
    let plain = key.to_ascii_lowercase().replace('_', "-");
    let distance = |known: &str| strsim::levenshtein(&plain, known);
    let nearest = HEAD_KEYS.into_iter().min_by_key(|known| distance(known))?;
    (distance(nearest) <= 2).then_some(nearest)
}

fn is_docker_key(key: &[u8]) -> bool {
    is_among(&DOCKER_KEYS, key)
}

fn is_among(known: &[&str], key: &[u8]) -> bool {
    known.iter().any(|known| known.as_bytes() == key)
}

fn known_in(section: &str) -> Option<&'static [&'static str]> {
    MODULES.iter().find(|(module, _)| *module == section).map(|(_, keys)| *keys)
}

/// The only module that reads the key.
fn module_of(key: &[u8]) -> Option<&'static str> {
    let owner = MODULES.iter().find(|(_, keys)| is_among(keys, key));
    owner.map(|(module, _)| *module).filter(|_| key != MODULE_ENABLED_KEY.as_bytes())
}

/// The most similar known key, if any is similar.
pub(super) fn meant(key: &str) -> Option<&'static str> {
    nearest(key, DOCKER, &DOCKER_KEYS)
}

/// The section's key most similar to this one, with or without the section's name as a prefix.
fn nearest(key: &str, section: &str, known: &[&'static str]) -> Option<&'static str> {
    if key.len() > LONGEST {
        return None;
    }
    let key = key.to_ascii_lowercase().replace('_', "-");
    let with_prefix = format!("{section}.{key}");
    let distance =
        |known: &str| strsim::levenshtein(&key, known).min(strsim::levenshtein(&with_prefix, known));
    let nearest = known.iter().copied().min_by_key(|known| distance(known))?;
    (distance(nearest) <= nearest.len() / 4).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::meant;

    #[test]
    fn names_the_key_that_was_meant() {
        let check = |key: &str, expected: Option<&str>| assert_eq!(meant(key), expected, "{key}");
        check("docker.trusted.registrations", Some("docker.trusted.registries"));
        check("docker.trusted.registry", Some("docker.trusted.registries"));
        check("trusted.registries", Some("docker.trusted.registries"));
        check("docker.privileged-containers.registry", Some("docker.privileged-containers.registries"));
        check("Docker.Trusted.Registries", Some("docker.trusted.registries"));
        check("docker.allowed.ro_mounts", Some("docker.allowed.ro-mounts"));
        check("module.enable", Some("module.enabled"));
        check("gpu.allowed-device-minor-numbers", None);
        check(&"x".repeat(101), None);
        assert_eq!(super::meant_in_head(b"banned.user"), Some("banned.users"));
        assert_eq!(super::meant_in_head(b"feature.docker.enable"), Some("feature.docker.enabled"));
        assert_eq!(super::meant_in_head(b"my.own.key"), None);
    }
}
