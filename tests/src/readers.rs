//! Readers of a published file at full speed: plain HDFS streams in one JVM, every read judged.
//!
//! A read is good if it gives a whole document with a living credential for each registry asked for.

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

/// The running readers; they end when dropped.
#[derive(Debug)]
pub struct Readers {
    server: LineServer,
    _directory: scratch::Directory,
}

/// What the readers have seen since they started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Seen {
    pub reads: u64,
    /// Different good contents, which is how often the file was published at least.
    pub versions: u64,
    pub bad: Bad,
    /// What was wrong with some of the bad reads.
    pub examples: Vec<String>,
}

/// Bad reads by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bad {
    /// No file.
    pub missing: u64,
    /// Not a whole JSON document.
    pub torn: u64,
    /// A document with which a launch would fail, or get no credential.
    pub poisonous: u64,
    /// A credential that had ended.
    pub expired: u64,
    /// Another failure of the read.
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
    /// Starts `threads` readers of the file at `uri` as the NodeManagers' user; it is to be there already.
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

    /// Puts an older version whose credentials live for at least `remaining` in the file's stead, as a writer that
    /// lost a race might; whether there was one.
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
