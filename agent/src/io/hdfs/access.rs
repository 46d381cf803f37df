//! Who may read and replace the published copy; it changes nothing.

use domain::check::Access;

use super::connection::Connection;
use super::{HdfsError, PublishedSink};

impl PublishedSink {
    /// Owner and mode of the file and of its directory; `None` unless both exist.
    pub async fn access(&mut self) -> Result<Option<Access>, HdfsError> {
        self.with_connection(|hdfs: Connection, settings| async move {
            let path = &settings.path;
            let Some(file) = hdfs.status(path.path()).await? else { return Ok(None) };
            let Some(directory) = hdfs.status(path.directory()).await? else { return Ok(None) };
            Ok(Some(Access {
                owner: file.owner,
                group: file.group,
                mode: u32::from(file.permission),
                directory: path.directory().to_owned(),
                directory_mode: u32::from(directory.permission),
            }))
        })
        .await
    }
}
