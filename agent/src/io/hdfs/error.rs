//! What goes wrong on HDFS, told by operation and path; Java's stack traces are cut off.

use std::fmt::Display;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::session::SessionError;
use crate::io::hadoop_conf::ConfError;
use crate::place::StoreError;

#[derive(Debug, Error)]
pub enum HdfsError {
    #[error("cannot tell where HDFS is")]
    Conf { source: ConfError },
    #[error("fs.defaultFS is not set in {}", conf_dir.display())]
    NoDefaultFs { conf_dir: PathBuf },
    #[error("fs.defaultFS is {uri}, which is no HDFS")]
    NotHdfs { uri: String },
    #[error("the keytab {} does not exist", path.display())]
    NoKeytab { path: PathBuf },
    #[error("cannot open the keytab {}", path.display())]
    Keytab { path: PathBuf, source: io::Error },
    #[error("the keytab {} is open to everybody (mode {mode:04o}); it must be closed to others", path.display())]
    OpenKeytab { path: PathBuf, mode: u32 },
    #[error("the visit to HDFS was given up")]
    Session { source: SessionError },
    #[error("cannot {operation} {path} on HDFS")]
    Call { operation: &'static str, path: String, source: Cause },
    #[error("{path} on HDFS is a folder, not a file")]
    IsFolder { path: String },
    #[error("the folder {path} does not exist on HDFS")]
    NoFolder { path: String },
    #[error("{path} on HDFS is held open by another writer")]
    HeldOpen { path: String },
    #[error("{path} on HDFS has {length} bytes, too many for a Docker config")]
    TooLarge { path: String, length: usize },
    #[error("{path} on HDFS reads back different from what was written")]
    ReadsBackDifferent { path: String },
}

/// What the library or the NameNode said.
#[derive(Debug, Error)]
pub enum Cause {
    #[error("{}: {message}", short_class(class))]
    Remote { class: String, message: String },
    #[error(transparent)]
    Library(hdfs_native::HdfsError),
}

impl StoreError for HdfsError {
    fn waits_for(&self) -> Option<String> {
        match self {
            HdfsError::Conf { source } => source.waits_for(),
            HdfsError::NoDefaultFs { .. } => Some("fs.defaultFS in core-site.xml".to_owned()),
            HdfsError::NoFolder { path } => Some(format!("the folder {path} on HDFS")),
            HdfsError::Session { .. } => Some("HDFS to answer".to_owned()),
            HdfsError::Call { source, .. } => source.waits_for(),
            HdfsError::NoKeytab { path } => Some(format!("the keytab {}", path.display())),
            HdfsError::HeldOpen { path } => Some(format!("the end of another writer's lease on {path}")),
            HdfsError::NotHdfs { .. }
            | HdfsError::Keytab { .. }
            | HdfsError::OpenKeytab { .. }
            | HdfsError::IsFolder { .. }
            | HdfsError::TooLarge { .. }
            | HdfsError::ReadsBackDifferent { .. } => None,
        }
    }

    fn leaves_nothing(&self) -> bool {
        matches!(self, HdfsError::IsFolder { .. })
    }
}

impl HdfsError {
    /// Whether a file is there whose content cannot be had; a NameNode's refusal is something else.
    pub(super) fn is_loss_of_content(&self) -> bool {
        matches!(
            self,
            HdfsError::Call { operation: "read", source: Cause::Library(_), .. } | HdfsError::HeldOpen { .. }
        )
    }
}

impl Cause {
    fn waits_for(&self) -> Option<String> {
        match self {
            Cause::Remote { class, message } => match short_class(class) {
                "SafeModeException" => Some("HDFS to leave safe mode".to_owned()),
                "StandbyException" => Some("an active NameNode".to_owned()),
                "AccessControlException" => Some("permission on HDFS".to_owned()),
                "NSQuotaExceededException" | "DSQuotaExceededException" => Some("quota on HDFS".to_owned()),
                "IOException" if message.contains("could only be written to 0") => {
                    Some("a DataNode".to_owned())
                }
                _ => None,
            },
            Cause::Library(hdfs_native::HdfsError::IOError(_)) => Some("HDFS".to_owned()),
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
            other => Cause::Library(other),
        }
    }
}

/// Names the operation and the path of a failed call.
pub(super) trait Call<T> {
    fn call(self, operation: &'static str, path: impl Display) -> Result<T, HdfsError>;
}

impl<T> Call<T> for Result<T, hdfs_native::HdfsError> {
    fn call(self, operation: &'static str, path: impl Display) -> Result<T, HdfsError> {
        self.map_err(|error| error.named(operation, path))
    }
}

pub(super) trait Named {
    fn named(self, operation: &'static str, path: impl Display) -> HdfsError;
}

impl Named for hdfs_native::HdfsError {
    fn named(self, operation: &'static str, path: impl Display) -> HdfsError {
        HdfsError::Call { operation, path: path.to_string(), source: self.into() }
    }
}

fn short_class(class: &str) -> &str {
    class.rsplit(['.', '$']).next().unwrap_or(class)
}
