//! The turn to renew the published credentials: a file beside the published one that only one node
//! can have created. A holder that died is told by a file that stays as it is for too long, by the
//! clock of whoever looks; no clocks are compared.
//!
//! It saves calls to ECR. What is published would be right without it.

use std::time::{Duration, Instant};

use hdfs_native::{Client, WriteOptions};

use super::error::Call as _;
use super::{HdfsError, Published};
use crate::place::Turn;

/// What is known of the turn from before.
#[derive(Debug)]
pub(super) struct Memory {
    /// The longest that a living node holds it.
    length: Duration,
    ours_since: Option<Instant>,
    others: Option<Others>,
}

/// A turn of another node, as seen.
#[derive(Debug, Clone, Copy)]
struct Others {
    created: u64,
    first_seen: Instant,
}

impl Memory {
    pub fn new(length: Duration) -> Self {
        Self { length, ours_since: None, others: None }
    }

    /// Still ours from a time when the renewal failed.
    fn is_ours(&self) -> bool {
        self.ours_since.is_some_and(|since| since.elapsed() < self.length)
    }

    /// Notes a turn of another node; whether it has been held for too long.
    fn is_abandoned(&mut self, created: u64) -> bool {
        let known = self.others.filter(|others| others.created == created);
        let others = *self.others.insert(known.unwrap_or(Others { created, first_seen: Instant::now() }));
        others.first_seen.elapsed() > self.length
    }
}

/// Takes the turn, unless another node has it.
pub(super) async fn take(published: &mut Published) -> Result<Turn, HdfsError> {
    if published.turn.is_ours() {
        return Ok(Turn::Ours);
    }
    published.turn.ours_since = None;
    let held = published.with_client(|client, settings, _| async move {
        create(&client, &path_of(&settings), settings.replication.into()).await
    });
    let taken = match held.await? {
        None => true,
        Some(created) if published.turn.is_abandoned(created) => take_over(published).await?,
        Some(_) => false,
    };
    if !taken {
        return Ok(Turn::Others);
    }
    published.turn.ours_since = Some(Instant::now());
    published.turn.others = None;
    Ok(Turn::Ours)
}

/// Gives the turn back, if we have it.
pub(super) async fn end(published: &mut Published) -> Result<(), HdfsError> {
    if !published.turn.is_ours() {
        return Ok(());
    }
    published.turn.ours_since = None;
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

fn path_of(settings: &crate::model::settings::PublishedSettings) -> String {
    settings.path.sibling(&format!(".{}.emr-ecr-agent-turn", settings.path.file_name()))
}
