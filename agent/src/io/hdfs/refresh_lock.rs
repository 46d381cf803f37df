//! The turn to renew the published credentials: a file beside the published one that only one node
//! can have created. It saves calls to ECR; what is published would be right without it.

use domain::documents::Document;
use domain::settings::PublishedSettings;

use super::connection::{Connection, NewFile};
use super::{HdfsError, Published};
use crate::place::Turn;

/// Takes the turn, unless another node has it.
pub(super) async fn take(published: &mut Published) -> Result<Turn, HdfsError> {
    let now = published.started.elapsed();
    if published.turn.is_ours(now) {
        return Ok(Turn::Ours);
    }
    let held = published
        .with_connection(|hdfs, settings| async move { create(&hdfs, &path_of(&settings), &settings).await });
    let taken = match held.await? {
        None => true,
        Some(created) if published.turn.is_abandoned(created, now) => take_over(published).await?,
        Some(_) => false,
    };
    if !taken {
        return Ok(Turn::Others);
    }
    published.turn.taken(published.started.elapsed());
    Ok(Turn::Ours)
}

/// Gives the turn back, if we have it.
pub(super) async fn end(published: &mut Published) -> Result<(), HdfsError> {
    if !published.turn.is_ours(published.started.elapsed()) {
        return Ok(());
    }
    published.turn.given_back();
    let ended =
        published.with_connection(|hdfs, settings| async move { hdfs.delete(&path_of(&settings)).await });
    ended.await.map(|_| ())
}

async fn take_over(published: &mut Published) -> Result<bool, HdfsError> {
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
        // Given back in between: the next pass may have it.
        Err(HdfsError::AlreadyExists { .. }) => {
            Ok(Some(hdfs.status(path).await?.map_or(0, |status| status.modification_time)))
        }
        Err(error) => Err(error),
    }
}

fn path_of(settings: &PublishedSettings) -> String {
    settings.path.sibling(&format!(".{}.emr-ecr-agent-turn", settings.path.file_name()))
}
