//! Temporary directories. They are in the cache directory, not in /tmp, because YARN's container-executor accepts
//! its configuration only below directories that only their owner can write.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::parts;
use crate::reaper::{self, Resource};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot create a temporary directory in {}", root.display())]
    Create { root: PathBuf, source: io::Error },
    #[error("cannot register {} with the reaper", path.display())]
    Reaper { path: PathBuf, source: io::Error },
}

/// A new directory, removed when dropped, or by the [`reaper`] if this process ends first.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    // `None` only while dropping.
    directory: Option<TempDir>,
}

impl Directory {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(self.directory.take());
        reaper::release(&Resource::Directory(self.path.clone()));
    }
}

/// Creates a new directory whose name begins with `name`.
pub fn directory(name: &str) -> Result<Directory, Error> {
    let root = root()?;
    sweep(&root);
    let directory = tempfile::Builder::new().prefix(&format!("{name}-")).tempdir_in(&root);
    let directory = directory.map_err(|source| Error::Create { root, source })?;
    let path = directory.path().to_owned();
    reaper::register(&Resource::Directory(path.clone()))
        .map_err(|source| Error::Reaper { path: path.clone(), source })?;
    Ok(Directory { path, directory: Some(directory) })
}

/// The parent of all temporary directories.
pub fn root() -> Result<PathBuf, Error> {
    let root = parts::cache().join("run");
    match fs::create_dir_all(&root) {
        Ok(()) => Ok(root),
        Err(source) => Err(Error::Create { root, source }),
    }
}

/// Removes directories left behind by a power failure.
fn sweep(root: &Path) {
    let Ok(entries) = fs::read_dir(root) else {
        return;
    };
    for entry in entries.flatten() {
        let old = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > KEPT));
        if old {
            // Another process may be removing the same directory; the next sweep removes the rest.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

const KEPT: Duration = Duration::from_secs(24 * 3600);
