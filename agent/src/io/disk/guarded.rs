//! Whether only root and this process's user can change what is on a path. Otherwise another user could insert a link
//! at any moment between two calls, and make root write anywhere.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use super::{DiskError, MOST_LINKS, failed, is_absence};

const WRITABLE_BY_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Resolves the links of `path`, whose last part need not exist. Fails if another user can write or replace a
/// directory or a link on the way.
pub(crate) fn guarded(path: &Path) -> Result<PathBuf, DiskError> {
    let mut links = 0;
    let mut reached = PathBuf::from("/");
    let mut ahead: Vec<PathBuf> = parts_of(path);
    while let Some(part) = ahead.pop() {
        if part.as_os_str() == ".." {
            reached.pop();
            continue;
        }
        let directory = stat(&reached)?.ok_or_else(|| DiskError::NoDirectory { path: reached.clone() })?;
        let next = reached.join(&part);
        let found = stat(&next)?;
        if !keeps(&directory, found.as_ref()) {
            return Err(DiskError::Unguarded { path: path.to_owned(), directory: reached });
        }
        match found {
            Some(found) if found.is_symlink() => {
                links += 1;
                if links > MOST_LINKS {
                    return Err(DiskError::LinkLoop { path: path.to_owned() });
                }
                let target = fs::read_link(&next).map_err(|source| failed("follow", &next, source))?;
                if target.is_absolute() {
                    reached = PathBuf::from("/");
                }
                ahead.extend(parts_of(&target));
            }
            // The caller may create one missing directory.
            None if ahead.len() > 1 => return Err(DiskError::NoDirectory { path: next }),
            None => return Ok(ahead.pop().map_or(next.clone(), |last| next.join(last))),
            Some(_) => reached = next,
        }
    }
    Ok(reached)
}

/// The parts of `path`, last first.
fn parts_of(path: &Path) -> Vec<PathBuf> {
    let parts = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    let mut parts: Vec<PathBuf> = parts.map(|part| PathBuf::from(part.as_os_str())).collect();
    parts.reverse();
    parts
}

/// Whether only root and this process's user can change this entry of `directory`.
fn keeps(directory: &Metadata, found: Option<&Metadata>) -> bool {
    let is_shared = directory.mode() & WRITABLE_BY_OTHERS != 0;
    // In a sticky directory others cannot replace our entry, but anyone can create a missing one.
    let is_kept = directory.mode() & STICKY != 0 && found.is_some_and(is_ours);
    is_ours(directory) && (!is_shared || is_kept)
}

fn is_ours(metadata: &Metadata) -> bool {
    metadata.uid() == 0 || metadata.uid() == nix::unistd::geteuid().as_raw()
}

fn stat(path: &Path) -> Result<Option<Metadata>, DiskError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if is_absence(&error) => Ok(None),
        Err(source) => Err(failed("stat", path, source)),
    }
}
