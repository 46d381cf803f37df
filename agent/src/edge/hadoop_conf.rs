//! Hadoop's client configuration, as found on this node.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::edge::disk::{self, DiskError};

#[derive(Debug, Error)]
pub enum ConfError {
    #[error("{} does not exist", path.display())]
    Absent { path: PathBuf },
    #[error("Hadoop's configuration cannot be read")]
    Disk(#[from] DiskError),
    #[error("{} is not XML as Hadoop takes it", path.display())]
    Xml { path: PathBuf, source: roxmltree::Error },
}

impl ConfError {
    /// What has to appear first.
    pub fn waits_for(&self) -> Option<String> {
        match self {
            ConfError::Absent { path } => Some(path.display().to_string()),
            ConfError::Disk(_) | ConfError::Xml { .. } => None,
        }
    }
}

/// The properties of core-site.xml and hdfs-site.xml in `conf_dir`, as they are now.
pub fn client_properties(conf_dir: &Path) -> Result<BTreeMap<String, String>, ConfError> {
    let mut properties = BTreeMap::new();
    for name in ["core-site.xml", "hdfs-site.xml"] {
        let path = conf_dir.join(name);
        let Some(bytes) = disk::read(&path)? else { return Err(ConfError::Absent { path }) };
        let text = String::from_utf8_lossy(&bytes);
        let tree = roxmltree::Document::parse(&text).map_err(|source| ConfError::Xml { path, source })?;
        for property in tree.descendants().filter(|node| node.has_tag_name("property")) {
            let text = |name: &str| property.children().find(|node| node.has_tag_name(name)).and_then(|node| node.text());
            if let (Some(name), Some(value)) = (text("name"), text("value")) {
                properties.insert(name.trim().to_owned(), value.to_owned());
            }
        }
    }
    Ok(properties)
}
