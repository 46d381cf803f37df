//! What `container-executor --checksetup` reports; the same check runs before every launch.
//!
//! A single wrong owner or mode on the path to the configuration keeps the NodeManager from starting or makes its
//! node unhealthy. The caller supplies the metadata.

#[cfg(test)]
mod tests;

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;

use thiserror::Error;

use super::Rules;
use super::executor_config::{ExecutorConfig, NM_GROUP_KEY, ParseError, lossy};

/// Owner and mode of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// For messages only; invalid UTF-8 in it may be replaced.
    pub path: String,
    /// The owner.
    pub uid: u32,
    /// Permission bits with set-id and sticky bits; file type bits are ignored.
    pub mode: u32,
}

/// Owner and mode of the container-executor binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binary {
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Permission bits with set-id and sticky bits.
    pub mode: u32,
}

/// What the configuration's path leads to.
#[derive(Clone, Copy, Debug)]
pub enum ConfigTarget<'a> {
    /// A directory instead of a file.
    Directory,
    /// A file, parsed or not.
    File(Result<&'a ExecutorConfig, &'a ParseError>),
}

/// The facts that the check depends on.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// The configuration file with all links resolved, then each of its parents, excluding the root.
    pub chain: &'a [Owned],
    /// What the first path of the chain is.
    pub content: ConfigTarget<'a>,
    /// The group id of the NodeManager's group; None if the system has no such group.
    pub group: Option<u32>,
    /// None leaves the binary unchecked.
    pub binary: Option<Binary>,
}

/// The first fault that container-executor finds; the messages describe the variants.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SetupFault {
    #[error("the configuration file is missing")]
    Missing,
    #[error("{path} is owned by uid {uid} instead of root")]
    Owner { path: String, uid: u32 },
    #[error("{path} is writable by its group or by others: mode {mode:03o}")]
    Writable { path: String, mode: u32 },
    #[error("{path} is a directory")]
    Directory { path: String },
    #[error("{path} cannot be parsed")]
    Unparsable {
        path: String,
        #[source]
        cause: ParseError,
    },
    #[error("the configuration does not name the NodeManager's group before its first section")]
    NoGroup,
    #[error("the NodeManager's group {group} does not exist")]
    UnknownGroup { group: String },
    #[error("the container-executor binary is not owned by root")]
    BinaryOwner,
    #[error("the container-executor binary is owned by gid {actual} instead of {expected}")]
    BinaryGroup { expected: u32, actual: u32 },
    #[error("the container-executor binary is writable or executable by others")]
    BinaryOpen,
    #[error("the container-executor binary is not set-user-id")]
    BinaryNotSetuid,
}

/// How container-executor ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With this exit code.
    Exit(u8),
    /// Killed by its C library, which found corrupted memory.
    Abort,
}

/// Runs all checks in container-executor's order.
pub fn check(setup: &Setup<'_>) -> Result<(), SetupFault> {
    let file = setup.chain.first().ok_or(SetupFault::Missing)?;
    for owned in setup.chain {
        check_only_root_writable(owned)?;
    }
    let config = match setup.content {
        ConfigTarget::File(Ok(config)) => config,
        ConfigTarget::File(Err(cause)) => {
            return Err(SetupFault::Unparsable { path: file.path.clone(), cause: cause.clone() });
        }
        ConfigTarget::Directory => {
            let path = file.path.clone();
            return Err(SetupFault::Directory { path });
        }
    };
    let name = config.nm_group().ok_or(SetupFault::NoGroup)?;
    let group = setup.group.ok_or_else(|| SetupFault::UnknownGroup { group: lossy(name).into_owned() })?;
    setup.binary.map_or(Ok(()), |binary| check_binary(binary, group))
}

impl SetupFault {
    /// How container-executor ends on this fault.
    pub fn ending(&self) -> Ending {
        match self {
            Self::Unparsable { cause: ParseError::NothingConfigured { rules: Rules::V3_2 }, .. } => {
                Ending::Abort
            }
            Self::Unparsable { cause, .. } => cause.exit_code().map_or(Ending::Abort, Ending::Exit),
            Self::BinaryOwner | Self::BinaryGroup { .. } | Self::BinaryOpen | Self::BinaryNotSetuid => {
                Ending::Exit(INVALID_CONTAINER_EXEC_PERMISSIONS)
            }
            _ => Ending::Exit(INVALID_CONFIG_FILE),
        }
    }

    /// What container-executor writes to stderr, as far as that can be predicted.
    pub fn native_message(&self) -> String {
        match self {
            Self::Missing => "Configuration file not found.".to_owned(),
            Self::Owner { path, uid } => {
                format!("File {path} must be owned by root, but is owned by {uid}")
            }
            Self::Writable { path, mode } => {
                format!("File {path} must not be world or group writable, but is {mode:03o}")
            }
            Self::Directory { .. } => "Line read returned -1 without eof".to_owned(),
            Self::Unparsable { path, cause } => {
                let message = cause.native_message(path);
                match cause {
                    // The 3.2 code continues after an empty file until it finds no group.
                    ParseError::NothingConfigured { rules: Rules::V3_2 } => {
                        format!("{message}\n{}", Self::NoGroup.native_message())
                    }
                    _ => message,
                }
            }
            Self::NoGroup => format!("Can't get configured value for {NM_GROUP_KEY}."),
            Self::UnknownGroup { group } => format!("Can't get group information for {group}"),
            Self::BinaryOwner | Self::BinaryGroup { .. } | Self::BinaryOpen | Self::BinaryNotSetuid => {
                "Invalid permissions on container-executor binary.".to_owned()
            }
        }
    }
}

const INVALID_CONTAINER_EXEC_PERMISSIONS: u8 = 22;
const INVALID_CONFIG_FILE: u8 = 24;

const GROUP_OR_OTHERS_WRITE: u32 = 0o022;
const OTHERS_WRITE_OR_EXECUTE: u32 = 0o003;
const SET_USER_ID: u32 = 0o4000;
const PERMISSIONS: u32 = 0o7777;

fn check_only_root_writable(owned: &Owned) -> Result<(), SetupFault> {
    let path = || owned.path.clone();
    if owned.uid != 0 {
        let uid = owned.uid;
        return Err(SetupFault::Owner { path: path(), uid });
    }
    if owned.mode & GROUP_OR_OTHERS_WRITE != 0 {
        let mode = owned.mode & PERMISSIONS;
        return Err(SetupFault::Writable { path: path(), mode });
    }
    Ok(())
}

fn check_binary(binary: Binary, group: u32) -> Result<(), SetupFault> {
    if binary.uid != 0 {
        return Err(SetupFault::BinaryOwner);
    }
    if binary.gid != group {
        return Err(SetupFault::BinaryGroup { expected: group, actual: binary.gid });
    }
    if binary.mode & OTHERS_WRITE_OR_EXECUTE != 0 {
        return Err(SetupFault::BinaryOpen);
    }
    if binary.mode & SET_USER_ID == 0 {
        return Err(SetupFault::BinaryNotSetuid);
    }
    Ok(())
}
