//! Detects changes to a set of files: through symbolic links, by replacement as well as by writing, and even if
//! neither the file nor its directory exists yet. Reads them on its own thread, since a disk may hang.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use thiserror::Error;
use tokio::sync::{oneshot, watch};

/// The kernel's limit on symbolic links.
const MOST_LINKS: usize = 40;
/// How long to wait for the thread to record the current state; it still does so later.
const SETTLE_DEADLINE: Duration = Duration::from_secs(5);
/// How often to look for new directories while adding watches; each pass does so again.
const MOST_ROUNDS: usize = 8;
/// Each event triggers a full comparison, so the queue can be short.
const QUEUE: usize = 16;

/// Watches with inotify. [`Watcher::settle`] records the current state; only changes from it count, so other files in
/// the same directories cause no wakeups.
#[derive(Debug)]
pub(crate) struct Watcher {
    /// The thread ends once this is dropped.
    orders: Arc<SyncSender<Order>>,
    /// How often the state was recorded.
    settled: AtomicU64,
    /// The last recorded state that is outdated.
    outdated: watch::Receiver<u64>,
}

enum Order {
    Settle {
        number: u64,
        targets: Vec<PathBuf>,
        done: oneshot::Sender<()>,
    },
    /// Sent by inotify: something happened.
    Compare,
}

/// The thread's state.
struct Watched {
    inotify: RecommendedWatcher,
    number: u64,
    targets: Vec<PathBuf>,
    /// The watched directories, and their identities when the watches were added; `None` if a directory is missing.
    directories: BTreeMap<PathBuf, Option<FileId>>,
    seen: BTreeMap<PathBuf, Option<Print>>,
}

#[derive(Debug, Error)]
#[error("cannot watch files by inotify")]
pub(crate) enum WatchError {
    Inotify {
        #[from]
        source: notify::Error,
    },
    Thread {
        #[from]
        source: std::io::Error,
    },
}

/// Identifies a file, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

/// Metadata that changes when a file is written, replaced or touched.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Print {
    identity: FileId,
    size: u64,
    mode: u32,
    owner: (u32, u32),
    changed: (i64, i64),
}

impl Watcher {
    /// Starts the thread, which watches nothing yet.
    pub(crate) fn start() -> Result<Self, WatchError> {
        let (orders, received) = sync_channel(QUEUE);
        let orders = Arc::new(orders);
        let compare = Arc::downgrade(&orders);
        let inotify = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reads are events too, and the agent itself reads.
            if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
                // If the queue is full, another event is already waiting.
                let _ = compare.upgrade().map(|orders| orders.try_send(Order::Compare));
            }
        })?;
        let (outdates, outdated) = watch::channel(u64::MAX);
        let (number, targets, directories, seen) = Default::default();
        let watched = Watched { inotify, number, targets, directories, seen };
        std::thread::Builder::new()
            .name("watcher".to_owned())
            .spawn(move || watched.obey(&received, &outdates))?;
        Ok(Self { orders, settled: AtomicU64::new(0), outdated })
    }

    /// Records the current state of `targets`, and watches for changes from it.
    pub(crate) async fn settle(&self, targets: Vec<PathBuf>) {
        let number = self.settled.load(Ordering::Relaxed) + 1;
        let (done, settled) = oneshot::channel();
        // A full queue compares with the state recorded before.
        if self.orders.try_send(Order::Settle { number, targets, done }).is_ok() {
            self.settled.store(number, Ordering::Relaxed);
            let _ = tokio::time::timeout(SETTLE_DEADLINE, settled).await;
        }
    }

    /// Completes once a target differs from the last recorded state. Cancel-safe.
    pub(crate) async fn changed(&self) {
        let settled = self.settled.load(Ordering::Relaxed);
        if self.outdated.clone().wait_for(|outdated| *outdated == settled).await.is_err() {
            // The thread died; timers still wake the loop.
            std::future::pending::<()>().await;
        }
    }
}

impl Watched {
    fn obey(mut self, orders: &Receiver<Order>, outdates: &watch::Sender<u64>) {
        while let Ok(order) = orders.recv() {
            match order {
                Order::Settle { number, targets, done } => {
                    self.number = number;
                    if self.targets != targets || !self.is_armed() {
                        self.targets = targets;
                        self.arm();
                    }
                    self.seen = self.prints();
                    let _ = done.send(());
                }
                Order::Compare => {
                    self.arm();
                    // After the watches are added, so that later changes cause an event.
                    if self.prints() != self.seen {
                        outdates.send_replace(self.number);
                    }
                }
            }
        }
    }

    fn prints(&self) -> BTreeMap<PathBuf, Option<Print>> {
        self.targets.iter().map(|target| (target.clone(), Print::of(target))).collect()
    }

    /// Whether the watched directories are still the same. Changes inside them, including links, cause an event; a
    /// renamed parent directory does not.
    fn is_armed(&self) -> bool {
        let mut placed = self.directories.iter();
        self.directories.keys().eq(&self.wanted_directories())
            && placed.all(|(directory, placed)| placed.is_some() && FileId::of(directory) == *placed)
    }

    /// Every directory in which a change could affect what a target's path resolves to.
    fn wanted_directories(&self) -> BTreeSet<PathBuf> {
        self.targets.iter().flat_map(|target| directories_of(target)).collect()
    }

    /// Watches the wanted directories.
    fn arm(&mut self) {
        for _ in 0..MOST_ROUNDS {
            self.arm_once();
            // A directory that appeared before its parent was watched caused no event.
            if self.directories.keys().eq(&self.wanted_directories()) {
                return;
            }
        }
    }

    fn arm_once(&mut self) {
        let wanted = self.wanted_directories();
        for gone in self.directories.keys().filter(|directory| !wanted.contains(*directory)) {
            // A removed directory no longer has a watch.
            let _ = self.inotify.unwatch(gone);
        }
        // Add watches again each time: another directory may have taken the name.
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

/// The directories whose entries decide what `path` resolves to: its deepest existing ancestor, and those that
/// contain a symbolic link on the way.
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
