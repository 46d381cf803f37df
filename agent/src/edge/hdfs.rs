//! The published copy on HDFS: looked at with one call when nothing changed, and replaced by a rename
//! over it, so that no reader ever finds it missing or half written.

mod access;
mod error;
mod session;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use hdfs_native::client::FileStatus;
use hdfs_native::{Client, ClientBuilder, WriteOptions};

use crate::edge::{chain, hadoop_conf};
use crate::model::document::Document;
use crate::model::plan::{Attributes, Found};
use crate::model::published_path::PublishedPath;
use crate::model::settings::PublishedSettings;
use crate::model::status::{PlaceKind, Problem};
use crate::place::{Intent, Place, Planner, Store, Visit, VisitError, converge};
pub use error::HdfsError;
use error::{Call, Named};
use session::Sessions;

/// A folder without files: keeps hdfs-native from reading the environment's configuration, which it
/// understands less of than Hadoop; it is given what was resolved by Hadoop's rules instead.
const NO_CONF_DIR: &str = "/dev/null";
/// hdfs-native's default of 15 attempts takes minutes to say that a NameNode refuses connections.
const FAILOVER_SETTINGS: [(&str, &str); 3] = [
    ("dfs.client.failover.max.attempts", "3"),
    ("dfs.client.failover.sleep.base.millis", "200"),
    ("dfs.client.failover.sleep.max.millis", "2000"),
];
/// Where a NameNode listens unless told otherwise.
const NAMENODE_PORT: u16 = 8020;
/// Larger documents are not read: a NodeManager would have to hold them at each launch.
const LARGEST: usize = 16 << 20;
/// Temporary files of this age, by the NameNode's clock, were left by a dead writer.
const ABANDONED_AFTER_MILLIS: u64 = 10 * 60 * 1000;

/// The published copy.
#[derive(Debug)]
pub struct Published {
    settings: PublishedSettings,
    conf_dir: PathBuf,
    node: String,
    sessions: Sessions,
    remembered: Option<Remembered>,
}

/// What the last look found, so that an unchanged file need not be read again each time.
#[derive(Debug, Clone)]
struct Remembered {
    file_system: String,
    stamp: Stamp,
    document: Document,
    /// The last look was at the stamp alone.
    unread: bool,
}

/// What changes whenever a file is replaced, written or touched.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    modified: u64,
    length: usize,
    permission: u16,
    owner: String,
    group: String,
}

impl Published {
    pub fn new(settings: PublishedSettings, conf_dir: PathBuf, node: String, deadline: Duration) -> Self {
        Self { settings, conf_dir, node, sessions: Sessions::new(deadline), remembered: None }
    }

    async fn converge(&mut self, planner: Planner, intent: Intent) -> Result<Visit, VisitError<HdfsError>> {
        let (file_system, properties) = self.file_system()?;
        let remembered = self.remembered.take().filter(|remembered| remembered.file_system == file_system);
        let settings = self.settings.clone();
        let node = self.node.clone();
        let visit = self.sessions.run(move || async move {
            let client = connect(&file_system, properties, &settings)?;
            let mut file = PublishedFile { client, settings, node, file_system, remembered };
            let visit = converge(&mut file, &planner, intent).await?;
            Ok::<_, VisitError<HdfsError>>((visit, file.remembered))
        });
        let (visit, remembered) = visit.await.map_err(|error| HdfsError::Session { source: error })??;
        self.remembered = remembered;
        Ok(visit)
    }

    /// The file system's URI, and Hadoop's configuration to reach it.
    fn file_system(&self) -> Result<(String, BTreeMap<String, String>), HdfsError> {
        let properties =
            hadoop_conf::client_properties(&self.conf_dir).map_err(|source| HdfsError::Conf { source })?;
        let named = self.settings.path.file_system().map(str::to_owned);
        let file_system = named.or_else(|| properties.get("fs.defaultFS").map(|uri| uri.trim().to_owned()));
        match file_system {
            Some(uri) if uri.starts_with("viewfs://") => Ok((uri, properties)),
            Some(uri) if uri.starts_with("hdfs://") => Ok((with_port(uri, &properties), properties)),
            Some(uri) => Err(HdfsError::NotHdfs { uri }),
            None => Err(HdfsError::NoDefaultFs { conf_dir: self.conf_dir.clone() }),
        }
    }
}

impl Place for Published {
    fn kind(&self) -> PlaceKind {
        PlaceKind::Hdfs
    }

    fn path(&self) -> String {
        self.settings.path.to_string()
    }

    fn visit(
        &mut self,
        planner: Planner,
        intent: Intent,
    ) -> Pin<Box<dyn Future<Output = Result<Visit, Problem>> + '_>> {
        Box::pin(async move {
            self.converge(planner, intent).await.map_err(|error| match &error {
                VisitError::Store(store) => Problem { waits_for: store.waits_for(), message: chain(&error) },
                VisitError::Unusable(_) | VisitError::Contended => {
                    Problem::new(format!("{}: {}", self.path(), chain(&error)))
                }
            })
        })
    }
}

/// Adds the NameNode's default port where neither a port is named nor a nameservice is meant.
fn with_port(uri: String, properties: &BTreeMap<String, String>) -> String {
    let authority = uri["hdfs://".len()..].split('/').next().unwrap_or_default();
    let is_nameservice = properties.contains_key(&format!("dfs.ha.namenodes.{authority}"));
    if authority.is_empty() || authority.contains(':') || is_nameservice {
        return uri;
    }
    format!("hdfs://{authority}:{NAMENODE_PORT}")
}

fn connect(
    file_system: &str,
    properties: BTreeMap<String, String>,
    settings: &PublishedSettings,
) -> Result<Client, HdfsError> {
    let secure = properties.get("hadoop.security.authentication").is_some_and(|by| by.trim() == "kerberos");
    let overrides = FAILOVER_SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let builder = ClientBuilder::new()
        .with_config_dir(NO_CONF_DIR)
        .with_config(properties.into_iter().chain(overrides))
        .with_url(file_system);
    // With Kerberos the name comes from the ticket; naming another user would ask to impersonate it.
    let builder = if secure { builder } else { builder.with_user(&settings.user) };
    builder.build().call("connect to", file_system)
}

/// The published file, during one visit.
struct PublishedFile {
    client: Client,
    settings: PublishedSettings,
    node: String,
    file_system: String,
    remembered: Option<Remembered>,
}

impl PublishedFile {
    fn path(&self) -> &PublishedPath {
        &self.settings.path
    }

    async fn status(&self) -> Result<Option<FileStatus>, HdfsError> {
        match self.client.get_file_info(self.path().path()).await {
            Ok(status) if status.isdir => Err(HdfsError::IsFolder { path: self.path().to_string() }),
            Ok(status) => Ok(Some(status)),
            Err(hdfs_native::HdfsError::FileNotFound(_)) => Ok(None),
            Err(error) => Err(error).call("look at", self.path()),
        }
    }

    async fn read(&self, path: &str) -> Result<Document, HdfsError> {
        let mut reader = self.client.read(path).await.call("open", path)?;
        let length = reader.file_length();
        if length > LARGEST {
            return Err(HdfsError::TooLarge { path: path.to_owned(), length });
        }
        let bytes = reader.read_bytes(length).await.call("read", path)?;
        Ok(Document::new(bytes.to_vec()))
    }

    /// A name beside the file that no other writer has.
    fn temporary(&self) -> String {
        let now = jiff::Timestamp::now().as_nanosecond();
        let process = std::process::id();
        self.path().sibling(&format!("{}{}-{process}-{now}", self.temporary_prefix(), self.node))
    }

    fn temporary_prefix(&self) -> String {
        format!(".{}.emr-ecr-agent-", self.path().file_name())
    }

    /// Writes a whole new file with mode and owner as given, and reads it back.
    async fn write(&self, path: &str, mode: u32, document: &Document) -> Result<(), HdfsError> {
        let options = WriteOptions::default()
            .permission(mode)
            .replication(self.settings.replication.into())
            .overwrite(false)
            .create_parent(false);
        let mut writer = match self.client.create(path, options).await {
            Ok(writer) => writer,
            Err(error) => return Err(self.creation_failed(path, error).await),
        };
        if self.settings.owner.is_some() || self.settings.group.is_some() {
            self.set_owner(path).await?;
        }
        writer.write_bytes(document.bytes().to_vec().into()).await.call("write", path)?;
        writer.close().await.call("complete", path)?;
        if self.read(path).await? != *document {
            return Err(HdfsError::ReadsBackDifferent { path: path.to_owned() });
        }
        Ok(())
    }

    /// Tells a folder that is not there yet from other failures.
    async fn creation_failed(&self, path: &str, error: hdfs_native::HdfsError) -> HdfsError {
        let folder = self.path().folder();
        match self.client.get_file_info(folder).await {
            Err(hdfs_native::HdfsError::FileNotFound(_)) => HdfsError::NoFolder { path: folder.to_owned() },
            _ => error.named("create", path),
        }
    }

    async fn set_owner(&self, path: &str) -> Result<(), HdfsError> {
        let PublishedSettings { owner, group, .. } = &self.settings;
        self.client.set_owner(path, owner.as_deref(), group.as_deref()).await.call("set the owner of", path)
    }

    /// Removes what dead writers left, judged by the clock that wrote the times.
    async fn sweep(&self, now_millis: u64) {
        let Ok(listing) = self.client.list_status(self.path().folder(), false).await else { return };
        let prefix = self.path().sibling(&self.temporary_prefix());
        let abandoned = listing.iter().filter(|file| {
            file.path.starts_with(&prefix)
                && now_millis.saturating_sub(file.modification_time) > ABANDONED_AFTER_MILLIS
        });
        for file in abandoned {
            if let Err(error) = self.client.delete(&file.path, false).await {
                tracing::warn!(path = %file.path, error = %chain(&error), "cannot remove an abandoned temporary file");
            }
        }
    }

    fn found(&self, stamp: &Stamp, document: Document) -> Found {
        let as_set = u32::from(stamp.permission) == self.settings.mode.bits()
            && self.settings.owner.as_ref().is_none_or(|owner| *owner == stamp.owner)
            && self.settings.group.as_ref().is_none_or(|group| *group == stamp.group);
        let attributes = if as_set { Attributes::AsSet } else { Attributes::Drifted };
        Found::File { document, attributes }
    }
}

impl Store for PublishedFile {
    type Error = HdfsError;

    async fn observe(&mut self) -> Result<Found, HdfsError> {
        let remembered = self.remembered.take();
        let Some(status) = self.status().await? else { return Ok(Found::Absent) };
        let stamp = Stamp::of(&status);
        let unread = remembered.filter(|remembered| remembered.stamp == stamp && !remembered.unread);
        let (document, unread) = match unread {
            Some(remembered) => (remembered.document, true),
            // Every other time the content is read too, since blocks can be lost under an unchanged stamp.
            None => (self.read(self.path().path()).await?, false),
        };
        let file_system = self.file_system.clone();
        let found = self.found(&stamp, document.clone());
        self.remembered = Some(Remembered { file_system, stamp, document, unread });
        Ok(found)
    }

    async fn replace(&mut self, document: &Document) -> Result<(), HdfsError> {
        let temporary = self.temporary();
        let path = self.path().path().to_owned();
        let written = self.write(&temporary, self.settings.mode.bits(), document).await;
        let renamed = match written {
            Ok(()) => self.client.rename(&temporary, &path, true).await.call("rename over", &path),
            Err(error) => Err(error),
        };
        if let Err(error) = renamed {
            // Best effort: what stays is swept later.
            let _ = self.client.delete(&temporary, false).await;
            return Err(error);
        }
        if let Some(status) = self.status().await? {
            self.sweep(status.modification_time).await;
        }
        Ok(())
    }

    async fn set_attributes(&mut self) -> Result<(), HdfsError> {
        let path = self.path().path();
        self.client.set_permission(path, self.settings.mode.bits()).await.call("set the mode of", path)?;
        if self.settings.owner.is_some() || self.settings.group.is_some() {
            self.set_owner(path).await?;
        }
        Ok(())
    }

    async fn set_aside(&mut self, document: &Document) -> Result<String, HdfsError> {
        let now = jiff::Timestamp::now().as_second();
        let aside =
            self.path().sibling(&format!("{}.set-aside-{now}-{}", self.path().file_name(), self.node));
        self.write(&aside, 0o600, document).await?;
        Ok(aside)
    }
}

impl Stamp {
    fn of(status: &FileStatus) -> Self {
        Self {
            modified: status.modification_time,
            length: status.length,
            permission: status.permission,
            owner: status.owner.clone(),
            group: status.group.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::with_port;

    #[test]
    fn a_namenode_has_its_default_port_and_a_nameservice_none() {
        let properties = [("dfs.ha.namenodes.ha-nn-uri".to_owned(), "nn1,nn2".to_owned())].into();
        let check = |uri: &str, expected: &str| assert_eq!(with_port(uri.to_owned(), &properties), expected);
        check("hdfs://ip-10-0-0-1", "hdfs://ip-10-0-0-1:8020");
        check("hdfs://ip-10-0-0-1/", "hdfs://ip-10-0-0-1:8020");
        check("hdfs://ip-10-0-0-1:9000", "hdfs://ip-10-0-0-1:9000");
        check("hdfs://ha-nn-uri", "hdfs://ha-nn-uri");
    }
}
