//! The file of static credentials: opened once, and judged by what was opened, so that nobody but root
//! and the agent's own user can have written or read it. It is never written.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use domain::credentials::{BadCredentials, StaticCredentials};
use domain::documents::Document;
use jiff::Timestamp;
use thiserror::Error;

/// Larger files are no lists of registries.
const LARGEST: u64 = 1 << 20;

/// Why the file is not used.
#[derive(Debug, Error)]
pub enum CredentialsFileError {
    #[error("the static credentials {} cannot be {operation}", path.display())]
    Io { operation: &'static str, path: PathBuf, source: io::Error },
    #[error("the static credentials {} are no regular file", path.display())]
    NotAFile { path: PathBuf },
    #[error("the static credentials {} are larger than {LARGEST} bytes", path.display())]
    TooLarge { path: PathBuf },
    #[error("the static credentials {} belong to the user {uid}: chown root {}", path.display(), path.display())]
    Owner { path: PathBuf, uid: u32 },
    #[error("the static credentials {} are open to others (mode {mode:04o}): chmod 0600 {}", path.display(), path.display())]
    Open { path: PathBuf, mode: u32 },
    #[error("the static credentials {} cannot be used", path.display())]
    Content { path: PathBuf, source: BadCredentials },
}

impl CredentialsFileError {
    /// What has to appear first.
    pub fn waits_for(&self) -> String {
        let (Self::Io { path, .. }
        | Self::NotAFile { path }
        | Self::TooLarge { path }
        | Self::Owner { path, .. }
        | Self::Open { path, .. }
        | Self::Content { path, .. }) = self;
        format!("usable static credentials in {}", path.display())
    }
}

/// Reads the file if it is one that only root and this process's user can write and read.
pub fn read(path: &Path) -> Result<StaticCredentials, CredentialsFileError> {
    let own = || path.to_owned();
    let failed = |operation| move |source| CredentialsFileError::Io { operation, path: own(), source };
    // Without O_NONBLOCK a FIFO in the file's place would hold the reader for ever.
    let options = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).to_owned();
    let file = options.open(path).map_err(failed("opened"))?;
    let metadata = file.metadata().map_err(failed("looked at"))?;
    if !metadata.is_file() {
        return Err(CredentialsFileError::NotAFile { path: own() });
    }
    let uid = metadata.uid();
    if uid != 0 && uid != nix::unistd::geteuid().as_raw() {
        return Err(CredentialsFileError::Owner { path: own(), uid });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(CredentialsFileError::Open { path: own(), mode });
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed("read"))?;
    if bytes.len() as u64 > LARGEST {
        return Err(CredentialsFileError::TooLarge { path: own() });
    }
    let set_at = Timestamp::new(metadata.mtime(), i32::try_from(metadata.mtime_nsec()).unwrap_or_default());
    StaticCredentials::parse(&Document::new(bytes), set_at.unwrap_or(Timestamp::UNIX_EPOCH))
        .map_err(|source| CredentialsFileError::Content { path: own(), source })
}
