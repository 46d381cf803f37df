//! The published file during one reconciliation. Costs one call if nothing changed; replaces the file by renaming
//! over it, so that no reader ever finds it missing or half written.

use domain::documents::plan::{Attributes, Found};
use domain::documents::{Document, PublishedPath};
use domain::refresh::schedule;
use domain::settings::PublishedSettings;
use hdfs_native::client::FileStatus;

use super::connection::{Connection, NewFile};
use super::{HdfsError, directory};
use crate::io::chain;
use crate::sink::{Intent, Replacement, Store};

/// Age by the NameNode's clock at which a temporary file counts as left by a dead writer.
const ABANDONED_AFTER_MILLIS: u64 = 10 * 60 * 1000;
/// How long, and how many, copies of broken documents are kept.
const ASIDE_KEPT_MILLIS: u64 = 7 * 24 * 3600 * 1000;
const MOST_ASIDE: usize = 3;

/// The published file.
pub(super) struct PublishedFile {
    hdfs: Connection,
    settings: PublishedSettings,
    node: String,
    remembered: Option<Remembered>,
    /// The last content that could be read, even if the file is gone: it may be the only copy of other writers'
    /// entries.
    last_known: Option<Document>,
    /// Whether the NodeManager's user was denied the file.
    is_denied: Option<bool>,
    /// Whether content that cannot be read counts as lost, rather than as not yet reported by its DataNodes or not
    /// yet closed by the NameNode.
    is_lost: bool,
}

/// The last observation, which saves rereading an unchanged file each time.
#[derive(Debug, Clone)]
pub(super) struct Remembered {
    file_system: String,
    stamp: Stamp,
    document: Document,
    /// Whether the content was readable at the last observation.
    readable: bool,
    /// Consecutive observations that found the file unchanged.
    reads: u32,
}

/// Metadata that changes whenever a file is replaced, written or touched.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    modified: u64,
    length: usize,
    permission: u16,
    owner: String,
    group: String,
}

impl Remembered {
    /// Marks a file that has since been found unreadable.
    pub(super) fn unreadable(self) -> Self {
        Self { readable: false, ..self }
    }
}

impl PublishedFile {
    pub(super) fn new(
        hdfs: Connection,
        settings: PublishedSettings,
        node: String,
        remembered: Option<Remembered>,
        is_lost: bool,
    ) -> Self {
        let remembered = remembered.filter(|remembered| remembered.file_system == hdfs.file_system());
        Self { hdfs, settings, node, remembered, last_known: None, is_denied: None, is_lost }
    }

    /// What to remember, and whether the NodeManager's user was denied the file, if tried.
    pub(super) fn into_observed(self) -> (Option<Remembered>, Option<bool>) {
        (self.remembered, self.is_denied)
    }

    fn path(&self) -> &PublishedPath {
        &self.settings.path
    }

    fn uri(&self) -> String {
        self.hdfs.uri(self.path().path())
    }

    async fn status(&self) -> Result<Option<FileStatus>, HdfsError> {
        status_of(self.path().path(), &self.hdfs).await
    }

    /// Fails on a file that is held open: the library omits its last block, which other readers get.
    async fn read_whole(&self, status: &FileStatus) -> Result<Document, HdfsError> {
        let document = self.hdfs.read(self.path().path()).await?;
        if document.bytes().len() >= status.length {
            return Ok(document);
        }
        // Another node may have replaced the file with a shorter one meanwhile.
        match self.status().await? {
            Some(now) if Stamp::of(&now) == Stamp::of(status) => Err(HdfsError::HeldOpen { uri: self.uri() }),
            _ => Ok(document),
        }
    }

    /// Reads stamp and content; `None` if there is no file.
    async fn observe_all(&self) -> Result<Option<Remembered>, HdfsError> {
        let Some(status) = self.status().await? else { return Ok(None) };
        let document = self.read_whole(&status).await?;
        let file_system = self.hdfs.file_system().to_owned();
        Ok(Some(Remembered { file_system, stamp: Stamp::of(&status), document, readable: true, reads: 0 }))
    }

    async fn observe_stamp(&mut self, before: Remembered) -> Result<Option<Remembered>, HdfsError> {
        let path = self.path().path().to_owned();
        let status = self.call_like_a_launch(async |hdfs| status_of(&path, hdfs).await).await?;
        let Some(status) = status else { return Ok(None) };
        let stamp = Stamp::of(&status);
        if stamp == before.stamp {
            return Ok(Some(before));
        }
        let document = self.read_whole(&status).await?;
        Ok(Some(Remembered { stamp, document, readable: true, reads: 0, ..before }))
    }

    async fn observe_content(&mut self, before: Remembered) -> Result<Option<Remembered>, HdfsError> {
        let path = self.path().path().to_owned();
        match self.call_like_a_launch(async |hdfs| hdfs.read(&path).await).await {
            Ok(document) if document == before.document => Ok(Some(Remembered { readable: true, ..before })),
            // Gone, replaced or unreadable: a full observation shows which.
            _ => self.observe_all().await,
        }
    }

    /// Calls as the NodeManager's user where the agent can; otherwise, or if that user is denied, as its own.
    async fn call_like_a_launch<T>(
        &mut self,
        call: impl AsyncFn(&Connection) -> Result<T, HdfsError>,
    ) -> Result<T, HdfsError> {
        let Some(node_manager) = self.hdfs.as_node_manager() else { return call(&self.hdfs).await };
        let answer = call(&node_manager).await;
        let is_denied = answer.as_ref().is_err_and(HdfsError::is_denied);
        self.is_denied = Some(is_denied);
        if is_denied { call(&self.hdfs).await } else { answer }
    }

    /// Handles a file that the NameNode knows but whose content is unreadable. If all DataNodes fail temporarily,
    /// writes fail too, so nothing is replaced.
    async fn unreadable(
        &mut self,
        before: Option<Remembered>,
        error: HdfsError,
        intent: Intent,
    ) -> Result<Found, HdfsError> {
        let why = chain(&error);
        tracing::warn!(error = why, "cannot read published file");
        let Some(status) = self.status().await? else { return Ok(self.absent()) };
        let (stamp, held_open) = (Stamp::of(&status), matches!(error, HdfsError::HeldOpen { .. }));
        let may_close = intent == Intent::Apply && held_open && before.is_none() && !self.is_lost;
        if may_close && self.close().await {
            return Err(error);
        }
        // Content being written in place has no value yet, and content that no launch can use never does; a file
        // replaced as a whole is newer than `before`.
        let is_worthless = held_open || error.is_unusable();
        let is_same = before.is_some_and(|before| before.stamp == stamp);
        let last_known = self.last_known.clone().filter(|_| is_worthless || is_same);
        self.remembered = Some(Remembered {
            file_system: self.hdfs.file_system().to_owned(),
            stamp,
            document: last_known.clone().unwrap_or_else(|| Document::new(Vec::new())),
            readable: false,
            reads: 0,
        });
        Ok(Found::Unreadable { why, last_known })
    }

    /// Revokes the lease on a file that was never read here and may have entries that exist nowhere else; a later
    /// pass finds it closed. `false` if not permitted.
    async fn close(&self) -> bool {
        let Err(error) = self.hdfs.recover_lease(self.path().path()).await else { return true };
        tracing::warn!(error = %chain(&error), "cannot end another writer's lease");
        // The NameNode also refuses while a block of the file is still being recovered.
        !error.is_denied()
    }

    /// Writes `document` under the name `temporary` and renames it over the file, unless another writer replaced
    /// the file first.
    async fn replace_by(&mut self, temporary: &str, document: &Document) -> Result<Replacement, HdfsError> {
        self.write(temporary, self.settings.mode.bits(), document).await?;
        let found = self.status().await?.map(|status| Stamp::of(&status));
        if found.as_ref() != self.remembered.as_ref().map(|file| &file.stamp) {
            return Ok(Replacement::Overtaken);
        }
        let path = self.path().path();
        if found.is_some() {
            self.hdfs.rename_over(temporary, path).await?;
        } else if !self.hdfs.rename_to_absent(temporary, path).await? {
            return Ok(Replacement::Overtaken);
        }
        // The next observation reads everything.
        self.remembered = None;
        if let Some(status) = self.status().await? {
            self.sweep(status.modification_time).await;
        }
        Ok(Replacement::Done)
    }

    /// A name in the same directory that no other writer uses.
    fn temporary(&self) -> String {
        let now = jiff::Timestamp::now().as_nanosecond();
        let process = std::process::id();
        self.path().sibling(&format!("{}{}-{process}-{now}", self.temporary_prefix(), self.node))
    }

    fn temporary_prefix(&self) -> String {
        format!(".{}.emr-ecr-agent-", self.path().file_name())
    }

    /// Writes a new file with the given mode and the configured owner, and reads it back.
    async fn write(&self, path: &str, mode: u32, document: &Document) -> Result<(), HdfsError> {
        let PublishedSettings { replication, owner, group, .. } = &self.settings;
        let new = NewFile { mode, replication: *replication, owner: owner.clone(), group: group.clone() };
        directory::create(&self.hdfs, &self.settings, path, new, document).await?;
        if self.hdfs.read(path).await? != *document {
            return Err(HdfsError::ReadsBackDifferent { uri: self.hdfs.uri(path) });
        }
        Ok(())
    }

    /// Removes files of dead writers and old copies of broken documents, by the NameNode's clock.
    async fn sweep(&self, now_millis: u64) {
        let Ok(listing) = self.hdfs.list(self.path().directory()).await else { return };
        let age = |file: &FileStatus| now_millis.saturating_sub(file.modification_time);
        let temporary = self.path().sibling(&self.temporary_prefix());
        let is_abandoned =
            |file: &&FileStatus| file.path.starts_with(&temporary) && age(file) > ABANDONED_AFTER_MILLIS;
        let aside = self.path().sibling(&self.aside_prefix());
        let mut aside: Vec<&FileStatus> =
            listing.iter().filter(|file| file.path.starts_with(&aside) && !file.isdir).collect();
        aside.sort_by_key(|file| age(file));
        let kept = aside.iter().take(MOST_ASIDE).take_while(|file| age(file) <= ASIDE_KEPT_MILLIS).count();
        for file in listing.iter().filter(is_abandoned).chain(aside.split_off(kept)) {
            if let Err(error) = self.hdfs.delete(&file.path).await {
                tracing::warn!(error = %chain(&error), "cannot remove an old agent file");
            }
        }
    }

    fn aside_prefix(&self) -> String {
        format!("{}.set-aside-", self.path().file_name())
    }

    fn may_restore(&self, file: &Remembered) -> bool {
        self.settings.is_by_an_agent(&file.stamp.owner) && !file.document.bytes().is_empty()
    }

    fn absent(&self) -> Found {
        Found::Absent { last_known: self.last_known.clone() }
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

    async fn observe(&mut self, intent: Intent) -> Result<Found, HdfsError> {
        let before = self.remembered.take();
        if let Some(before) = before.as_ref().filter(|before| self.may_restore(before)) {
            self.last_known = Some(before.document.clone());
        }
        let observed = match before.clone() {
            Some(before) => {
                let before = Remembered { reads: before.reads.wrapping_add(1), ..before };
                let whole = schedule::reads_content(before.reads, schedule::jitter_fraction(&self.node));
                if whole || !before.readable {
                    self.observe_content(before).await
                } else {
                    self.observe_stamp(before).await
                }
            }
            None => self.observe_all().await,
        };
        let observed = match observed {
            // Another writer may have replaced or opened it between the block lookup and the read.
            Err(error) if error.is_loss_of_content() => self.observe_all().await,
            observed => observed,
        };
        self.remembered = match observed {
            // After a restart the NameNode may leave safe mode before the last DataNode has reported.
            Err(error) if error.is_unreadable() && !self.is_lost => return Err(error),
            Err(error) if error.is_loss_of_content() => return self.unreadable(before, error, intent).await,
            observed => observed?,
        };
        let Some(file) = &self.remembered else { return Ok(self.absent()) };
        if !self.settings.is_by_an_agent(&file.stamp.owner) {
            let why = format!("it is owned by the HDFS user {:?}, not by an agent", file.stamp.owner);
            tracing::warn!(uri = self.uri(), error = why, "ignoring the published file");
            return Ok(Found::Unreadable { why, last_known: None });
        }
        Ok(self.found(file))
    }

    async fn replace(&mut self, document: &Document) -> Result<Replacement, HdfsError> {
        let temporary = self.temporary();
        let replaced = self.replace_by(&temporary, document).await;
        if !matches!(replaced, Ok(Replacement::Done)) {
            // Best effort: a later sweep removes leftovers.
            let _ = self.hdfs.delete(&temporary).await;
        }
        replaced
    }

    async fn set_attributes(&mut self) -> Result<(), HdfsError> {
        let path = self.path().path();
        self.hdfs.set_mode(path, self.settings.mode.bits()).await?;
        let PublishedSettings { owner, group, .. } = &self.settings;
        if owner.is_some() || group.is_some() {
            self.hdfs.set_owner(path, owner, group).await?;
        }
        Ok(())
    }

    async fn set_aside(&mut self, document: &Document) -> Result<String, HdfsError> {
        let now = jiff::Timestamp::now().as_nanosecond();
        let aside = self.path().sibling(&format!("{}{now}-{}", self.aside_prefix(), self.node));
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

/// `None` if `path` does not exist.
async fn status_of(path: &str, hdfs: &Connection) -> Result<Option<FileStatus>, HdfsError> {
    match hdfs.status(path).await? {
        Some(status) if status.isdir => Err(HdfsError::IsDirectory { uri: hdfs.uri(path) }),
        status => Ok(status),
    }
}
