//! HDFS errors, by operation and URI, without Java's stack traces.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::worker::WorkerError;
use crate::io::hadoop_conf::ConfError;
use crate::sink::StoreError;

#[derive(Debug, Error)]
pub enum HdfsError {
    #[error("cannot determine HDFS address")]
    Conf { source: ConfError },
    #[error("fs.defaultFS is not set in {}", conf_dir.display())]
    NoDefaultFs { conf_dir: PathBuf },
    #[error("fs.defaultFS is {uri}, which is not an HDFS URI")]
    NotHdfs { uri: String },
    #[error("keytab {} does not exist", path.display())]
    NoKeytab { path: PathBuf },
    #[error("cannot open keytab {}", path.display())]
    Keytab { path: PathBuf, source: io::Error },
    #[error("keytab {} is accessible to others (mode {mode:04o}); it must be closed to them", path.display())]
    OpenKeytab { path: PathBuf, mode: u32 },
    #[error("gave up on {file_system}")]
    Worker { file_system: String, source: WorkerError },
    #[error("cannot {operation} {uri}")]
    Call { operation: Operation, uri: String, source: Cause },
    #[error("cannot read {uri}")]
    Read { uri: String, source: Cause },
    #[error("{uri} already exists")]
    AlreadyExists { uri: String },
    #[error("{uri} is a directory, not a file")]
    IsDirectory { uri: String },
    #[error("directory {uri} does not exist")]
    NoDirectory { uri: String },
    #[error("directory {uri} does not exist, and the agent's HDFS user may not create it; run: {command}")]
    NoSecureDirectory { uri: String, command: String, source: Box<HdfsError> },
    #[error("{uri} is held open by another writer")]
    HeldOpen { uri: String },
    #[error("{uri} has {length} bytes, too many for a Docker config")]
    TooLarge { uri: String, length: usize },
    #[error("{uri} reads back different from what was written")]
    ReadsBackDifferent { uri: String },
}

/// The NameNode's answer, or why the library did not get one.
#[derive(Debug, Error)]
pub enum Cause {
    #[error("{}: {message}", short_class(class))]
    Remote { class: String, message: String },
    #[error(transparent)]
    Io(io::Error),
    // Its message already includes its cause.
    #[error("{0}")]
    Library(hdfs_native::HdfsError),
}

/// A call to HDFS; displays as the verb in "cannot VERB FILE".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Connect,
    Stat,
    Open,
    Create,
    SetOwner,
    Write,
    Complete,
    Rename,
    Delete,
    SetMode,
    MakeDirectory,
    RecoverLease,
    List,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect to",
            Self::Stat => "stat",
            Self::Open => "open",
            Self::Create => "create",
            Self::SetOwner => "set the owner of",
            Self::Write => "write",
            Self::Complete => "complete",
            Self::Rename => "rename a temporary file to",
            Self::Delete => "delete",
            Self::SetMode => "set the mode of",
            Self::MakeDirectory => "make the directory",
            Self::RecoverLease => "recover the lease of",
            Self::List => "list",
        })
    }
}

impl StoreError for HdfsError {
    fn waits_for(&self) -> Option<String> {
        match self {
            HdfsError::Conf { source } => source.waits_for(),
            HdfsError::NoDefaultFs { .. } => Some("fs.defaultFS in core-site.xml".to_owned()),
            HdfsError::NoDirectory { uri } | HdfsError::NoSecureDirectory { uri, .. } => {
                Some(format!("the directory {uri}"))
            }
            HdfsError::Worker { .. } => Some("HDFS to answer".to_owned()),
            HdfsError::Call { source, .. } | HdfsError::Read { source, .. } => source.waits_for(),
            HdfsError::NoKeytab { path } => Some(format!("the keytab {}", path.display())),
            HdfsError::HeldOpen { uri } => Some(format!("the end of another writer's lease on {uri}")),
            HdfsError::NotHdfs { .. }
            | HdfsError::Keytab { .. }
            | HdfsError::OpenKeytab { .. }
            | HdfsError::AlreadyExists { .. }
            | HdfsError::IsDirectory { .. }
            | HdfsError::TooLarge { .. }
            | HdfsError::ReadsBackDifferent { .. } => None,
        }
    }

    fn leaves_nothing(&self) -> bool {
        matches!(self, HdfsError::IsDirectory { .. }) || self.is_unreadable()
    }

    fn is_fatal(&self) -> bool {
        matches!(self, HdfsError::Worker { source: WorkerError::Stuck, .. })
    }
}

impl HdfsError {
    /// Whether neither the agent nor a launch can use the file's content in full.
    pub(super) fn is_loss_of_content(&self) -> bool {
        self.is_unreadable() || self.is_unusable() || matches!(self, HdfsError::HeldOpen { .. })
    }

    /// Whether the file is too large or closed to others: replacing it needs access only to the directory.
    pub(super) fn is_unusable(&self) -> bool {
        match self {
            HdfsError::TooLarge { .. } => true,
            HdfsError::Call { operation: Operation::Open, .. } => self.is_denied(),
            _ => false,
        }
    }

    /// Whether the NameNode denied the user the call.
    pub(super) fn is_denied(&self) -> bool {
        match self {
            HdfsError::Call { source: Cause::Remote { class, .. }, .. } => {
                short_class(class) == "AccessControlException"
            }
            _ => false,
        }
    }

    /// Whether the content may become readable without being rewritten.
    pub(super) fn may_pass(&self) -> bool {
        self.is_unreadable() || matches!(self, HdfsError::HeldOpen { .. })
    }

    /// Whether no DataNode returned a block of the file: it is lost or not reported yet.
    pub(super) fn is_unreadable(&self) -> bool {
        matches!(self, HdfsError::Read { source: Cause::Io(_) | Cause::Library(_), .. })
    }
}

impl Cause {
    fn waits_for(&self) -> Option<String> {
        match self {
            Cause::Remote { class, .. } => match short_class(class) {
                "SafeModeException" => Some("HDFS to leave safe mode".to_owned()),
                "StandbyException" => Some("an active NameNode".to_owned()),
                "AccessControlException" => Some("permission on HDFS".to_owned()),
                "NSQuotaExceededException" | "DSQuotaExceededException" => Some("quota on HDFS".to_owned()),
                _ => None,
            },
            Cause::Io(_) => Some("HDFS".to_owned()),
            Cause::Library(_) => None,
        }
    }
}

impl From<hdfs_native::HdfsError> for Cause {
    fn from(error: hdfs_native::HdfsError) -> Self {
        match error {
            hdfs_native::HdfsError::RPCError(class, text)
            | hdfs_native::HdfsError::FatalRPCError(class, text) => {
                let message = text.lines().next().unwrap_or_default().to_owned();
                Cause::Remote { class, message }
            }
            hdfs_native::HdfsError::IOError(error) => Cause::Io(error),
            other => Cause::Library(other),
        }
    }
}

/// Adds the operation and the file to a failed call's error.
pub(super) trait Call<T> {
    fn call(self, operation: Operation, uri: impl FnOnce() -> String) -> Result<T, HdfsError>;
}

impl<T> Call<T> for Result<T, hdfs_native::HdfsError> {
    fn call(self, operation: Operation, uri: impl FnOnce() -> String) -> Result<T, HdfsError> {
        self.map_err(|error| HdfsError::Call { operation, uri: uri(), source: error.into() })
    }
}

fn short_class(class: &str) -> &str {
    class.rsplit(['.', '$']).next().unwrap_or(class)
}

#[cfg(test)]
mod tests {
    use super::{Cause, HdfsError, Operation};

    #[test]
    fn only_what_is_in_the_way_counts_as_unusable() {
        let refused = |operation, class: &str| HdfsError::Call {
            operation,
            uri: "hdfs://nn/a".to_owned(),
            source: Cause::Remote { class: class.to_owned(), message: String::new() },
        };
        let denied = "org.apache.hadoop.security.AccessControlException";
        let check = |error: HdfsError, expected: bool| assert_eq!(error.is_unusable(), expected, "{error}");
        check(HdfsError::TooLarge { uri: "hdfs://nn/a".to_owned(), length: 1 << 20 }, true);
        check(refused(Operation::Open, denied), true);
        check(refused(Operation::Create, denied), false);
        check(refused(Operation::Open, "org.apache.hadoop.ipc.StandbyException"), false);
        check(HdfsError::IsDirectory { uri: "hdfs://nn/a".to_owned() }, false);
    }
}
