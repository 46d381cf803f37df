//! Tells when one of a set of files may have changed: through symbolic links, by replacement as well
//! as by writing, and also where neither the file nor its folder exists yet.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use thiserror::Error;
use tokio::sync::Notify;

/// As many links as the kernel follows.
const MOST_LINKS: usize = 40;

/// Watches by inotify. After each pass it is told to [`Watcher::settle`], and from then on tells of
/// changes against what it saw then, so that the agent's own writes and others' noise wake nobody.
#[derive(Debug)]
pub struct Watcher {
    inotify: RecommendedWatcher,
    noticed: Arc<Notify>,
    targets: Vec<PathBuf>,
    /// The watched folders, and which they were when the watches were placed; none if one is missing.
    folders: BTreeMap<PathBuf, Option<Identity>>,
    seen: BTreeMap<PathBuf, Option<Print>>,
}

#[derive(Debug, Error)]
#[error("cannot watch files by inotify")]
pub struct WatchError {
    #[from]
    source: notify::Error,
}

/// Which file it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

/// What differs once a file was written, replaced or touched.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Print {
    identity: Identity,
    size: u64,
    mode: u32,
    owner: (u32, u32),
    changed: (i64, i64),
}

impl Watcher {
    /// Watches nothing yet.
    pub fn start() -> Result<Self, WatchError> {
        let noticed = Arc::new(Notify::new());
        let notify = Arc::clone(&noticed);
        let inotify = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading a file is an event too, and the agent itself reads.
            if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
                notify.notify_one();
            }
        })?;
        let (targets, folders, seen) = Default::default();
        Ok(Self { inotify, noticed, targets, folders, seen })
    }

    /// Takes what is there now as known, and watches for changes of `targets` against it.
    pub fn settle(&mut self, targets: &[PathBuf]) {
        if self.targets != targets || !self.is_armed() {
            self.targets = targets.to_vec();
            self.arm();
        }
        self.seen = self.prints();
    }

    /// Returns once a target differs from what was last settled on. Cancel-safe.
    pub async fn changed(&mut self) {
        loop {
            // First look, then wait: what changed before watches were in place counts as well.
            if self.prints() != self.seen {
                return;
            }
            self.noticed.notified().await;
            self.arm();
        }
    }

    fn prints(&self) -> BTreeMap<PathBuf, Option<Print>> {
        self.targets.iter().map(|target| (target.clone(), Print::of(target))).collect()
    }

    /// Whether the watches still are where they were placed. What changes inside the watched folders, links
    /// among it, tells of itself; that a folder above them was renamed does not.
    fn is_armed(&self) -> bool {
        self.folders.iter().all(|(folder, placed)| placed.is_some() && Identity::of(folder) == *placed)
    }

    /// Watches every folder in which something could change what a target's path leads to.
    fn arm(&mut self) {
        let wanted: BTreeSet<PathBuf> = self.targets.iter().flat_map(|target| folders_of(target)).collect();
        for gone in self.folders.keys().filter(|folder| !wanted.contains(*folder)) {
            // A folder that was removed takes its watch along.
            let _ = self.inotify.unwatch(gone);
        }
        // Asked for again each time: a folder may have been replaced by another under its name.
        let mut placed = |folder: PathBuf| {
            let identity = Identity::of(&folder);
            let watched = self.inotify.watch(&folder, RecursiveMode::NonRecursive).is_ok();
            (folder, identity.filter(|_| watched))
        };
        self.folders = wanted.into_iter().map(&mut placed).collect();
    }
}

impl Identity {
    fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|metadata| Self::from(&metadata))
    }
}

impl From<&Metadata> for Identity {
    fn from(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

impl Print {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            identity: Identity::from(&metadata),
            size: metadata.size(),
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// The folders whose entries decide what `path` leads to: those of the path's last existing part,
/// and those that hold a symbolic link on the way.
fn folders_of(path: &Path) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::new();
    let mut current = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Some((link, rest)) = first_link(&current) else { break };
        let folder = link.parent().unwrap_or(Path::new("/"));
        folders.insert(folder.to_owned());
        let Ok(target) = fs::read_link(&link) else { break };
        current = folder.join(target).join(rest);
    }
    let existing = current.ancestors().skip(1).find(|ancestor| ancestor.is_dir());
    folders.extend(existing.map(Path::to_owned));
    folders
}

/// The first symbolic link on the way to `path`, and what follows it.
fn first_link(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let mut way: Vec<&Path> = path.ancestors().collect();
    way.reverse();
    let link = way.into_iter().find(|part| part.is_symlink())?;
    let rest = path.strip_prefix(link).ok()?;
    Some((link.to_owned(), rest.to_owned()))
}

#[cfg(test)]
mod tests;
