//! Notices changes of a set of files: through symbolic links, by replacement as well as by writing, and also
//! where neither the file nor its directory exists yet.

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

/// Watches by inotify. [`Watcher::settle`] takes the present state as known; only changes against it count, so
/// that other files in the same directories wake nobody.
#[derive(Debug)]
pub(crate) struct Watcher {
    inotify: RecommendedWatcher,
    noticed: Arc<Notify>,
    targets: Vec<PathBuf>,
    /// The watched directories, and which they were when the watches were placed; `None` if one is missing.
    directories: BTreeMap<PathBuf, Option<FileId>>,
    seen: BTreeMap<PathBuf, Option<Print>>,
}

#[derive(Debug, Error)]
#[error("cannot watch files by inotify")]
pub(crate) struct WatchError {
    #[from]
    source: notify::Error,
}

/// Which file it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

/// What differs once a file was written, replaced or touched.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Print {
    identity: FileId,
    size: u64,
    mode: u32,
    owner: (u32, u32),
    changed: (i64, i64),
}

impl Watcher {
    /// Watches nothing yet.
    pub(crate) fn start() -> Result<Self, WatchError> {
        let noticed = Arc::new(Notify::new());
        let notify = Arc::clone(&noticed);
        let inotify = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading a file is an event too, and the agent itself reads.
            if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
                notify.notify_one();
            }
        })?;
        let (targets, directories, seen) = Default::default();
        Ok(Self { inotify, noticed, targets, directories, seen })
    }

    /// Takes what is there now as known, and watches for changes of `targets` against it.
    pub(crate) fn settle(&mut self, targets: &[PathBuf]) {
        if self.targets != targets || !self.is_armed() {
            self.targets = targets.to_vec();
            self.arm();
        }
        self.seen = self.prints();
    }

    /// Returns once a target differs from what was last settled on. Cancel-safe.
    pub(crate) async fn changed(&mut self) {
        loop {
            // First compare, then wait: changes before the watches were placed count as well.
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

    /// Whether the watches still are where they were placed. What changes inside the watched directories, links
    /// among it, causes an event; a renamed parent directory does not.
    fn is_armed(&self) -> bool {
        self.directories
            .iter()
            .all(|(directory, placed)| placed.is_some() && FileId::of(directory) == *placed)
    }

    /// Watches every directory in which something could change what a target's path leads to.
    fn arm(&mut self) {
        let wanted: BTreeSet<PathBuf> =
            self.targets.iter().flat_map(|target| directories_of(target)).collect();
        for gone in self.directories.keys().filter(|directory| !wanted.contains(*directory)) {
            // A removed directory takes its watch along.
            let _ = self.inotify.unwatch(gone);
        }
        // Placed again each time: another directory may have taken the name.
        let mut placed = |directory: PathBuf| {
            let identity = FileId::of(&directory);
            let watched = self.inotify.watch(&directory, RecursiveMode::NonRecursive).is_ok();
            (directory, identity.filter(|_| watched))
        };
        self.directories = wanted.into_iter().map(&mut placed).collect();
    }
}

impl FileId {
    fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|metadata| Self::from(&metadata))
    }
}

impl From<&Metadata> for FileId {
    fn from(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

impl Print {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            identity: FileId::from(&metadata),
            size: metadata.size(),
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// The directories whose entries decide what `path` leads to: those of the path's last existing part,
/// and those that hold a symbolic link on the way.
fn directories_of(path: &Path) -> BTreeSet<PathBuf> {
    let mut directories = BTreeSet::new();
    let mut current = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Some((link, rest)) = first_link(&current) else { break };
        let directory = link.parent().unwrap_or(Path::new("/"));
        directories.insert(directory.to_owned());
        let Ok(target) = fs::read_link(&link) else { break };
        current = directory.join(target).join(rest);
    }
    let existing = current.ancestors().skip(1).find(|ancestor| ancestor.is_dir());
    directories.extend(existing.map(Path::to_owned));
    directories
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
