//! Hadoop's client configuration as found on this node, read by Hadoop's own rules.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use domain::check::{SiteContent, SiteFile};
use hadoop_rules::site::{Includes, NoVariables, Site, SiteError, Variables};
use thiserror::Error;

use crate::io::chain;
use crate::io::disk::{self, DiskError};

/// The files that Hadoop's clients read, in this order.
const CLIENT_FILES: [&str; 2] = ["core-site.xml", "hdfs-site.xml"];

#[derive(Debug, Error)]
pub enum ConfError {
    #[error("{} does not exist", path.display())]
    Absent { path: PathBuf },
    #[error("cannot read Hadoop's configuration")]
    Disk(#[from] DiskError),
    #[error("Hadoop rejects its configuration")]
    Site(#[from] SiteError),
}

impl ConfError {
    /// What must appear first.
    pub fn waits_for(&self) -> Option<String> {
        match self {
            ConfError::Absent { path } => Some(path.display().to_string()),
            ConfError::Disk(_) | ConfError::Site(_) => None,
        }
    }
}

/// The current properties of core-site.xml and hdfs-site.xml in `conf_dir`, with variables expanded and values
/// trimmed.
pub(crate) fn client_properties(conf_dir: &Path) -> Result<BTreeMap<String, String>, ConfError> {
    let mut site = Site::new();
    for name in CLIENT_FILES {
        let path = conf_dir.join(name);
        let Some(bytes) = disk::read(&path)? else { return Err(ConfError::Absent { path }) };
        site.load(&path.display().to_string(), &bytes, &BesideTheFile)?;
    }
    let values = site.resolve(&ThisProcess).values().clone();
    Ok(values.into_iter().map(|(name, value)| (name, value.trim().to_owned())).collect())
}

/// Whether Hadoop's clients authenticate with Kerberos; `false` if their configuration cannot be read.
pub(crate) fn uses_kerberos(conf_dir: &Path) -> bool {
    client_properties(conf_dir).is_ok_and(|properties| is_kerberos(&properties))
}

pub(crate) fn is_kerberos(properties: &BTreeMap<String, String>) -> bool {
    let authentication = properties.get("hadoop.security.authentication");
    authentication.is_some_and(|how| how.eq_ignore_ascii_case("kerberos"))
}

/// Reads a yarn-site.xml for a check; expands variables of this process's environment only in this node's own file.
pub(crate) fn yarn_site(path: &Path, of_this_node: bool) -> SiteFile {
    let name = path.display().to_string();
    let content = match disk::read(path) {
        Ok(Some(bytes)) => loaded(&name, &bytes, of_this_node),
        Ok(None) => SiteContent::Absent,
        Err(error) => SiteContent::Unusable { line: None, why: chain(&error) },
    };
    SiteFile { path: name, content }
}

fn loaded(name: &str, bytes: &[u8], of_this_node: bool) -> SiteContent {
    let mut site = Site::new();
    if let Err(error) = site.load(name, bytes, &BesideTheFile) {
        return SiteContent::Unusable { line: Some(error.line()), why: chain(&error) };
    }
    let variables: &dyn Variables = if of_this_node { &ThisProcess } else { &NoVariables };
    let resolved = site.resolve(variables);
    SiteContent::Loaded { site, resolved }
}

/// Includes are files, relative to the file that includes them.
struct BesideTheFile;

impl Includes for BesideTheFile {
    fn load(&self, href: &str, base: &str) -> Option<Vec<u8>> {
        let directory = Path::new(base).parent()?;
        disk::read(&directory.join(href.strip_prefix("file://").unwrap_or(href))).ok().flatten()
    }
}

/// `${env.NAME}` in this process's environment; of Java's system properties only `user.name`.
struct ThisProcess;

impl Variables for ThisProcess {
    fn environment(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn system_property(&self, name: &str) -> Option<String> {
        match name {
            "user.name" => nix::unistd::User::from_uid(nix::unistd::Uid::effective())
                .ok()
                .flatten()
                .map(|user| user.name),
            _ => None,
        }
    }
}
