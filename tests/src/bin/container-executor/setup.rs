//! The checks of every call: the configuration, who could have written it, and this very binary; and which users may
//! run containers.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hadoop_rules::Rules;
use hadoop_rules::executor_config::{ExecutorConfig, HEAD, lossy};
use hadoop_rules::setup::{self, Binary, Content, Ending, Owned, Setup, SetupFault};
use nix::unistd::{Group, User};

use crate::accounts::Account;
use crate::exit::{self, Failure};

const CONFIGURATION: &str = "/etc/hadoop/conf/container-executor.cfg";
const BANNED_BY_DEFAULT: [&[u8]; 4] = [b"yarn", b"mapred", b"hdfs", b"bin"];
const MINIMUM_USER_ID: u32 = 1000;

/// A configuration that has passed the checks.
pub(crate) struct Installation {
    pub config: ExecutorConfig,
    /// Where it lies, links resolved.
    pub path: PathBuf,
}

impl Installation {
    pub(crate) fn check() -> Result<Self, Failure> {
        let path = fs::canonicalize(CONFIGURATION).map_err(|_| missing())?;
        let chain = chain(&path).map_err(|_| missing())?;
        let parsed = match fs::read(&path) {
            Ok(text) => Some(ExecutorConfig::parse(text, Rules::V3_3)),
            Err(directory) if directory.kind() == io::ErrorKind::IsADirectory => None,
            Err(_) => return Err(missing()),
        };
        let group = parsed.as_ref().and_then(|parsed| parsed.as_ref().ok()).and_then(group_of);
        let content = match &parsed {
            None => Content::Directory,
            Some(parsed) => Content::File(parsed.as_ref()),
        };
        let setup = Setup { chain: &chain, content, group, binary: binary() };
        setup::check(&setup).map_err(|fault| failure(&fault))?;
        let config = parsed.and_then(Result::ok).ok_or_else(missing)?;
        Ok(Self { config, path })
    }

    /// The user `name`, if the configuration lets it run containers.
    pub(crate) fn user(&self, name: &str) -> Result<Account, Failure> {
        let refused = |message: String| Failure::new(exit::USER_REFUSED, message);
        if name == "root" {
            return Err(refused("Running as root is not allowed".to_owned()));
        }
        let minimum = self.minimum_user_id()?;
        let is_banned = match self.config.list(HEAD, "banned.users") {
            Some(banned) => banned.contains(name.as_bytes()),
            None => BANNED_BY_DEFAULT.contains(&name.as_bytes()),
        };
        if is_banned {
            return Err(refused(format!("Requested user {name} is banned")));
        }
        let user = User::from_name(name).ok().flatten();
        let user = user.ok_or_else(|| refused(format!("User {name} not found")))?;
        let is_allowed =
            self.config.list(HEAD, "allowed.system.users").is_some_and(|list| list.contains(name.as_bytes()));
        if user.uid.as_raw() < minimum && !is_allowed {
            return Err(refused(format!(
                "Requested user {name} is not whitelisted and has id {},which is below the minimum allowed {minimum}",
                user.uid
            )));
        }
        Account::of(user)
    }

    fn minimum_user_id(&self) -> Result<u32, Failure> {
        const KEY: &str = "min.user.id";
        let Some(value) = self.config.get(HEAD, KEY) else { return Ok(MINIMUM_USER_ID) };
        let number = str::from_utf8(value).ok().and_then(|value| value.parse::<i32>().ok());
        // C compares it with the unsigned user id.
        number.map(i32::cast_unsigned).ok_or_else(|| {
            let value = lossy(value);
            Failure::new(exit::USER_REFUSED, format!("Illegal value of {value} for {KEY} in configuration"))
        })
    }
}

fn missing() -> Failure {
    Failure::new(exit::INVALID_CONFIG_FILE, format!("Configuration file {CONFIGURATION} not found."))
}

fn failure(fault: &SetupFault) -> Failure {
    match fault.ending() {
        Ending::Exit(code) => Failure::new(code, fault.native_message()),
        Ending::Abort => std::process::abort(),
    }
}

fn group_of(config: &ExecutorConfig) -> Option<u32> {
    let name = str::from_utf8(config.nm_group()?).ok()?;
    Some(Group::from_name(name).ok()??.gid.as_raw())
}

/// The file, then each of its parents but the root.
fn chain(path: &Path) -> io::Result<Vec<Owned>> {
    let owned = |path: &Path| {
        let metadata = fs::metadata(path)?;
        let path = path.display().to_string();
        Ok(Owned { path, uid: metadata.uid(), mode: metadata.mode() & 0o7777 })
    };
    path.ancestors().filter(|path| path.parent().is_some()).map(owned).collect()
}

fn binary() -> Option<Binary> {
    let metadata = fs::metadata("/proc/self/exe").ok()?;
    Some(Binary { uid: metadata.uid(), gid: metadata.gid(), mode: metadata.mode() & 0o7777 })
}
