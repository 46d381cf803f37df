//! Whether container-executor allows the mounts that a container requests.
//!
//! Sources are compared after their links are resolved; destinations are ignored. [`Paths`] resolves paths on the
//! node.

mod permitted;
mod request;
mod requested;

#[cfg(test)]
pub(super) mod fake_paths;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use thiserror::Error;

use self::permitted::{Comparison, Permitted, Source};
use self::request::Request;
pub use self::requested::{RequestError, RequestedMount, parse_list};
use super::Rules;
use super::ere::InvalidPattern;
use super::executor_config::{DOCKER, ExecutorConfig};

/// Sources that may be mounted read-only.
pub const RO_MOUNTS_KEY: &str = "docker.allowed.ro-mounts";
/// Sources that may be mounted read-write, and read-only too.
pub const RW_MOUNTS_KEY: &str = "docker.allowed.rw-mounts";

/// The node's file system, as the NodeManager's user sees it.
pub trait Paths {
    /// The absolute path with all links resolved; None if there is nothing or access is denied.
    fn realpath(&self, path: &[u8]) -> Option<Vec<u8>>;
    /// Whether a resolved path is a directory.
    fn is_directory(&self, path: &[u8]) -> bool;
}

/// Why mounts, and with them the launch, are refused. `mount` and `entry` are as written.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MountRefusal {
    #[error("the allowed mount `{}` does not exist on the node", super::executor_config::lossy(.entry))]
    AllowedMountMissing { key: &'static str, entry: Vec<u8> },
    #[error("the mount `{}` is malformed", super::executor_config::lossy(.mount))]
    Malformed { mount: Vec<u8> },
    #[error("the source of the mount `{}` does not exist on the node", super::executor_config::lossy(.mount))]
    SourceMissing { mount: Vec<u8> },
    #[error("the mount `{}` is not allowed read-only", super::executor_config::lossy(.mount))]
    ReadOnly { mount: Vec<u8> },
    #[error("the mount `{}` is not allowed read-write", super::executor_config::lossy(.mount))]
    ReadWrite { mount: Vec<u8> },
    #[error("the mount `{}` would make container-executor's configuration writable", super::executor_config::lossy(.mount))]
    CoversConfig { mount: Vec<u8> },
    #[error("an allowed mount holds a pattern that cannot be compiled")]
    Pattern(#[source] InvalidPattern),
}

impl MountRefusal {
    /// The name of the native error code.
    pub fn native_name(&self, rules: Rules) -> &'static str {
        match (self, rules) {
            (Self::AllowedMountMissing { .. }, _) => "MOUNT_ACCESS_ERROR",
            (Self::Malformed { .. } | Self::SourceMissing { .. }, Rules::V3_2) => "INVALID_DOCKER_MOUNT",
            (Self::Malformed { .. } | Self::SourceMissing { .. }, Rules::V3_3 | Rules::V3_4) => {
                "INVALID_MOUNT"
            }
            (Self::ReadOnly { .. }, Rules::V3_2) => "INVALID_DOCKER_RO_MOUNT",
            (Self::ReadOnly { .. }, Rules::V3_3 | Rules::V3_4) => "INVALID_RO_MOUNT",
            (Self::ReadWrite { .. } | Self::CoversConfig { .. }, Rules::V3_2) => "INVALID_DOCKER_RW_MOUNT",
            (Self::ReadWrite { .. } | Self::CoversConfig { .. }, Rules::V3_3 | Rules::V3_4) => {
                "INVALID_RW_MOUNT"
            }
            (Self::Pattern(_), _) => "ERROR_COMPILING_REGEX",
        }
    }

    /// The number in `docker error code=…`; for [`Self::Pattern`] the exit code itself.
    pub fn native_number(&self, rules: Rules) -> i32 {
        let (v3_2, v3_3) = match self {
            Self::Malformed { .. } | Self::SourceMissing { .. } => (13, 49),
            Self::ReadOnly { .. } => (14, 50),
            Self::ReadWrite { .. } | Self::CoversConfig { .. } => (15, 51),
            Self::AllowedMountMissing { .. } => (16, 52),
            Self::Pattern(_) => (42, 42),
        };
        match rules {
            Rules::V3_2 => v3_2,
            Rules::V3_3 | Rules::V3_4 => v3_3,
        }
    }
}

/// Checks the mounts of a trusted image and returns the value of each `-v` for docker.
///
/// `requests` are `source:destination:mode` as in the launch command; `config_file` is the resolved path of
/// container-executor's own configuration.
pub fn check(
    config: &ExecutorConfig,
    requests: &[&[u8]],
    config_file: &[u8],
    paths: &dyn Paths,
) -> Result<Vec<Vec<u8>>, MountRefusal> {
    let rules = config.rules();
    let parse = |mount: &&[u8]| Request::parse(mount, rules);
    let resolve = || Lists::resolve(config, paths);
    // The 3.3 code parses all requests before any list; the 3.2 code starts with the lists and stops at the first
    // mount it refuses.
    if rules != Rules::V3_2 {
        let requests: Vec<_> = requests.iter().map(parse).collect::<Result<_, _>>()?;
        let lists = resolve()?;
        for request in &requests {
            lists.check(request, config_file, paths)?;
        }
        return Ok(requests.into_iter().map(|request| request.volume).collect());
    }
    let lists = resolve()?;
    let mut volumes = Vec::new();
    for request in requests {
        let request = parse(request)?;
        lists.check(&request, config_file, paths)?;
        volumes.push(request.volume);
    }
    Ok(volumes)
}

/// The two allowed lists; None where the key is absent.
struct Lists {
    read_only: Option<Vec<Permitted>>,
    read_write: Option<Vec<Permitted>>,
}

impl Lists {
    fn resolve(config: &ExecutorConfig, paths: &dyn Paths) -> Result<Self, MountRefusal> {
        Ok(Self {
            read_only: resolve_list(config, RO_MOUNTS_KEY, paths)?,
            read_write: resolve_list(config, RW_MOUNTS_KEY, paths)?,
        })
    }

    fn check(&self, request: &Request, config_file: &[u8], paths: &dyn Paths) -> Result<(), MountRefusal> {
        let mount = || request.mount.clone();
        let source = permitted::normalize(&request.source, paths);
        let any_list = self.read_only.is_some() || self.read_write.is_some();
        if source.is_none() && any_list {
            return Err(MountRefusal::SourceMissing { mount: mount() });
        }
        let (in_read_write, in_read_only) = match &source {
            Some(source) => self.compare(source).map_err(MountRefusal::Pattern)?,
            None => (false, false),
        };
        if !request.read_write {
            return if in_read_only || in_read_write {
                Ok(())
            } else {
                Err(MountRefusal::ReadOnly { mount: mount() })
            };
        }
        if !in_read_write {
            return Err(MountRefusal::ReadWrite { mount: mount() });
        }
        if source.is_some_and(|source| source.covers(config_file)) {
            return Err(MountRefusal::CoversConfig { mount: mount() });
        }
        Ok(())
    }

    /// Whether the read-write list and the read-only list permit the source.
    fn compare(&self, source: &Source) -> Result<(bool, bool), InvalidPattern> {
        let mut comparison = Comparison::of(source);
        let mut permits = |list: &Option<Vec<Permitted>>| match list {
            Some(list) => comparison.permits(list),
            None => Ok(false),
        };
        Ok((permits(&self.read_write)?, permits(&self.read_only)?))
    }
}

fn resolve_list(
    config: &ExecutorConfig,
    key: &'static str,
    paths: &dyn Paths,
) -> Result<Option<Vec<Permitted>>, MountRefusal> {
    let Some(entries) = config.list(DOCKER, key) else {
        return Ok(None);
    };
    let resolve = |entry: &[u8]| {
        Permitted::resolve(entry, paths)
            .ok_or_else(|| MountRefusal::AllowedMountMissing { key, entry: entry.to_vec() })
    };
    entries.iter().map(resolve).collect::<Result<_, _>>().map(Some)
}
