//! Fresh folders for what runs in the sandbox. They lie in the cache folder and not under /tmp, because YARN's
//! container-executor accepts its configuration only below folders that nobody but their owner can write.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::parts;

#[derive(Debug, thiserror::Error)]
#[error("cannot make a fresh folder in {}", root.display())]
pub struct Error {
    root: PathBuf,
    source: io::Error,
}

/// A folder that is removed with the value. What killed processes left behind is swept after a day.
pub fn folder(name: &str) -> Result<TempDir, Error> {
    let root = root()?;
    sweep(&root);
    tempfile::Builder::new()
        .prefix(&format!("{name}-"))
        .tempdir_in(&root)
        .map_err(|source| Error { root, source })
}

/// The folder that holds all of them.
pub fn root() -> Result<PathBuf, Error> {
    let root = parts::cache().join("run");
    match fs::create_dir_all(&root) {
        Ok(()) => Ok(root),
        Err(source) => Err(Error { root, source }),
    }
}

fn sweep(root: &Path) {
    let Ok(entries) = fs::read_dir(root) else {
        return;
    };
    for entry in entries.flatten() {
        let old = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > KEPT));
        if old && entry.file_name() != "ports" {
            // Somebody else may be sweeping the same folder; what is left is tried again next time.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

const KEPT: Duration = Duration::from_secs(24 * 3600);
