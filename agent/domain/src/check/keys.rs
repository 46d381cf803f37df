//! Keys that Hadoop does not know, or does not read where they are.

use hadoop_rules::executor_config::{DOCKER, Entry, ExecutorConfig, HEAD, lossy};

use crate::findings::{Finding, Findings, Fix, clipped, codes};

/// All that Hadoop reads in `[docker]`, in any version.
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
/// Of the keys above, the one that is also read above the first section.
const IN_HEAD_TOO: &str = "docker.binary";
/// Longer keys are compared with nothing.
const LONGEST: usize = 100;

/// Every key of `[docker]` that is not known, and every Docker key elsewhere.
pub(super) fn check(path: &str, config: &ExecutorConfig, found: &mut Findings) {
    for entry in config.entries(DOCKER) {
        if !is_docker_key(entry.key) {
            found.add(unknown(path, entry));
        }
        if !found.wants(codes::UNKNOWN_KEY) {
            break;
        }
    }
    for section in config.sections().filter(|section| *section != DOCKER.as_bytes()) {
        let Ok(name) = std::str::from_utf8(section) else { continue };
        let misplaced = |entry: &Entry<'_>| {
            let switch = entry.key == b"module.enabled" && name == HEAD;
            let docker =
                entry.key.starts_with(b"docker.") && !(name == HEAD && entry.key == IN_HEAD_TOO.as_bytes());
            (switch || docker) && is_docker_key(entry.key)
        };
        for entry in config.entries(name).filter(misplaced) {
            found.add(elsewhere(path, name, entry));
        }
    }
}

fn unknown(path: &str, entry: Entry<'_>) -> Finding {
    let key = lossy(clipped(entry.key));
    let finding = match meant(&key) {
        Some(meant) => Finding::new(
            codes::UNKNOWN_KEY,
            format!("Hadoop knows no key `{key}`; `{meant}` was probably meant"),
        )
        .fix(Fix::replace_entry(meant, lossy(clipped(entry.value)))),
        None => {
            Finding::new(codes::UNKNOWN_KEY, format!("Hadoop knows no key `{key}` in the section [docker]"))
                .fix(Fix::manual("remove the line, or move it to the section it belongs to"))
        }
    };
    finding.in_file(path).at(entry.line).about(entry.key)
}

fn elsewhere(path: &str, section: &str, entry: Entry<'_>) -> Finding {
    let place = if section == HEAD {
        "above the first section".to_owned()
    } else {
        format!("in the section [{section}]")
    };
    let key = lossy(entry.key);
    Finding::new(codes::KEY_IN_WRONG_SECTION, format!("`{key}` is {place}; Hadoop reads it in [docker] only"))
        .fix(Fix::set(DOCKER, &key, lossy(clipped(entry.value))))
        .in_file(path)
        .at(entry.line)
        .about(entry.key)
}

fn is_docker_key(key: &[u8]) -> bool {
    DOCKER_KEYS.iter().any(|known| known.as_bytes() == key)
}

/// The known key that looks most like this one, if any looks like it.
pub(super) fn meant(key: &str) -> Option<&'static str> {
    if key.len() > LONGEST {
        return None;
    }
    let key = key.to_ascii_lowercase().replace('_', "-");
    let with_prefix = format!("docker.{key}");
    let distance =
        |known: &str| strsim::levenshtein(&key, known).min(strsim::levenshtein(&with_prefix, known));
    let nearest = DOCKER_KEYS.into_iter().min_by_key(|known| distance(known))?;
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
    }
}
