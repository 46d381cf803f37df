//! Reads a published file at full speed, with plain HDFS streams in one JVM, and checks every read.
//!
//! A read is good if it returns a complete document with a valid credential for each requested registry.

use std::ops::Sub;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::hdfs::HdfsClient;
use crate::line_server::{self, LineServer};
use crate::scratch;
use crate::yarn;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Scratch(#[from] scratch::Error),
    #[error(transparent)]
    Server(#[from] line_server::Error),
    #[error("the readers gave an invalid answer: {answer}")]
    Answer { answer: String, source: serde_json::Error },
}

/// The running readers, stopped when dropped.
#[derive(Debug)]
pub struct Readers {
    server: LineServer,
    _directory: scratch::Directory,
}

/// What the readers have seen since they started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Seen {
    pub reads: u64,
    /// Distinct good contents: the file was published at least this many times.
    pub versions: u64,
    /// Reads that HDFS cut off because it deleted the blocks of the opened file, which had been replaced. No
    /// publisher can prevent that, so they do not count as bad.
    pub replaced: u64,
    pub bad: Bad,
    /// Descriptions of some bad reads.
    pub examples: Vec<String>,
}

/// Bad reads by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bad {
    /// No file.
    pub missing: u64,
    /// Not a complete JSON document.
    pub torn: u64,
    /// A document that would make a launch fail or leave it without a credential.
    pub poisonous: u64,
    /// An expired credential.
    pub expired: u64,
    /// Any other failed read.
    pub other: u64,
}

impl Bad {
    pub fn total(self) -> u64 {
        self.missing + self.torn + self.poisonous + self.expired + self.other
    }
}

impl Sub for Bad {
    type Output = Bad;

    fn sub(self, before: Bad) -> Bad {
        Bad {
            missing: self.missing - before.missing,
            torn: self.torn - before.torn,
            poisonous: self.poisonous - before.poisonous,
            expired: self.expired - before.expired,
            other: self.other - before.other,
        }
    }
}

impl Readers {
    /// Starts `threads` readers of the existing file at `uri` as the NodeManagers' user.
    pub fn start(hdfs: &HdfsClient, uri: &str, threads: usize, registries: &[&str]) -> Result<Self, Error> {
        let directory = scratch::directory("readers")?;
        let mut command = hdfs.optimized_java(yarn::USER, "Readers");
        command.arg(uri).arg(threads.to_string()).args(registries);
        let log = directory.path().join("readers.log");
        let server = LineServer::start("the readers", command, &log)?;
        Ok(Self { server, _directory: directory })
    }

    pub async fn seen(&mut self) -> Result<Seen, Error> {
        let answer = self.server.ask("count").await?;
        serde_json::from_str(&answer).map_err(|source| Error::Answer { answer, source })
    }

    /// Replaces the file with an older version whose credentials live for at least `remaining`, as a writer that
    /// lost a race might. Returns whether there was one.
    pub async fn set_back(&mut self, remaining: Duration) -> Result<bool, Error> {
        #[derive(Deserialize)]
        struct Outcome {
            done: bool,
        }
        let answer = self.server.ask(&format!("set-back {}", remaining.as_secs())).await?;
        match serde_json::from_str::<Outcome>(&answer) {
            Ok(outcome) => Ok(outcome.done),
            Err(source) => Err(Error::Answer { answer, source }),
        }
    }
}
