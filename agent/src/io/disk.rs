//! The node's own files. A Docker config is read and replaced so that no reader ever sees half of it, or a mode or
//! owner other than the configured ones.

mod guarded;

use std::fs::{self, File, OpenOptions};
use std::future::Future;
use std::io::{self, Read, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use domain::documents::Document;
use domain::documents::SinkKind;
use domain::documents::plan::{Attributes, Found};
use domain::problem::Problem;
use domain::settings::{DockerConfigSettings, Mode, Owner};
use nix::unistd::{Gid, Group, Uid, User, fchown};
use thiserror::Error;

pub(crate) use guarded::guarded;

use crate::io::blocking::BlockingCalls;
use crate::io::chain;
use crate::sink::{
    Intent, Planner, ReconcileError, Reconciled, Replacement, Sink, Store, StoreError, converge,
};

/// Larger files are neither Docker configs nor container-executor.cfg.
pub(crate) const LARGEST: u64 = 16 << 20;
/// The kernel's limit on symbolic links.
const MOST_LINKS: usize = 40;
/// Age at which a temporary file counts as abandoned.
const ABANDONED_AFTER: Duration = Duration::from_secs(60);

/// A local Docker config file.
#[derive(Debug, Clone)]
pub(crate) struct LocalSink {
    settings: DockerConfigSettings,
    calls: BlockingCalls,
}

/// An error with a local file.
#[derive(Debug, Error)]
pub enum DiskError {
    #[error("cannot {operation} {}", path.display())]
    Io { operation: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is a {kind}, not a regular file", path.display())]
    NotAFile { path: PathBuf, kind: &'static str },
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge { path: PathBuf, limit: u64 },
    #[error("{} goes through more than {MOST_LINKS} symbolic links", path.display())]
    LinkLoop { path: PathBuf },
    #[error("{} leads through {}, which other users can write to: refusing to write there", path.display(), directory.display())]
    Unguarded { path: PathBuf, directory: PathBuf },
    #[error("directory {} does not exist", path.display())]
    NoDirectory { path: PathBuf },
    #[error("{what} {name:?} does not exist on this node")]
    NoAccount { what: &'static str, name: String },
}

/// A regular file, opened once, so that checks and reads apply to the same file.
pub(crate) struct RegularFile {
    path: PathBuf,
    file: File,
    metadata: fs::Metadata,
}

/// Opens a regular file; `None` if there is none.
pub(crate) fn open(path: &Path) -> Result<Option<RegularFile>, DiskError> {
    // Without O_NONBLOCK, opening a FIFO of this name would block forever.
    let options = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).to_owned();
    let file = match options.open(path) {
        Ok(file) => file,
        Err(error) if is_absence(&error) => return Ok(None),
        Err(source) => return Err(failed("open", path, source)),
    };
    let metadata = file.metadata().map_err(|source| failed("stat", path, source))?;
    if !metadata.is_file() {
        let kind = if metadata.is_dir() { "directory" } else { "special file" };
        return Err(DiskError::NotAFile { path: path.to_owned(), kind });
    }
    Ok(Some(RegularFile { path: path.to_owned(), file, metadata }))
}

/// Reads a whole file; `None` if there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, DiskError> {
    open(path)?.map(|file| file.read(LARGEST)).transpose()
}

/// Reads `source` to its end; `None` if it has more than `limit` bytes.
pub(crate) fn read_up_to(limit: u64, source: impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    source.take(limit + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

impl RegularFile {
    /// The metadata at the time of opening.
    pub(crate) fn metadata(&self) -> &fs::Metadata {
        &self.metadata
    }

    /// Reads the whole content; fails if it exceeds `limit` bytes.
    pub(crate) fn read(self, limit: u64) -> Result<Vec<u8>, DiskError> {
        match read_up_to(limit, self.file) {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(DiskError::TooLarge { path: self.path, limit }),
            Err(source) => Err(failed("read", &self.path, source)),
        }
    }
}

impl LocalSink {
    pub(crate) fn new(settings: DockerConfigSettings, calls: BlockingCalls) -> Self {
        Self { settings, calls }
    }
}

impl Sink for LocalSink {
    fn kind(&self) -> SinkKind {
        SinkKind::Local
    }

    fn path(&self) -> String {
        self.settings.path.display().to_string()
    }

    fn reconcile(
        &mut self,
        planner: Planner,
        intent: Intent,
    ) -> Pin<Box<dyn Future<Output = Result<Reconciled, Problem>> + '_>> {
        let settings = self.settings.clone();
        let call = move || {
            let reconciled = async { converge(&mut LocalFile::find(&settings)?, &planner, intent).await };
            tokio::runtime::Handle::current().block_on(reconciled)
        };
        Box::pin(async move {
            let reconciled = self.calls.run(call).await.map_err(|error| error.problem(&self.path()))?;
            reconciled.map_err(|error: ReconcileError<DiskError>| error.problem(&self.path(), chain(&error)))
        })
    }
}

impl StoreError for DiskError {
    fn waits_for(&self) -> Option<String> {
        match self {
            DiskError::NoDirectory { path } => Some(format!("the directory {}", path.display())),
            DiskError::NoAccount { what, name } => Some(format!("the {what} {name}")),
            _ => None,
        }
    }
}

/// A Docker config file with its links resolved, which only root and the agent's user can change, and the ids of its
/// configured owner.
struct LocalFile {
    path: PathBuf,
    directory: PathBuf,
    mode: Mode,
    uid: Option<Uid>,
    gid: Option<Gid>,
    observed: Option<Stamp>,
}

/// Metadata that changes whenever a file is replaced or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    modified: (i64, i64),
    length: u64,
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Self { inode: metadata.ino(), modified, length: metadata.len() }
    }
}

impl LocalFile {
    fn find(settings: &DockerConfigSettings) -> Result<Self, DiskError> {
        let path = guarded(&settings.path)?;
        let directory = path.parent().unwrap_or(Path::new("/")).to_owned();
        let (uid, gid) = settings.owner.as_ref().map_or(Ok((None, None)), look_up)?;
        Ok(Self { path, directory, mode: settings.mode, uid, gid, observed: None })
    }

    /// Prefix of temporary files in the same directory; nothing else uses it.
    fn temporary_prefix(&self) -> String {
        format!(".{}.emr-ecr-agent-", self.path.file_name().unwrap_or_default().to_string_lossy())
    }

    fn set_mode_and_owner(&self, file: &File) -> Result<(), DiskError> {
        fchown(file.as_fd(), self.uid, self.gid)
            .map_err(|errno| failed("set the owner of", &self.path, errno.into()))?;
        file.set_permissions(fs::Permissions::from_mode(self.mode.bits()))
            .map_err(|source| failed("set the mode of", &self.path, source))
    }

    /// Creates the file's directory, but not its parents: a missing parent means that the node is not ready.
    fn ensure_directory(&self) -> Result<(), DiskError> {
        // It stays ours, since its owner could replace the file with a link. Another file owner must traverse it.
        let is_for_others = self.uid.is_some_and(|uid| uid != nix::unistd::geteuid());
        match fs::DirBuilder::new().mode(if is_for_others { 0o711 } else { 0o700 }).create(&self.directory) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let parent = self.directory.parent().unwrap_or(Path::new("/"));
                Err(DiskError::NoDirectory { path: parent.to_owned() })
            }
            Err(source) => Err(failed("create", &self.directory, source)),
        }
    }

    /// Removes temporary files that a killed writer left.
    fn sweep(&self) {
        let prefix = self.temporary_prefix();
        let now = SystemTime::now();
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let abandoned = entries.filter(|entry| {
            let ours = entry.file_name().to_string_lossy().starts_with(&prefix);
            let written = || entry.metadata().and_then(|metadata| metadata.modified());
            ours && written().is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > ABANDONED_AFTER))
        });
        for entry in abandoned {
            if let Err(error) = fs::remove_file(entry.path()) {
                tracing::warn!(path = %entry.path().display(), %error, "cannot remove an abandoned temporary file");
            }
        }
    }
}

impl Store for LocalFile {
    type Error = DiskError;

    async fn observe(&mut self, intent: Intent) -> Result<Found, DiskError> {
        if intent == Intent::Apply {
            self.sweep();
        }
        self.observed = None;
        let Some(file) = open(&self.path)? else { return Ok(Found::NOTHING) };
        let metadata = file.metadata();
        self.observed = Some(Stamp::of(metadata));
        let attributes = Attributes {
            mode: metadata.mode() & 0o7777 == self.mode.bits(),
            owner: self.uid.is_none_or(|uid| uid.as_raw() == metadata.uid())
                && self.gid.is_none_or(|gid| gid.as_raw() == metadata.gid()),
        };
        Ok(Found::File { document: Document::new(file.read(LARGEST)?), attributes })
    }

    async fn replace(&mut self, document: &Document) -> Result<Replacement, DiskError> {
        self.ensure_directory()?;
        let wrap = |operation, path: &Path| {
            let path = path.to_owned();
            move |source| failed(operation, &path, source)
        };
        // Removed on drop, so that a failure or a stop leaves nothing behind.
        let mut temporary = tempfile::Builder::new()
            .prefix(&self.temporary_prefix())
            .permissions(fs::Permissions::from_mode(0o600))
            .tempfile_in(&self.directory)
            .map_err(wrap("create a temporary file in", &self.directory))?;
        self.set_mode_and_owner(temporary.as_file())?;
        temporary.write_all(document.bytes()).map_err(wrap("write a temporary file for", &self.path))?;
        temporary.as_file().sync_all().map_err(wrap("sync a temporary file for", &self.path))?;
        // `docker login` may have replaced the file meanwhile; its changes are merged, not lost.
        let found = fs::metadata(&self.path).ok().map(|metadata| Stamp::of(&metadata));
        if found != self.observed {
            return Ok(Replacement::Overtaken);
        }
        temporary.persist(&self.path).map_err(|error| failed("replace", &self.path, error.error))?;
        let directory = File::open(&self.directory).map_err(wrap("open", &self.directory))?;
        directory.sync_all().map_err(wrap("sync", &self.directory))?;
        Ok(Replacement::Done)
    }

    async fn set_attributes(&mut self) -> Result<(), DiskError> {
        let file = File::open(&self.path).map_err(|source| failed("open", &self.path, source))?;
        self.set_mode_and_owner(&file)
    }

    async fn set_aside(&mut self, document: &Document) -> Result<String, DiskError> {
        let aside = self.path.with_extension(format!("set-aside-{}", jiff::Timestamp::now().as_second()));
        let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside);
        written
            .and_then(|mut file| file.write_all(document.bytes()).and_then(|()| file.sync_all()))
            .map_err(|source| failed("write", &aside, source))?;
        Ok(aside.display().to_string())
    }
}

fn look_up(owner: &Owner) -> Result<(Option<Uid>, Option<Gid>), DiskError> {
    let no_account = |what, name: &str| DiskError::NoAccount { what, name: name.to_owned() };
    let uid = match owner.user.parse() {
        Ok(number) => Uid::from_raw(number),
        Err(_) => match User::from_name(&owner.user) {
            Ok(Some(user)) => user.uid,
            _ => return Err(no_account("user", &owner.user)),
        },
    };
    let gid = owner.group.as_ref().map(|group| match group.parse() {
        Ok(number) => Ok(Gid::from_raw(number)),
        Err(_) => match Group::from_name(group) {
            Ok(Some(group)) => Ok(group.gid),
            _ => Err(no_account("group", group)),
        },
    });
    Ok((Some(uid), gid.transpose()?))
}

fn is_absence(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

fn failed(operation: &'static str, path: &Path, source: io::Error) -> DiskError {
    DiskError::Io { operation, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
