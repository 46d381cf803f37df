//! One HDFS for all tests that do it no harm, whether they run as threads of one process or as a process each.
//!
//! The first to join starts a keeper process, which owns the servers; each user holds a shared lock on the lease
//! file; the keeper ends when nobody has held one for a while. The kernel drops the locks of the dead, so nothing is
//! left behind however a test ends.

use std::fs::{self, File, TryLockError};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::time::sleep;

use super::jvm::Jvm;
use super::{Error, Hdfs, HdfsClient};
use crate::parts::Part;
use crate::scratch;
use crate::wait;

/// A share in the common HDFS, with a directory of one's own in it.
#[derive(Debug)]
pub struct SharedHdfs {
    client: HdfsClient,
    directory: String,
    _lease: File,
}

impl SharedHdfs {
    /// Joins the common HDFS, or starts it, and makes a fresh directory there with this owner and mode.
    pub async fn join(owner: &str, mode: &str) -> Result<Self, Error> {
        let place = Place::find()?;
        let lease = place.open(LEASE)?;
        lock(&lease, Kind::Shared, "the lease of the shared HDFS").await?;
        let starter = place.open(STARTER)?;
        lock(&starter, Kind::Exclusive, "the start of the shared HDFS").await?;
        if !place.is_kept()? {
            place.start_keeper().await?;
        }
        drop(starter);

        let client = place.client()?;
        let directory = format!("/test/{:016x}", fastrand::u64(..));
        client.make_directory(&directory, owner, mode).await?;
        Ok(Self { client, directory, _lease: lease })
    }

    pub fn client(&self) -> &HdfsClient {
        &self.client
    }

    /// The absolute path of `name` in the own directory.
    pub fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.directory)
    }

    pub fn directory(&self) -> &str {
        &self.directory
    }
}

/// The keeper's whole life: starts the HDFS, tells where it is, and ends when it is no longer used.
/// Waits for an earlier keeper of this folder to be gone.
pub async fn keep(folder: &Path) -> Result<(), Error> {
    let place = Place(folder.to_owned());
    let alive = place.open(ALIVE)?;
    lock(&alive, Kind::Exclusive, "the end of the keeper before").await?;
    let hdfs = Hdfs::start().await?;
    place.announce(hdfs.client()).await?;

    let lease = place.open(LEASE)?;
    let mut idle = Duration::ZERO;
    loop {
        sleep(LOOK).await;
        if !try_lock(&lease, Kind::Exclusive)? {
            idle = Duration::ZERO;
            continue;
        }
        if idle >= IDLE {
            // Whoever joins now waits for the lease, and finds no announcement when it gets it.
            return place.withdraw();
        }
        place.unlock(&lease)?;
        idle += LOOK;
    }
}

const LEASE: &str = "lease";
const STARTER: &str = "starter";
const ALIVE: &str = "alive";
const ANNOUNCEMENT: &str = "announcement";
const KEEPER_LOG: &str = "keeper.log";

const LOOK: Duration = Duration::from_millis(500);
const IDLE: Duration = Duration::from_secs(15);
const START: Duration = Duration::from_secs(90);

/// The folder by which users and keeper find one another.
#[derive(Debug)]
struct Place(PathBuf);

impl Place {
    /// One for each build folder and installed version, since these need not agree on how to share.
    fn find() -> Result<Self, Error> {
        let mut hasher = DefaultHasher::new();
        program_folder()?.hash(&mut hasher);
        Part::hdfs()?.version().hash(&mut hasher);
        let folder = scratch::root()?.join(format!("shared-hdfs-{:016x}", hasher.finish()));
        fs::create_dir_all(&folder).map_err(|source| file_error("make", &folder, source))?;
        Ok(Self(folder))
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

    fn is_kept(&self) -> Result<bool, Error> {
        let alive = self.open(ALIVE)?;
        Ok(!try_lock(&alive, Kind::Shared)? && self.path(ANNOUNCEMENT).exists())
    }

    async fn start_keeper(&self) -> Result<(), Error> {
        // What a killed keeper announced is no longer true.
        let _ = fs::remove_file(self.path(ANNOUNCEMENT));
        let program = program_folder()?.join("shared-hdfs");
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
        let what = format!("the shared HDFS; its keeper's log is {}", self.path(KEEPER_LOG).display());
        wait::until(&what, START, async || {
            if self.path(ANNOUNCEMENT).exists() {
                return Ok(());
            }
            match keeper.try_wait() {
                Ok(Some(status)) => Err(format!("its keeper has ended ({status})")),
                _ => Err("not announced yet".to_owned()),
            }
        })
        .await?;
        Ok(())
    }

    async fn announce(&self, client: &HdfsClient) -> Result<(), Error> {
        let text =
            format!("{}\n{}\n{}\n", client.authority(), client.shell().await?, client.conf_dir().display());
        let (draft, path) = (self.path("announcement.draft"), self.path(ANNOUNCEMENT));
        fs::write(&draft, text)
            .and_then(|()| fs::rename(&draft, &path))
            .map_err(|source| file_error("write", &path, source))
    }

    fn withdraw(&self) -> Result<(), Error> {
        let path = self.path(ANNOUNCEMENT);
        fs::remove_file(&path).map_err(|source| file_error("remove", &path, source))
    }

    fn client(&self) -> Result<HdfsClient, Error> {
        let path = self.path(ANNOUNCEMENT);
        let text = fs::read_to_string(&path).map_err(|source| file_error("read", &path, source))?;
        let client = || {
            let mut lines = text.lines();
            let authority = lines.next()?.to_owned();
            let shell = lines.next()?.parse().ok()?;
            Some((authority, shell, PathBuf::from(lines.next()?)))
        };
        let (authority, shell, conf_dir) =
            client().ok_or_else(|| file_error("understand", &path, io::ErrorKind::InvalidData.into()))?;
        let jvm = Jvm::new(Part::hdfs()?, conf_dir);
        Ok(HdfsClient::with_shell_at(jvm, authority, shell))
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
        Ok(false) => Err("somebody else holds it"),
        Err(error) => Ok(Err(error)),
    })
    .await?
}

/// Where cargo puts this package's programs: beside this one, or above it for tests, which lie in `deps/`.
fn program_folder() -> Result<PathBuf, Error> {
    crate::agent::program_folder().map_err(|source| Error::Run { program: "shared-hdfs".to_owned(), source })
}

fn file_error(operation: &'static str, path: &Path, source: io::Error) -> Error {
    Error::File { operation, path: path.to_owned(), source }
}
