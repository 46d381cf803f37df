//! The refresh lock: a file next to the published one that only one node can create. It saves calls to ECR; the
//! published file would be correct without it.

use domain::documents::Document;
use domain::refresh::LockHolder;
use domain::settings::PublishedSettings;
use jiff::Timestamp;

use super::connection::{Connection, NewFile};
use super::error::Operation;
use super::{HdfsError, PublishedSink, directory};
use crate::sink::RefreshLock;

/// Longest node name that is accepted.
const LONGEST_NAME: usize = 64;

/// A lock that already exists.
struct Existing {
    /// When it was last written, in milliseconds by the NameNode's clock.
    written: u64,
    /// The node that it names.
    node: Option<String>,
}

/// Acquires the lock unless another node holds it. A lock that names this node is from its previous process.
pub(super) async fn try_acquire(published: &mut PublishedSink) -> Result<RefreshLock, HdfsError> {
    let now = published.started.elapsed();
    if published.lock.is_held(now) {
        return Ok(RefreshLock::Acquired);
    }
    let node = published.node.clone();
    let held = published
        .with_connection(|hdfs, settings| async move { create_or_read(&hdfs, &settings, &node).await });
    let taken = match held.await? {
        None => true,
        Some(existing) => {
            let is_own = existing.node.as_ref() == Some(&published.node);
            if !is_own && !published.lock.is_abandoned(existing.written, now) {
                return Ok(RefreshLock::HeldElsewhere(existing.holder()));
            }
            take_over(published).await?
        }
    };
    if !taken {
        return Ok(RefreshLock::HeldElsewhere(LockHolder::default()));
    }
    published.lock.acquired(published.started.elapsed());
    Ok(RefreshLock::Acquired)
}

/// Releases the lock if this node holds it.
pub(super) async fn release(published: &mut PublishedSink) -> Result<(), HdfsError> {
    if !published.lock.is_held(published.started.elapsed()) {
        return Ok(());
    }
    published.lock.released();
    let ended =
        published.with_connection(|hdfs, settings| async move { hdfs.delete(&path_of(&settings)).await });
    ended.await.map(|_| ())
}

async fn take_over(published: &mut PublishedSink) -> Result<bool, HdfsError> {
    let node = published.node.clone();
    let held = published.with_connection(|hdfs, settings| async move {
        hdfs.delete(&path_of(&settings)).await?;
        create_or_read(&hdfs, &settings, &node).await
    });
    held.await.map(|held| held.is_none())
}

/// Creates the file with the name of `node` in it; returns the existing lock if there is one.
async fn create_or_read(
    hdfs: &Connection,
    settings: &PublishedSettings,
    node: &str,
) -> Result<Option<Existing>, HdfsError> {
    let path = path_of(settings);
    let new = NewFile { mode: 0o600, replication: settings.replication, owner: None, group: None };
    let content = Document::new(node.as_bytes().to_vec());
    match directory::create(hdfs, settings, &path, new, &content).await {
        Ok(()) => Ok(None),
        // The file exists, which is enough: without a DataNode it cannot have content.
        Err(HdfsError::Call { operation: Operation::Write | Operation::Complete, .. }) => Ok(None),
        Err(HdfsError::AlreadyExists { .. }) => {
            let written = hdfs.status(&path).await?.map_or(0, |status| status.modification_time);
            // A lock with an unreadable name counts as another node's.
            let document = hdfs.read(&path).await.ok();
            let node = document.and_then(|document| node_name(document.bytes()));
            Ok(Some(Existing { written, node }))
        }
        Err(error) => Err(error),
    }
}

impl Existing {
    fn holder(self) -> LockHolder {
        let since = i64::try_from(self.written).ok().filter(|millis| *millis > 0);
        LockHolder {
            node: self.node,
            since: since.and_then(|millis| Timestamp::from_millisecond(millis).ok()),
        }
    }
}

/// Anyone may have written it, so accept only what can be a host name.
fn node_name(bytes: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(bytes).ok().filter(|name| (1..=LONGEST_NAME).contains(&name.len()))?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    name.chars().all(allowed).then(|| name.to_owned())
}

fn path_of(settings: &PublishedSettings) -> String {
    settings.path.sibling(&format!(".{}.emr-ecr-agent-lock", settings.path.file_name()))
}

#[cfg(test)]
mod tests {
    use super::node_name;

    #[test]
    fn only_a_hosts_name_is_shown() {
        let check = |bytes: &[u8], expected: Option<&str>| assert_eq!(node_name(bytes).as_deref(), expected);
        check(b"ip-10-0-0-1.ec2.internal", Some("ip-10-0-0-1.ec2.internal"));
        check(b"", None);
        check(b"two words", None);
        check(b"\xff", None);
        check(&[b'a'; 65], None);
    }
}
