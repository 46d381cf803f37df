//! One HDFS for all tests that do not harm it, whether they run as threads of one process or in a process each.
//!
//! The first test to join starts a keeper process, which owns the servers. Each user holds a shared lock on the lease
//! file; the keeper ends when nobody has held one for a while. The kernel drops the locks of dead processes, so nothing
//! is left behind however a test ends.

use std::fs::{self, File, TryLockError};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::jvm::Jvm;
use super::shell::ShellServer;
use super::{Error, Hdfs, HdfsClient};
use crate::parts::{self, Part};
use crate::wait;

/// A lease on the shared HDFS, with a private directory in it.
#[derive(Debug)]
pub struct SharedHdfs {
    client: HdfsClient,
    directory: String,
    meeting: MeetingPoint,
    _lease: File,
}

impl SharedHdfs {
    /// Joins the shared HDFS, or starts it, and creates a fresh directory there with this owner and mode.
    ///
    /// Creating the directory proves that the HDFS works: its keeper restarts servers that have died, and the next test
    /// to join replaces a keeper that has died.
    pub async fn join(owner: &str, mode: &str) -> Result<Self, Error> {
        Self::join_named("shared", owner, mode).await
    }

    /// Joins the HDFS that all callers with this `name` share.
    pub async fn join_named(name: &str, owner: &str, mode: &str) -> Result<Self, Error> {
        let meeting = MeetingPoint::find(name)?;
        let lease = meeting.open(LEASE)?;
        lock(&lease, Kind::Shared, "the lease of the shared HDFS").await?;

        let directory = format!("/test/{:016x}", fastrand::u64(..));
        let what = format!("the shared HDFS; its keeper's log is {}", meeting.path(KEEPER_LOG).display());
        let client = wait::until(&what, START, async || {
            meeting.ensure_kept().await?;
            let client = meeting.client()?;
            client.make_directory(&directory, owner, mode).await?;
            Ok::<_, Error>(client)
        })
        .await?;
        Ok(Self { client, directory, meeting, _lease: lease })
    }

    pub fn client(&self) -> &HdfsClient {
        &self.client
    }

    /// The absolute path of `name` in the private directory.
    pub fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.directory)
    }

    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// The current address of its `hadoop fs` server.
    pub fn shell_address(&self) -> Result<SocketAddr, Error> {
        Ok(self.meeting.announced()?.shell)
    }

    /// The keeper's process and those of its servers, for tests that kill them.
    pub fn processes(&self) -> Result<Processes, Error> {
        Ok(self.meeting.announced()?.processes)
    }
}

/// The process ids of a shared HDFS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Processes {
    pub keeper: u32,
    pub namenode: u32,
    pub datanode: u32,
    pub shell: u32,
}

/// The keeper: starts the HDFS once an earlier keeper of this directory is gone, announces its address, restarts
/// servers that die, and ends when nobody uses the HDFS any more.
pub async fn keep(directory: &Path) -> Result<(), Error> {
    let meeting = MeetingPoint(directory.to_owned());
    let alive = meeting.open(ALIVE)?;
    lock(&alive, Kind::Exclusive, "the end of the previous keeper").await?;
    let mut hdfs = Hdfs::start().await?;
    let mut shell = hdfs.start_shell().await?;
    meeting.announce(&hdfs, &shell)?;

    let lease = meeting.open(LEASE)?;
    let mut idle = Duration::ZERO;
    loop {
        sleep(PAUSE).await;
        if restart_ended(&mut hdfs, &mut shell).await? {
            meeting.announce(&hdfs, &shell)?;
        }
        if !try_lock(&lease, Kind::Exclusive)? {
            idle = Duration::ZERO;
            continue;
        }
        if idle >= IDLE {
            // A test that joins now waits for the lease, and then finds no announcement.
            return meeting.withdraw();
        }
        meeting.unlock(&lease)?;
        idle += PAUSE;
    }
}

/// Restarts whatever has ended and logs it; returns whether anything had.
async fn restart_ended(hdfs: &mut Hdfs, shell: &mut ShellServer) -> Result<bool, Error> {
    let mut restarted = hdfs.restart_ended().await?;
    if let Err(ended) = shell.still_runs() {
        eprintln!("{ended}");
        *shell = hdfs.start_shell().await?;
        restarted = true;
    }
    Ok(restarted)
}

const LEASE: &str = "lease";
const STARTER: &str = "starter";
const ALIVE: &str = "alive";
const ANNOUNCEMENT: &str = "announcement";
const KEEPER_LOG: &str = "keeper.log";

const PAUSE: Duration = Duration::from_millis(500);
const IDLE: Duration = Duration::from_secs(15);
const START: Duration = Duration::from_secs(90);

/// What a keeper publishes for the tests that join.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Announcement {
    authority: String,
    conf_dir: PathBuf,
    pub(super) shell: SocketAddr,
    processes: Processes,
}

impl Announcement {
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read(path).map_err(|source| file_error("read", path, source))?;
        serde_json::from_slice(&text).map_err(|source| file_error("parse", path, source.into()))
    }
}

/// The directory through which users and keeper find each other.
#[derive(Debug)]
struct MeetingPoint(PathBuf);

impl MeetingPoint {
    /// One for each build directory and installed version, whose protocols may differ.
    fn find(name: &str) -> Result<Self, Error> {
        let mut hasher = DefaultHasher::new();
        program_directory()?.hash(&mut hasher);
        Part::hadoop()?.version().hash(&mut hasher);
        let directory = parts::cache().join(format!("locks/{name}-hdfs-{:016x}", hasher.finish()));
        fs::create_dir_all(&directory).map_err(|source| file_error("create", &directory, source))?;
        Ok(Self(directory))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn open(&self, name: &str) -> Result<File, Error> {
        let path = self.path(name);
        File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|source| file_error("open", &path, source))
    }

    fn unlock(&self, file: &File) -> Result<(), Error> {
        file.unlock().map_err(|source| file_error("unlock the lease in", &self.0, source))
    }

    /// Starts a keeper unless one is running; only one process does so at a time.
    async fn ensure_kept(&self) -> Result<(), Error> {
        let starter = self.open(STARTER)?;
        lock(&starter, Kind::Exclusive, "the start of the shared HDFS").await?;
        if self.is_kept()? {
            return Ok(());
        }
        self.start_keeper().await
    }

    fn is_kept(&self) -> Result<bool, Error> {
        let alive = self.open(ALIVE)?;
        Ok(!try_lock(&alive, Kind::Shared)? && self.path(ANNOUNCEMENT).exists())
    }

    async fn start_keeper(&self) -> Result<(), Error> {
        // A killed keeper leaves a stale announcement.
        let _ = fs::remove_file(self.path(ANNOUNCEMENT));
        let program = program_directory()?.join("shared-hdfs");
        let failed = |source| Error::Run { program: program.display().to_string(), source };
        let log = self.open(KEEPER_LOG)?;
        let mut keeper = Command::new(&program)
            .arg(&self.0)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            .spawn()
            .map_err(failed)?;
        wait::until("the keeper's announcement", START, async || {
            if self.path(ANNOUNCEMENT).exists() {
                return Ok(());
            }
            match keeper.try_wait() {
                Ok(Some(status)) => Err(format!("the keeper has ended ({status})")),
                _ => Err("not announced yet".to_owned()),
            }
        })
        .await?;
        Ok(())
    }

    fn announce(&self, hdfs: &Hdfs, shell: &ShellServer) -> Result<(), Error> {
        let announcement = Announcement {
            authority: hdfs.client().authority().to_owned(),
            conf_dir: hdfs.client().conf_dir().to_owned(),
            shell: shell.address(),
            processes: Processes {
                keeper: process::id(),
                namenode: hdfs.namenode_process().unwrap_or_default(),
                datanode: hdfs.datanode_process().unwrap_or_default(),
                shell: shell.process_id().unwrap_or_default(),
            },
        };
        let (draft, path) = (self.path("announcement.draft"), self.path(ANNOUNCEMENT));
        serde_json::to_vec(&announcement)
            .map_err(io::Error::from)
            .and_then(|text| fs::write(&draft, text))
            .and_then(|()| fs::rename(&draft, &path))
            .map_err(|source| file_error("write", &path, source))
    }

    fn withdraw(&self) -> Result<(), Error> {
        let path = self.path(ANNOUNCEMENT);
        fs::remove_file(&path).map_err(|source| file_error("remove", &path, source))
    }

    fn announced(&self) -> Result<Announcement, Error> {
        Announcement::read(&self.path(ANNOUNCEMENT))
    }

    fn client(&self) -> Result<HdfsClient, Error> {
        let announced = self.announced()?;
        let jvm = Jvm::new(Part::hadoop()?, announced.conf_dir);
        Ok(HdfsClient::with_shell_in(jvm, announced.authority, self.path(ANNOUNCEMENT)))
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Shared,
    Exclusive,
}

fn try_lock(file: &File, kind: Kind) -> Result<bool, Error> {
    let outcome = match kind {
        Kind::Shared => file.try_lock_shared(),
        Kind::Exclusive => file.try_lock(),
    };
    match outcome {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => Err(file_error("lock", Path::new("the shared HDFS"), source)),
    }
}

async fn lock(file: &File, kind: Kind, what: &str) -> Result<(), Error> {
    wait::until(what, START, async || match try_lock(file, kind) {
        Ok(true) => Ok(Ok(())),
        Ok(false) => Err("another process holds it"),
        Err(error) => Ok(Err(error)),
    })
    .await?
}

fn program_directory() -> Result<PathBuf, Error> {
    crate::agent::program_directory()
        .map_err(|source| Error::Run { program: "shared-hdfs".to_owned(), source })
}

fn file_error(operation: &'static str, path: &Path, source: io::Error) -> Error {
    Error::File { operation, path: path.to_owned(), source }
}
