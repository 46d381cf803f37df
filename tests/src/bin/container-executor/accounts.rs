//! The accounts the program acts as: root, the NodeManager's user, a job's user.

use std::ffi::CString;
use std::path::Path;

use nix::unistd::{Gid, Uid, User, getgid, getuid, initgroups, setegid, seteuid, setgid, setuid};

use crate::exit::{self, Failure};

/// The user and group that started this program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NodeManager {
    uid: Uid,
    pub gid: Gid,
}

/// A job's user.
#[derive(Debug)]
pub(crate) struct Account {
    pub uid: Uid,
    pub gid: Gid,
    name: CString,
}

impl NodeManager {
    /// Makes root the real user too, so that the effective user can switch back and forth.
    pub(crate) fn become_root() -> Result<Self, Failure> {
        let manager = Self { uid: getuid(), gid: getgid() };
        setuid(Uid::from_raw(0)).map_err(not_changed)?;
        Ok(manager)
    }

    /// Runs `action` with the NodeManager's rights.
    pub(crate) fn act<T>(&self, action: impl FnOnce() -> T) -> Result<T, Failure> {
        act_as(self.uid, self.gid, action)
    }

    pub(crate) fn read(&self, path: &Path) -> Result<Vec<u8>, Failure> {
        self.act(|| std::fs::read(path))?.map_err(|error| {
            Failure::new(
                exit::COULD_NOT_CREATE_WORK_DIRECTORIES,
                format!("Could not open file {} - {error}", path.display()),
            )
        })
    }
}

impl Account {
    pub(crate) fn of(user: User) -> Result<Self, Failure> {
        let name =
            CString::new(user.name).map_err(|_| Failure::new(exit::USER_REFUSED, "Invalid user name"))?;
        Ok(Self { uid: user.uid, gid: user.gid, name })
    }

    /// Runs `action` with the user's rights.
    pub(crate) fn act<T>(&self, action: impl FnOnce() -> T) -> Result<T, Failure> {
        act_as(self.uid, self.gid, action)
    }

    /// Drops root privileges for good.
    pub(crate) fn become_it(&self) -> Result<(), Failure> {
        initgroups(&self.name, self.gid).map_err(not_changed)?;
        setgid(self.gid).map_err(not_changed)?;
        setuid(self.uid).map_err(not_changed)
    }
}

/// Runs `action` as root from within code that runs as the NodeManager.
pub(crate) fn act_as_root<T>(action: impl FnOnce() -> T) -> Result<T, Failure> {
    act_as(Uid::from_raw(0), nix::unistd::getegid(), action)
}

fn act_as<T>(uid: Uid, gid: Gid, action: impl FnOnce() -> T) -> Result<T, Failure> {
    let (before_uid, before_gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    // Only root can change identity.
    seteuid(Uid::from_raw(0)).map_err(not_changed)?;
    setegid(gid).map_err(not_changed)?;
    seteuid(uid).map_err(not_changed)?;
    let outcome = action();
    seteuid(Uid::from_raw(0)).map_err(not_changed)?;
    setegid(before_gid).map_err(not_changed)?;
    seteuid(before_uid).map_err(not_changed)?;
    Ok(outcome)
}

fn not_changed(error: nix::Error) -> Failure {
    Failure::new(exit::SETUID_OPER_FAILED, format!("Failed to change the user - {}", error.desc()))
}
