//! Who may read and replace the published copy; it looks and changes nothing.

use domain::check::Access;

use super::error::Call as _;
use super::{HdfsError, Published};

impl Published {
    /// Owner and mode of the file and of its folder.
    pub async fn access(&self) -> Result<Access, HdfsError> {
        self.with_client(|client, settings, _| async move {
            let path = &settings.path;
            let file = client.get_file_info(path.path()).await.call("look at", path)?;
            let folder = client.get_file_info(path.folder()).await.call("look at", path.folder())?;
            Ok(Access {
                owner: file.owner,
                group: file.group,
                mode: u32::from(file.permission),
                directory: path.folder().to_owned(),
                directory_mode: u32::from(folder.permission),
            })
        })
        .await
    }
}
