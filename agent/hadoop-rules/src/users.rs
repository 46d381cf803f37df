//! The users for which container-executor runs containers.

use alloc::vec::Vec;

use thiserror::Error;

use super::executor_config::{ExecutorConfig, HEAD, lossy};

pub const BANNED_USERS_KEY: &str = "banned.users";
pub const MINIMUM_ID_KEY: &str = "min.user.id";
pub const ALLOWED_USERS_KEY: &str = "allowed.system.users";
const BANNED_BY_DEFAULT: [&[u8]; 4] = [b"yarn", b"mapred", b"hdfs", b"bin"];
/// The lowest id of a user unless the configuration sets another.
pub const MINIMUM_ID: u32 = 1000;

/// Why container-executor refuses to run containers for a user.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum UserRefusal {
    #[error("Running as root is not allowed")]
    Root,
    #[error("Illegal value of {} for {MINIMUM_ID_KEY} in configuration", lossy(.value))]
    IllegalMinimum { value: Vec<u8> },
    #[error("Requested user {} is banned", lossy(.user))]
    Banned { user: Vec<u8> },
    #[error("User {} not found", lossy(.user))]
    Unknown { user: Vec<u8> },
    #[error(
        "Requested user {} is not whitelisted and has id {id},which is below the minimum allowed {minimum}",
        lossy(.user)
    )]
    BelowMinimum { user: Vec<u8>, id: u32, minimum: u32 },
}

/// Whether container-executor runs containers for a user with this id; `None` if the node has no such user.
pub fn check(config: &ExecutorConfig, user: &[u8], id: Option<u32>) -> Result<(), UserRefusal> {
    match minimum_id(config) {
        Err(_) if user == b"root" => Err(UserRefusal::Root),
        minimum => check_from(minimum?, config, user, id),
    }
}

/// Like [`check`], but with this lowest id instead of the configured one.
pub fn check_from(
    minimum: u32,
    config: &ExecutorConfig,
    user: &[u8],
    id: Option<u32>,
) -> Result<(), UserRefusal> {
    if user == b"root" {
        return Err(UserRefusal::Root);
    }
    let named = || user.to_vec();
    let is_banned = match config.list(HEAD, BANNED_USERS_KEY) {
        Some(banned) => banned.contains(user),
        None => BANNED_BY_DEFAULT.contains(&user),
    };
    if is_banned {
        return Err(UserRefusal::Banned { user: named() });
    }
    let id = id.ok_or_else(|| UserRefusal::Unknown { user: named() })?;
    let is_allowed = config.list(HEAD, ALLOWED_USERS_KEY).is_some_and(|list| list.contains(user));
    if id < minimum && !is_allowed {
        return Err(UserRefusal::BelowMinimum { user: named(), id, minimum });
    }
    Ok(())
}

/// The lowest id of users that are not allowed by name; a value that is not a number fails every launch.
pub fn minimum_id(config: &ExecutorConfig) -> Result<u32, UserRefusal> {
    let Some(value) = config.get(HEAD, MINIMUM_ID_KEY) else { return Ok(MINIMUM_ID) };
    let number = core::str::from_utf8(value).ok().and_then(|value| value.parse::<i32>().ok());
    // C compares it with the unsigned user id.
    number.map(i32::cast_unsigned).ok_or_else(|| UserRefusal::IllegalMinimum { value: value.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rules;

    #[test]
    fn users_are_refused_as_by_the_native_code() {
        let check = |head: &str, user: &str, id: Option<u32>, expected: Option<&str>| {
            let config = ExecutorConfig::parse(head, Rules::V3_3).expect("a configuration");
            let refusal = check(&config, user.as_bytes(), id).err().map(|refusal| refusal.to_string());
            assert_eq!(refusal.as_deref(), expected, "{head} {user}");
        };
        let banned = |user| format!("Requested user {user} is banned");
        check("a=b", "hadoop", Some(1003), None);
        check("a=b", "root", Some(0), Some("Running as root is not allowed"));
        check("a=b", "hdfs", Some(1002), Some(&banned("hdfs")));
        check("a=b\nbanned.users=", "hdfs", Some(1002), Some(&banned("hdfs")));
        check("banned.users=bin", "hdfs", Some(1002), None);
        check("banned.users=bin,hadoop", "hadoop", Some(1003), Some(&banned("hadoop")));
        check("banned.users=bin, hadoop", "hadoop", Some(1003), None);
        check("a=b", "nosuch", None, Some("User nosuch not found"));
        let below =
            "Requested user u is not whitelisted and has id 999,which is below the minimum allowed 1000";
        check("a=b", "u", Some(999), Some(below));
        check("allowed.system.users=u", "u", Some(999), None);
        check("min.user.id=500", "u", Some(999), None);
        check("a=b", "u", Some(1000), None);
        check("min.user.id=abc", "root", Some(0), Some("Running as root is not allowed"));
        check(
            "min.user.id=-1\nallowed.system.users=v",
            "u",
            Some(999),
            Some(&below.replace("1000", "4294967295")),
        );
        let illegal = "Illegal value of abc for min.user.id in configuration";
        check("min.user.id=abc\nallowed.system.users=u", "u", Some(999), Some(illegal));
    }
}
