//! The mounts that a job requests in `YARN_CONTAINER_RUNTIME_DOCKER_MOUNTS`, as the NodeManager reads them.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use thiserror::Error;

/// The propagations that Java's pattern for modes accepts.
const PROPAGATIONS: [&str; 6] = ["shared", "rshared", "slave", "rslave", "private", "rprivate"];

/// A mount as the NodeManager passes it to container-executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestedMount {
    pub source: String,
    pub destination: String,
    /// `ro` or `rw`, and an optional propagation after a `+`.
    pub mode: String,
}

/// Why the NodeManager fails the launch without calling container-executor.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RequestError {
    #[error("the mount `{mount}` is not SRC:DST or SRC:DST:MODE with the mode ro, rw or a propagation")]
    NotUnderstood { mount: String },
    #[error(
        "the source of the mount `{mount}` is not an absolute path, so it must be a resource that the job localizes"
    )]
    Relative { mount: String },
}

impl RequestedMount {
    /// `source:destination:mode`, as in the launch command.
    pub fn command(&self) -> String {
        format!("{}:{}:{}", self.source, self.destination, self.mode)
    }

    pub fn is_read_only(&self) -> bool {
        self.mode.starts_with("ro")
    }

    /// The propagation, such as `rslave`.
    pub fn propagation(&self) -> Option<&str> {
        self.mode.split_once('+').map(|(_, propagation)| propagation)
    }

    fn parse(mount: &str) -> Option<Self> {
        let mut parts = mount.splitn(3, ':');
        let (source, destination) = (parts.next()?, parts.next()?);
        let is_sound = |part: &str| !part.is_empty() && !part.contains('\0');
        let mode = match parts.next() {
            None => "rw".to_owned(),
            Some(mode @ ("ro" | "rw")) => mode.to_owned(),
            Some(mode) if PROPAGATIONS.contains(&mode) => format!("rw+{mode}"),
            Some(mode) => {
                let (access, propagation) = mode.split_once('+')?;
                let is_known = matches!(access, "ro" | "rw") && PROPAGATIONS.contains(&propagation);
                is_known.then(|| mode.to_owned())?
            }
        };
        let sound = is_sound(source) && is_sound(destination);
        sound.then(|| Self { source: source.to_owned(), destination: destination.to_owned(), mode })
    }
}

/// Parses the whole list: each part between commas must be a mount, so empty parts fail.
pub fn parse_list(list: &str) -> Result<Vec<RequestedMount>, RequestError> {
    let parse = |mount: &str| {
        let named = || mount.to_owned();
        let parsed =
            RequestedMount::parse(mount).ok_or_else(|| RequestError::NotUnderstood { mount: named() })?;
        if !parsed.source.starts_with('/') {
            return Err(RequestError::Relative { mount: named() });
        }
        Ok(parsed)
    };
    list.split(',').map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_by_the_java_pattern() {
        let check = |list: &str, expected: Option<&[&str]>| {
            let found = parse_list(list).ok();
            let found = found.map(|mounts| mounts.iter().map(RequestedMount::command).collect::<Vec<_>>());
            assert_eq!(
                found.as_deref(),
                expected.map(|list| list.iter().map(|&m| m.to_owned()).collect::<Vec<_>>()).as_deref(),
                "{list:?}"
            );
        };
        check("/a:/b", Some(&["/a:/b:rw"]));
        check("/a:/b:ro,/c:/d:rw", Some(&["/a:/b:ro", "/c:/d:rw"]));
        check("/a:/b:rslave", Some(&["/a:/b:rw+rslave"]));
        check("/a:/b:ro+private", Some(&["/a:/b:ro+private"]));
        for wrong in
            ["", "/a", "/a:", ":/b", "/a:/b:RO", "/a:/b: ro", "/a:/b:", "/a:/b:ro,", ",/a:/b", "/a:/b:ro:rw"]
        {
            check(wrong, None);
        }
        for wrong in ["/a\0:/b", "/a:/b\0", "/a:/b:odd", "/a:/b:ro+odd", "/a:/b:odd+slave"] {
            check(wrong, None);
        }
        let modes = |list: &str| {
            let mounts = parse_list(list).expect("a good list");
            mounts
                .iter()
                .map(|mount| (mount.is_read_only(), mount.propagation().map(str::to_owned)))
                .collect::<Vec<_>>()
        };
        let slave = || Some("slave".to_owned());
        assert_eq!(
            modes("/a:/b,/a:/b:ro,/a:/b:slave,/a:/b:ro+slave"),
            [(false, None), (true, None), (false, slave()), (true, slave())]
        );
        assert!(matches!(parse_list("a:/b"), Err(RequestError::Relative { .. })));
        assert!(matches!(parse_list("/a:/b,\n/c:/d"), Err(RequestError::Relative { .. })));
    }
}
