//! Servers shared by all tests of a run, whether the tests run as threads of one process or as separate processes.
//!
//! The first test that needs the servers starts a keeper process, which owns them. Each user holds a shared lock on
//! the lease file; the keeper exits once the file has been unlocked for a while. The kernel drops the locks of dead
//! processes, so nothing is left behind however a test ends.

use std::error::Error as StdError;
use std::fs::{self, File, TryLockError};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::marker::PhantomData;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::sleep;

use crate::agent::program_directory;
use crate::parts::{self, Missing, Part};
use crate::wait::{self, TimedOut};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Missing(#[from] Missing),
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
    #[error("cannot {operation} {}", path.display())]
    File { operation: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot start the keeper {program}")]
    Start { program: String, source: io::Error },
    #[error("the keeper of {kind} has ended ({status:?}); its log is {}", log.display())]
    Ended { kind: &'static str, status: Option<ExitStatus>, log: PathBuf },
    #[error("cannot start {kind}, or keep it running")]
    Service { kind: &'static str, source: Box<dyn StdError + Send + Sync> },
}

/// Servers that a keeper owns.
pub trait Service: Sized {
    /// The name in paths and messages.
    const KIND: &'static str;

    /// What users need to know about the running servers.
    type Announcement: Serialize + DeserializeOwned;

    type Error: StdError + Send + Sync + 'static;

    fn start() -> impl Future<Output = Result<Self, Self::Error>>;

    fn announcement(&self) -> Self::Announcement;

    /// Restarts the servers that have ended; returns whether there were any.
    fn restart_ended(&mut self) -> impl Future<Output = Result<bool, Self::Error>>;
}

/// A lease on running servers: they run while at least one lease exists.
#[derive(Debug)]
pub struct Lease<S> {
    meeting: MeetingPoint,
    _file: File,
    service: PhantomData<fn() -> S>,
}

impl<S: Service> Lease<S> {
    /// Shares the servers with all users of this `name`.
    pub async fn take(name: &str) -> Result<Self, Error> {
        let meeting = MeetingPoint::find(S::KIND, name)?;
        let file = meeting.open(LEASE)?;
        lock(&file, Mode::Shared, &format!("the lease of {}", S::KIND)).await?;
        Ok(Self { meeting, _file: file, service: PhantomData })
    }

    /// Starts a keeper if none is running; returns its announcement.
    pub async fn ensure_announced(&self) -> Result<S::Announcement, Error> {
        self.meeting.ensure_kept::<S>().await?;
        self.last_announcement()
    }

    /// The last announcement of a keeper, which may have ended since.
    pub fn last_announcement(&self) -> Result<S::Announcement, Error> {
        let path = self.meeting.path(ANNOUNCEMENT);
        let text = fs::read(&path).map_err(|source| file_error("read", &path, source))?;
        serde_json::from_slice(&text).map_err(|source| file_error("parse", &path, source.into()))
    }

    /// The keeper's log.
    pub fn log(&self) -> PathBuf {
        self.meeting.path(KEEPER_LOG)
    }
}

/// Runs the keeper unless this directory already has one: starts the servers, announces them, restarts those that
/// die, and returns when they are no longer used.
pub async fn keep<S: Service>(directory: &Path) -> Result<(), Error> {
    let meeting = MeetingPoint(directory.to_owned());
    let keeper = meeting.open(KEEPER)?;
    if !try_lock(&keeper, Mode::Exclusive)? {
        return Ok(());
    }
    // A killed keeper leaves its announcement behind.
    meeting.withdraw()?;
    let kept = keep_running::<S>(&meeting).await;
    meeting.withdraw()?;
    kept
}

async fn keep_running<S: Service>(meeting: &MeetingPoint) -> Result<(), Error> {
    let failed = |source: S::Error| Error::Service { kind: S::KIND, source: source.into() };
    let mut service = S::start().await.map_err(failed)?;
    meeting.announce(&service.announcement())?;
    // Drop order: a test that takes the lease at the end must find no keeper, which must go before the servers.
    let lease = meeting.open(LEASE)?;
    let alive = meeting.open(ALIVE)?;
    lock(&alive, Mode::Exclusive, "those who ask for the keeper").await?;

    let mut idle = Duration::ZERO;
    loop {
        sleep(PAUSE).await;
        if service.restart_ended().await.map_err(failed)? {
            meeting.announce(&service.announcement())?;
        }
        if !try_lock(&lease, Mode::Exclusive)? {
            idle = Duration::ZERO;
            continue;
        }
        if idle >= IDLE {
            // A test that takes a lease now waits for the lock, and then finds no keeper.
            return Ok(());
        }
        meeting.unlock(&lease)?;
        idle += PAUSE;
    }
}

/// The name for all tests that need no servers of their own.
pub const SHARED: &str = "shared";

const LEASE: &str = "lease";
/// Locked by a process that starts a keeper.
const STARTER: &str = "starter";
/// Locked by a keeper for its whole life.
const KEEPER: &str = "keeper";
/// Locked by a keeper while its announcement is valid.
const ALIVE: &str = "alive";
const ANNOUNCEMENT: &str = "announcement";
const KEEPER_LOG: &str = "keeper.log";

const PAUSE: Duration = Duration::from_millis(500);
const IDLE: Duration = Duration::from_secs(15);
/// The longest start of any server on a busy machine.
pub const START: Duration = Duration::from_secs(120);

/// The directory where users and keeper find each other.
#[derive(Debug)]
struct MeetingPoint(PathBuf);

impl MeetingPoint {
    /// One for each build directory and installed version, whose protocols may differ.
    fn find(kind: &str, name: &str) -> Result<Self, Error> {
        let mut hasher = DefaultHasher::new();
        programs()?.hash(&mut hasher);
        Part::hadoop()?.version().hash(&mut hasher);
        let directory = parts::cache().join(format!("locks/{kind}-{:016x}/{name}", hasher.finish()));
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

    /// Starts a keeper unless one is running; only one process at a time does so.
    async fn ensure_kept<S: Service>(&self) -> Result<(), Error> {
        if self.is_kept()? {
            return Ok(());
        }
        let starter = self.open(STARTER)?;
        lock(&starter, Mode::Exclusive, &format!("the start of {}", S::KIND)).await?;
        if self.is_kept()? {
            return Ok(());
        }
        self.start_keeper(S::KIND).await
    }

    /// Returns whether the announced servers are running.
    fn is_kept(&self) -> Result<bool, Error> {
        Ok(!try_lock(&self.open(ALIVE)?, Mode::Shared)?)
    }

    /// Starts a keeper, and starts another if the first one found a keeper that was about to end.
    async fn start_keeper(&self, kind: &'static str) -> Result<(), Error> {
        let mut keeper: Option<Child> = None;
        wait::until(&format!("the keeper of {kind}"), START, async || {
            match self.is_kept() {
                Ok(true) => return Ok(Ok(())),
                Ok(false) => {}
                Err(error) => return Ok(Err(error)),
            }
            let ended = keeper.as_mut().and_then(|keeper| keeper.try_wait().transpose());
            match ended {
                None if keeper.is_some() => return Err("it is starting"),
                None => {}
                Some(Ok(status)) if status.success() => {}
                Some(ended) => {
                    let (status, log) = (ended.ok(), self.path(KEEPER_LOG));
                    return Ok(Err(Error::Ended { kind, status, log }));
                }
            }
            match self.spawn_keeper(kind) {
                Ok(started) => keeper = Some(started),
                Err(error) => return Ok(Err(error)),
            }
            Err("it was started")
        })
        .await?
    }

    fn spawn_keeper(&self, kind: &str) -> Result<Child, Error> {
        let program = programs()?.join("keeper");
        let failed = |source| Error::Start { program: program.display().to_string(), source };
        let log = self.open(KEEPER_LOG)?;
        Command::new(&program)
            .arg(kind)
            .arg(&self.0)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            .spawn()
            .map_err(failed)
    }

    fn announce(&self, announcement: &impl Serialize) -> Result<(), Error> {
        let (draft, path) = (self.path("announcement.draft"), self.path(ANNOUNCEMENT));
        serde_json::to_vec(announcement)
            .map_err(io::Error::from)
            .and_then(|text| fs::write(&draft, text))
            .and_then(|()| fs::rename(&draft, &path))
            .map_err(|source| file_error("write", &path, source))
    }

    fn withdraw(&self) -> Result<(), Error> {
        let path = self.path(ANNOUNCEMENT);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(file_error("remove", &path, source))
            }
            _ => Ok(()),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Mode {
    Shared,
    Exclusive,
}

fn try_lock(file: &File, mode: Mode) -> Result<bool, Error> {
    let outcome = match mode {
        Mode::Shared => file.try_lock_shared(),
        Mode::Exclusive => file.try_lock(),
    };
    match outcome {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => Err(file_error("lock", Path::new("a meeting point"), source)),
    }
}

async fn lock(file: &File, mode: Mode, what: &str) -> Result<(), Error> {
    wait::until(what, START, async || match try_lock(file, mode) {
        Ok(true) => Ok(Ok(())),
        Ok(false) => Err("another process holds it"),
        Err(error) => Ok(Err(error)),
    })
    .await?
}

fn programs() -> Result<PathBuf, Error> {
    program_directory().map_err(|source| Error::Start { program: "keeper".to_owned(), source })
}

fn file_error(operation: &'static str, path: &Path, source: io::Error) -> Error {
    Error::File { operation, path: path.to_owned(), source }
}
