//! Checks on every call: the configuration, who may have written it, this binary itself, and which users may run
//! containers.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hadoop_rules::Rules;
use hadoop_rules::executor_config::ExecutorConfig;
use hadoop_rules::setup::{self, Binary, ConfigTarget, Ending, Owned, Setup, SetupFault};
use hadoop_rules::users::{self, UserRefusal};
use nix::unistd::{Group, User};

use crate::accounts::Account;
use crate::exit::{self, Failure};

const CONFIGURATION: &str = "/etc/hadoop/conf/container-executor.cfg";

/// A configuration that has passed the checks.
pub(crate) struct Installation {
    pub config: ExecutorConfig,
    /// The path, with links resolved.
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
            None => ConfigTarget::Directory,
            Some(parsed) => ConfigTarget::File(parsed.as_ref()),
        };
        let setup = Setup { chain: &chain, content, group, binary: binary() };
        setup::check(&setup).map_err(|fault| failure(&fault))?;
        let config = parsed.and_then(Result::ok).ok_or_else(missing)?;
        Ok(Self { config, path })
    }

    /// Returns the user `name` if the configuration allows it to run containers.
    pub(crate) fn user(&self, name: &str) -> Result<Account, Failure> {
        let refused = |refusal: UserRefusal| Failure::new(exit::USER_REFUSED, refusal.to_string());
        let user = User::from_name(name).ok().flatten();
        users::check(&self.config, name.as_bytes(), user.as_ref().map(|user| user.uid.as_raw()))
            .map_err(refused)?;
        let unknown = || refused(UserRefusal::Unknown { user: name.into() });
        Account::of(user.ok_or_else(unknown)?)
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
