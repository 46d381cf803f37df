//! Which images container-executor trusts, and which may run privileged.
//!
//! Trust is a plain byte prefix: no wildcard, no default registry, no case folding. An image that
//! is not trusted is not refused; it runs without its mounts and capabilities.

use thiserror::Error;

use super::Rules;
use super::executor_config::{DOCKER, ExecutorConfig, List, PRIVILEGED_ENABLED_KEY};

/// What the launch requests, which decides which list counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// Without `privileged=true`.
    Normal,
    /// With `privileged=true`.
    Privileged,
}

/// The list entry that makes the image trusted, if one does. `image` is the name as read from the
/// launch command file (see [`super::image_name::in_command_file`]).
pub fn trusting_entry<'c>(
    config: &'c ExecutorConfig,
    container: Container,
    image: &[u8],
) -> Option<&'c [u8]> {
    registries(config, container)?.iter().find(|entry| entry_trusts(entry, image, config.rules()))
}

/// Whether an entry trusts the image; `image` as for [`trusting_entry`].
pub fn is_trusted(config: &ExecutorConfig, container: Container, image: &[u8]) -> bool {
    trusting_entry(config, container, image).is_some()
}

/// The list that counts for this kind of container; None if no key gives one.
///
/// Since 3.3, privileged containers have their own list. If it is absent, but not if it is empty, the common one
/// counts.
pub fn registries(config: &ExecutorConfig, container: Container) -> Option<List<'_>> {
    match (config.rules(), container) {
        (Rules::V3_3 | Rules::V3_4, Container::Privileged) => {
            config.privileged_registries().or_else(|| config.trusted_registries())
        }
        _ => config.trusted_registries(),
    }
}

/// Whether one list entry alone trusts the image.
pub fn entry_trusts(entry: &[u8], image: &[u8], rules: Rules) -> bool {
    let top_level_image = !image.contains(&b'/');
    if rules != Rules::V3_2 && entry.starts_with(b"library") && top_level_image {
        return true;
    }
    let Some(below) = image.strip_prefix(entry) else {
        return false;
    };
    entry.ends_with(b"/") || below.starts_with(b"/")
}

/// What decides whether a launch with `privileged=true` is permitted.
#[derive(Clone, Copy, Debug)]
pub struct PrivilegedRequest<'a> {
    /// As read from the launch command file; None if the line is missing there.
    pub image: Option<&'a [u8]>,
    /// Whether to run the image's own entry point rather than YARN's launch script.
    pub entry_point: bool,
    /// Whether the user is in the group root or docker, or may run docker through sudo.
    pub user_may_run_docker: bool,
}

/// Why a container may not run privileged; the messages describe the variants.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PrivilegedRefusal {
    #[error("privileged containers are not enabled")]
    NotEnabled,
    #[error("privileged containers are allowed in entry-point mode only")]
    NotEntryPoint,
    #[error("the image of the privileged container is not trusted")]
    NotTrusted,
    #[error("the user of the privileged container may not run docker on the host")]
    User,
}

/// Decides whether a container may run privileged; checks in container-executor's order.
pub fn allow_privileged(
    config: &ExecutorConfig,
    request: PrivilegedRequest<'_>,
) -> Result<(), PrivilegedRefusal> {
    if !privileged_enabled(config) {
        return Err(PrivilegedRefusal::NotEnabled);
    }
    if config.rules() != Rules::V3_2 && !request.entry_point {
        return Err(PrivilegedRefusal::NotEntryPoint);
    }
    let trusted = request.image.is_some_and(|image| is_trusted(config, Container::Privileged, image));
    if !trusted {
        return Err(PrivilegedRefusal::NotTrusted);
    }
    if !request.user_may_run_docker {
        return Err(PrivilegedRefusal::User);
    }
    Ok(())
}

/// Whether `docker.privileged-containers.enabled` is `1`, or `true` in any case.
pub fn privileged_enabled(config: &ExecutorConfig) -> bool {
    config.get(DOCKER, PRIVILEGED_ENABLED_KEY).is_some_and(is_one_or_true)
}

pub(super) fn is_one_or_true(value: &[u8]) -> bool {
    value == b"1" || value.eq_ignore_ascii_case(b"true")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Hadoop 3.4 decides as 3.3 does.
    fn as_found<T: Copy>([v3_2, v3_3]: [T; 2]) -> [T; 3] {
        [v3_2, v3_3, v3_3]
    }

    fn check(entry: &str, image: &str, expected: [bool; 2]) {
        let found = Rules::ALL.map(|rules| entry_trusts(entry.as_bytes(), image.as_bytes(), rules));
        assert_eq!(found, as_found(expected), "{entry} on {image}");
    }

    #[test]
    fn entries_are_prefixes_up_to_a_slash() {
        check("host", "host/a", [true, true]);
        check("host", "host", [false, false]);
        check("host", "hosts/a", [false, false]);
        check("host/", "host/a", [true, true]);
        check("host//", "host/a", [false, false]);
        check("host/a", "host/a:1", [false, false]);
        check("", "/a", [true, true]);
        check("", "a", [false, false]);
        check("library", "centos:7", [false, true]);
        check("library/x", "", [false, true]);
        check("Library", "centos", [false, false]);
        check("library", "library/centos", [true, true]);
        check("libraryx", "library/centos", [false, false]);
    }

    #[test]
    fn only_an_absent_privileged_list_falls_back() {
        let table = [
            ("", [true, true]),
            ("docker.privileged-containers.registries= \n", [true, false]),
            ("docker.privileged-containers.registries=\n", [true, true]),
            ("docker.privileged-containers.registries=b\n", [true, false]),
            ("docker.privileged-containers.registries=b,a\n", [true, true]),
        ];
        for (line, expected) in table {
            let text = format!("[docker]\ndocker.trusted.registries=a\n{line}");
            let found = Rules::ALL.map(|rules| {
                let config = ExecutorConfig::parse(text.as_str(), rules).expect("a good one");
                is_trusted(&config, Container::Privileged, b"a/x")
            });
            assert_eq!(found, as_found(expected), "{line}");
        }
    }

    proptest! {
        #[test]
        fn a_longer_list_trusts_no_less(
            list in prop::collection::vec("[a-c/ ]{1,4}", 1..5),
            more in "[a-c/ ]{1,4}",
            image in "[a-c/]{1,8}",
        ) {
            let trusted = |list: &str, rules| {
                let text = format!("[docker]\ndocker.trusted.registries=x,{list},x\n");
                let config = ExecutorConfig::parse(text, rules).expect("a good one");
                is_trusted(&config, Container::Normal, image.as_bytes())
            };
            let shorter = list.join(",");
            let longer = [shorter.as_str(), &more].join(",");
            for rules in Rules::ALL {
                prop_assert!(!trusted(&shorter, rules) || trusted(&longer, rules));
            }
        }
    }
}
