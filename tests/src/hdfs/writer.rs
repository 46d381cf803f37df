//! Another writer, halfway through: `hadoop fs` reads from a pipe that the test keeps open, so the file stays open,
//! under a lease, for as long as the test needs.

use std::process::ExitStatus;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;

use super::client::FS_SHELL;
use super::{Error, HdfsClient, START};
use crate::process::{Pipes, Server};
use crate::scratch;
use crate::wait;

/// How it writes the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Overwrites the file in place, as `-put -f -d` does.
    Overwrite,
    /// Appends to the file, as `-appendToFile` does.
    Append,
}

/// The writer. Dropping it kills it, which leaves its lease behind.
#[derive(Debug)]
pub struct HalfWriter {
    server: Server,
    pipe: ChildStdin,
    _directory: scratch::Directory,
}

impl HalfWriter {
    /// Opens the file as `user`, writes `beginning` and waits until HDFS has opened the file.
    pub async fn open(
        client: &HdfsClient,
        user: &str,
        path: &str,
        (manner, beginning): (Manner, &str),
    ) -> Result<Self, Error> {
        let directory = scratch::directory("writer")?;
        let mut command = client.java(user, FS_SHELL);
        match manner {
            Manner::Overwrite => command.args(["-put", "-f", "-d", "-", path]),
            Manner::Append => command.args(["-appendToFile", "-", path]),
        };
        let log = directory.path().join("writer.log");
        let (server, Pipes { stdin: mut pipe, .. }) = Server::start_piped(WRITER, command, &log)?;
        pipe.write_all(beginning.as_bytes()).await.map_err(failed)?;
        pipe.flush().await.map_err(failed)?;
        wait::until("the open file", START, async || match is_open(client, path).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("it is not open; the writer's log: {:?}", server.log_text())),
            Err(error) => Err(error.to_string()),
        })
        .await?;
        Ok(Self { server, pipe, _directory: directory })
    }

    /// Writes the rest and returns the writer's exit status.
    pub async fn finish(mut self, rest: &str, deadline: Duration) -> Result<ExitStatus, Error> {
        // A writer that lost its lease may already have ended.
        let _ = self.pipe.write_all(rest.as_bytes()).await;
        drop(self.pipe);
        Ok(self.server.ended(deadline).await?)
    }
}

/// Returns whether any client, running or dead, holds the lease on this file.
pub async fn is_open(client: &HdfsClient, path: &str) -> Result<bool, Error> {
    let listing = client.dfs_admin(&["-listOpenFiles", "-path", path]).await?;
    Ok(listing.split_whitespace().any(|word| word == path))
}

const WRITER: &str = "another writer";

fn failed(source: std::io::Error) -> Error {
    Error::Run { program: WRITER.to_owned(), source }
}
