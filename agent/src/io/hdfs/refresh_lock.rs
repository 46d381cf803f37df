//! The refresh lock: a file beside the published one that only one node can have created. It saves calls to ECR;
//! what is published would be right without it.

use domain::documents::Document;
use domain::settings::PublishedSettings;

use super::connection::{Connection, NewFile};
use super::{HdfsError, PublishedSink};
use crate::sink::RefreshLock;

/// Acquires the lock unless another node holds it.
pub(super) async fn try_acquire(published: &mut PublishedSink) -> Result<RefreshLock, HdfsError> {
    let now = published.started.elapsed();
    if published.lock.is_held(now) {
        return Ok(RefreshLock::Acquired);
    }
    let held = published
        .with_connection(|hdfs, settings| async move { create(&hdfs, &path_of(&settings), &settings).await });
    let taken = match held.await? {
        None => true,
        Some(created) if published.lock.is_abandoned(created, now) => take_over(published).await?,
        Some(_) => false,
    };
    if !taken {
        return Ok(RefreshLock::HeldElsewhere);
    }
    published.lock.acquired(published.started.elapsed());
    Ok(RefreshLock::Acquired)
}

/// Releases the lock, if we hold it.
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
    let held = published.with_connection(|hdfs, settings| async move {
        let path = path_of(&settings);
        hdfs.delete(&path).await?;
        create(&hdfs, &path, &settings).await
    });
    held.await.map(|held| held.is_none())
}

/// Creates the file; if there is one already, returns when it was created.
async fn create(
    hdfs: &Connection,
    path: &str,
    settings: &PublishedSettings,
) -> Result<Option<u64>, HdfsError> {
    let new = NewFile { mode: 0o600, replication: settings.replication, owner: None, group: None };
    match hdfs.create(path, new, &Document::new(Vec::new())).await {
        Ok(()) => Ok(None),
        // Released in between: the next pass may acquire it.
        Err(HdfsError::AlreadyExists { .. }) => {
            Ok(Some(hdfs.status(path).await?.map_or(0, |status| status.modification_time)))
        }
        Err(error) => Err(error),
    }
}

fn path_of(settings: &PublishedSettings) -> String {
    settings.path.sibling(&format!(".{}.emr-ecr-agent-lock", settings.path.file_name()))
}
