//! The turn to renew the published credentials: a file beside the published one that only one node
//! can have created. It saves calls to ECR; what is published would be right without it.

use domain::settings::PublishedSettings;
use hdfs_native::{Client, WriteOptions};

use super::error::Call as _;
use super::{HdfsError, Published};
use crate::place::Turn;

/// Takes the turn, unless another node has it.
pub(super) async fn take(published: &mut Published) -> Result<Turn, HdfsError> {
    let now = published.started.elapsed();
    if published.turn.is_ours(now) {
        return Ok(Turn::Ours);
    }
    let held = published.with_client(|client, settings, _| async move {
        create(&client, &path_of(&settings), settings.replication.into()).await
    });
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
    let ended = published.with_client(|client, settings, _| async move {
        let path = path_of(&settings);
        client.delete(&path, false).await.call("remove", &path)
    });
    ended.await.map(|_| ())
}

async fn take_over(published: &Published) -> Result<bool, HdfsError> {
    let held = published.with_client(|client, settings, _| async move {
        let path = path_of(&settings);
        client.delete(&path, false).await.call("remove", &path)?;
        create(&client, &path, settings.replication.into()).await
    });
    held.await.map(|held| held.is_none())
}

/// Creates the file; if there is one already, tells when it was created.
async fn create(client: &Client, path: &str, replication: u32) -> Result<Option<u64>, HdfsError> {
    let options = WriteOptions::default()
        .permission(0o600)
        .replication(replication)
        .overwrite(false)
        .create_parent(false);
    match client.create(path, options).await {
        Ok(mut file) => {
            file.close().await.call("complete", path)?;
            Ok(None)
        }
        Err(hdfs_native::HdfsError::AlreadyExists(_)) => match client.get_file_info(path).await {
            Ok(status) => Ok(Some(status.modification_time)),
            // Given back in between: the next pass may have it.
            Err(hdfs_native::HdfsError::FileNotFound(_)) => Ok(Some(0)),
            Err(error) => Err(error).call("look at", path),
        },
        Err(error) => Err(error).call("create", path),
    }
}

fn path_of(settings: &PublishedSettings) -> String {
    settings.path.sibling(&format!(".{}.emr-ecr-agent-turn", settings.path.file_name()))
}
