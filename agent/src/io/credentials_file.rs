//! The static credentials file. Its owner and mode are checked on the opened file, so that only root and the agent's
//! own user can have written or read it. The agent never writes it.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use domain::credentials::{BadCredentials, StaticCredentials};
use domain::documents::Document;
use jiff::Timestamp;
use thiserror::Error;

use crate::io::disk::{self, DiskError};

/// Larger files are not lists of registries.
const LARGEST: u64 = 1 << 20;

/// Why the file is not used.
#[derive(Debug, Error)]
pub(crate) enum CredentialsFileError {
    #[error("cannot use static credentials")]
    Disk(#[from] DiskError),
    #[error("static credentials file {} does not exist", path.display())]
    Missing { path: PathBuf },
    #[error("static credentials file {} is owned by uid {uid}: chown root {}", path.display(), path.display())]
    Owner { path: PathBuf, uid: u32 },
    #[error("static credentials file {} is open to others (mode {mode:04o}): chmod 0600 {}", path.display(), path.display())]
    Open { path: PathBuf, mode: u32 },
    #[error("cannot use static credentials in {}", path.display())]
    Content { path: PathBuf, source: BadCredentials },
}

/// Reads the file if only root and this process's user can write and read it.
pub(crate) fn read(path: &Path) -> Result<StaticCredentials, CredentialsFileError> {
    let own = || path.to_owned();
    let file = disk::open(path)?.ok_or_else(|| CredentialsFileError::Missing { path: own() })?;
    let metadata = file.metadata().clone();
    let uid = metadata.uid();
    if uid != 0 && uid != nix::unistd::geteuid().as_raw() {
        return Err(CredentialsFileError::Owner { path: own(), uid });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(CredentialsFileError::Open { path: own(), mode });
    }
    let bytes = file.read(LARGEST)?;
    let set_at = Timestamp::new(metadata.mtime(), i32::try_from(metadata.mtime_nsec()).unwrap_or_default());
    StaticCredentials::parse(&Document::new(bytes), set_at.unwrap_or(Timestamp::UNIX_EPOCH))
        .map_err(|source| CredentialsFileError::Content { path: own(), source })
}
