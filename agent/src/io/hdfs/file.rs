//! The published file during one visit: looked at with one call when nothing changed, and replaced by
//! a rename over it, so that no reader ever finds it missing or half written.

use domain::documents::plan::{Attributes, Found};
use domain::documents::{Document, PublishedPath};
use domain::refresh::schedule;
use domain::settings::PublishedSettings;
use hdfs_native::client::FileStatus;
use hdfs_native::{Client, WriteOptions};

use super::HdfsError;
use super::error::{Call as _, Named as _};
use crate::io::chain;
use crate::place::{Replacement, Store};

/// Larger documents are not read: a NodeManager would have to hold them at each launch.
const LARGEST: usize = 16 << 20;
/// Temporary files of this age, by the NameNode's clock, were left by a dead writer.
const ABANDONED_AFTER_MILLIS: u64 = 10 * 60 * 1000;

/// The published file.
pub(super) struct PublishedFile {
    client: Client,
    settings: PublishedSettings,
    node: String,
    file_system: String,
    remembered: Option<Remembered>,
}

/// What the last look found, so that an unchanged file need not be read again each time.
#[derive(Debug, Clone)]
pub(super) struct Remembered {
    file_system: String,
    stamp: Stamp,
    document: Document,
    /// Whether the last look at the content could read it.
    readable: bool,
    /// How often in a row the file was found unchanged.
    looks: u32,
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

impl Remembered {
    pub fn is_of(&self, file_system: &str) -> bool {
        self.file_system == file_system
    }
}

impl PublishedFile {
    pub fn new(
        client: Client,
        settings: PublishedSettings,
        node: String,
        file_system: String,
        remembered: Option<Remembered>,
    ) -> Self {
        Self { client, settings, node, file_system, remembered }
    }

    pub fn into_remembered(self) -> Option<Remembered> {
        self.remembered
    }

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

    /// Of a file that is held open the library leaves out the last block, which other readers get.
    async fn read_whole(&self, status: &FileStatus) -> Result<Document, HdfsError> {
        let document = self.read(self.path().path()).await?;
        if document.bytes().len() >= status.length {
            return Ok(document);
        }
        // Unless another node was faster, and its file is shorter.
        match self.status().await? {
            Some(now) if Stamp::of(&now) == Stamp::of(status) => {
                Err(HdfsError::HeldOpen { path: self.path().to_string() })
            }
            _ => Ok(document),
        }
    }

    /// Looks at all there is; none if there is no file.
    async fn look(&self) -> Result<Option<Remembered>, HdfsError> {
        let Some(status) = self.status().await? else { return Ok(None) };
        let document = self.read_whole(&status).await?;
        let file_system = self.file_system.clone();
        Ok(Some(Remembered { file_system, stamp: Stamp::of(&status), document, readable: true, looks: 0 }))
    }

    async fn look_at_stamp(&self, before: Remembered) -> Result<Option<Remembered>, HdfsError> {
        let Some(status) = self.status().await? else { return Ok(None) };
        let stamp = Stamp::of(&status);
        if stamp == before.stamp {
            return Ok(Some(before));
        }
        let document = self.read_whole(&status).await?;
        Ok(Some(Remembered { stamp, document, readable: true, looks: 0, ..before }))
    }

    async fn look_at_content(&self, before: Remembered) -> Result<Option<Remembered>, HdfsError> {
        match self.read(self.path().path()).await {
            Ok(document) if document == before.document => Ok(Some(Remembered { readable: true, ..before })),
            // Gone, replaced or unreadable: the whole look tells which.
            _ => self.look().await,
        }
    }

    /// The NameNode knows the file, and its content cannot be had. Where that is a passing trouble of all
    /// DataNodes, nothing can be written either, and so nothing is replaced.
    async fn unreadable(&mut self, before: Option<Remembered>, why: HdfsError) -> Result<Found, HdfsError> {
        tracing::warn!(error = %chain(&why), "the content of the published file cannot be had");
        let Some(status) = self.status().await? else { return Ok(Found::Absent) };
        let (stamp, held_open) = (Stamp::of(&status), matches!(why, HdfsError::HeldOpen { .. }));
        if held_open && before.is_none() && self.is_being_closed().await {
            return Err(why);
        }
        // What somebody writes in place has no worth yet; what was replaced as a whole is newer than before.
        let last_known = before.filter(|before| held_open || before.stamp == stamp);
        let last_known = last_known.map(|before| before.document);
        self.remembered = Some(Remembered {
            file_system: self.file_system.clone(),
            stamp,
            document: last_known.clone().unwrap_or_else(|| Document::new(Vec::new())),
            readable: false,
            looks: 0,
        });
        Ok(Found::Unreadable { last_known })
    }

    /// Takes the lease from whoever holds open a file that was never read here, and may have entries that
    /// nobody else has: a later look finds it closed. `false` if that is not permitted.
    async fn is_being_closed(&self) -> bool {
        let recovery = self.client.recover_lease(self.path().path()).await;
        if let Err(error) = &recovery {
            tracing::warn!(path = %self.path(), error = %chain(error), "cannot end another writer's lease");
        }
        recovery.is_ok()
    }

    /// Writes `document` under the name `temporary` and puts it in the file's stead, unless another
    /// writer did so first.
    async fn replace_by(&mut self, temporary: &str, document: &Document) -> Result<Replacement, HdfsError> {
        self.write(temporary, self.settings.mode.bits(), document).await?;
        let found = self.status().await?.map(|status| Stamp::of(&status));
        if found.as_ref() != self.remembered.as_ref().map(|file| &file.stamp) {
            return Ok(Replacement::Overtaken);
        }
        let path = self.path().path();
        self.client.rename(temporary, path, true).await.call("rename over", path)?;
        // The next look is at everything.
        self.remembered = None;
        if let Some(status) = self.status().await? {
            self.sweep(status.modification_time).await;
        }
        Ok(Replacement::Done)
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

    fn found(&self, Remembered { stamp, document, .. }: &Remembered) -> Found {
        let attributes = Attributes {
            mode: u32::from(stamp.permission) == self.settings.mode.bits(),
            owner: self.settings.owner.as_ref().is_none_or(|owner| *owner == stamp.owner)
                && self.settings.group.as_ref().is_none_or(|group| *group == stamp.group),
        };
        Found::File { document: document.clone(), attributes }
    }
}

impl Store for PublishedFile {
    type Error = HdfsError;

    async fn observe(&mut self) -> Result<Found, HdfsError> {
        let before = self.remembered.take();
        let looked = match before.clone() {
            Some(before) => {
                let before = Remembered { looks: before.looks.wrapping_add(1), ..before };
                let its_turn = schedule::looks_at_content(before.looks, schedule::unit_of(&self.node));
                match its_turn || !before.readable {
                    true => self.look_at_content(before).await,
                    false => self.look_at_stamp(before).await,
                }
            }
            None => self.look().await,
        };
        let looked = match looked {
            // Another writer may have replaced it, or opened it, between the question where it lies and the read.
            Err(error) if error.is_loss_of_content() => self.look().await,
            looked => looked,
        };
        self.remembered = match looked {
            Err(error) if error.is_loss_of_content() => return self.unreadable(before, error).await,
            looked => looked?,
        };
        Ok(self.remembered.as_ref().map_or(Found::Absent, |file| self.found(file)))
    }

    async fn replace(&mut self, document: &Document) -> Result<Replacement, HdfsError> {
        let temporary = self.temporary();
        let replaced = self.replace_by(&temporary, document).await;
        if !matches!(replaced, Ok(Replacement::Done)) {
            // Best effort: what stays is swept later.
            let _ = self.client.delete(&temporary, false).await;
        }
        replaced
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
