//! Who may read and replace the published copy; it looks and changes nothing.

use super::error::Call as _;
use super::{HdfsError, Published, connect};
use crate::model::check::Access;

impl Published {
    /// Owner and mode of the file and of its folder.
    pub async fn access(&self) -> Result<Access, HdfsError> {
        let (file_system, properties) = self.file_system()?;
        let settings = self.settings.clone();
        let look = self.sessions.run(move || async move {
            let client = connect(&file_system, properties, &settings)?;
            let path = &settings.path;
            let file = client.get_file_info(path.path()).await.call("look at", path)?;
            let folder = client.get_file_info(path.folder()).await.call("look at", path.folder())?;
            Ok(Access {
                owner: file.owner,
                group: file.group,
                mode: u32::from(file.permission),
                folder: path.folder().to_owned(),
                folder_mode: u32::from(folder.permission),
            })
        });
        look.await.map_err(|source| HdfsError::Session { source })?
    }
}
