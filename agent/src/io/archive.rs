//! A compressed archive for one user, created with tar, which every node has.

use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::{NamedTempFile, TempDir};
use thiserror::Error;

/// Where tar and gzip are.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

#[derive(Debug, Error)]
pub(crate) enum ArchiveError {
    #[error("cannot write a temporary file")]
    Temporary { source: io::Error },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot run tar")]
    Start { source: io::Error },
    #[error("tar failed: {text}")]
    Failed { text: String },
}

/// The files of an archive, before it is written.
#[derive(Debug)]
pub(crate) struct Archive {
    root: TempDir,
    name: String,
}

impl Archive {
    /// Creates an archive whose files are all in a directory of this name.
    pub(crate) fn new(name: &str) -> Result<Self, ArchiveError> {
        let temporary = |source| ArchiveError::Temporary { source };
        let root = tempfile::Builder::new().prefix("emr-ecr-agent-report-").tempdir().map_err(temporary)?;
        let directory = root.path().join(name);
        std::fs::DirBuilder::new().mode(0o700).create(directory).map_err(temporary)?;
        Ok(Self { root, name: name.to_owned() })
    }

    pub(crate) fn add(&self, file: &str, content: &str) -> Result<(), ArchiveError> {
        let path = self.root.path().join(&self.name).join(file);
        let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let written = opened.and_then(|mut file| file.write_all(content.as_bytes()));
        written.map_err(|source| ArchiveError::Temporary { source })
    }

    /// Writes the archive to `path` atomically. Replaces only files: never a device or what a link names.
    pub(crate) fn write(&self, path: &Path) -> Result<(), ArchiveError> {
        let failed = |source| ArchiveError::Write { path: path.to_owned(), source };
        if path.symlink_metadata().is_ok_and(|found| !found.is_file()) {
            return Err(failed(io::Error::other("it is not a regular file")));
        }
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let file = NamedTempFile::new_in(directory.unwrap_or(Path::new("."))).map_err(failed)?;
        let mut tar = Command::new("tar");
        tar.env_clear().env("PATH", PATH).args(["--create", "--gzip", "--file=-", "--owner=0", "--group=0"]);
        tar.arg("--directory").arg(self.root.path()).arg("--").arg(&self.name);
        tar.stdin(Stdio::null()).stdout(file.reopen().map_err(failed)?).stderr(Stdio::piped());
        let ended = tar.spawn().and_then(|child| child.wait_with_output());
        let ended = ended.map_err(|source| ArchiveError::Start { source })?;
        if !ended.status.success() {
            let text = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
            return Err(ArchiveError::Failed { text });
        }
        file.persist(path).map_err(|error| failed(error.error)).map(drop)
    }
}
