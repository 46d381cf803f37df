//! Who may read and replace the published copy. Changes nothing.

use std::path::Path;

use domain::check::{Access, Permissions};
use hdfs_native::client::FileStatus;

use super::connection::Connection;
use super::{HdfsError, PublishedSink};

impl PublishedSink {
    /// Owners and modes of the file and of all directories above it; `None` if the file does not exist.
    pub(super) async fn read_access(&mut self) -> Result<Option<Access>, HdfsError> {
        self.with_connection(|hdfs: Connection, settings| async move {
            let permissions = |path: &Path, status: FileStatus| Permissions {
                path: path.display().to_string(),
                owner: status.owner,
                group: status.group,
                mode: u32::from(status.permission),
            };
            let path = Path::new(settings.path.path());
            let mut is_directory = false;
            let mut chain = Vec::new();
            for part in path.ancestors() {
                let Some(status) = hdfs.status(&part.to_string_lossy()).await? else { return Ok(None) };
                if chain.is_empty() {
                    is_directory = status.isdir;
                }
                chain.push(permissions(part, status));
            }
            let file = chain.remove(0);
            Ok(Some(Access { file, is_directory, directories: chain }))
        })
        .await
    }
}
