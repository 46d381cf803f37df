//! A server that answers each line on its standard input with one line on its standard output.

use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::time::timeout;

use crate::process::{self, Pipes, Server};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Process(#[from] process::Error),
    #[error("cannot talk to {program}")]
    Pipe { program: String, source: io::Error },
    #[error("{program} did not answer within {} s", DEADLINE.as_secs())]
    Silent { program: String },
    #[error("{program} ended without an answer:\n{log}")]
    Ended { program: String, log: String },
}

/// The running server, stopped when dropped.
#[derive(Debug)]
pub struct LineServer {
    program: String,
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    server: Server,
}

impl LineServer {
    /// Starts the server as [`Server::start_piped`] does.
    pub fn start(program: &str, command: Command, log: &Path) -> Result<Self, Error> {
        let (server, Pipes { stdin, stdout }) = Server::start_piped(program, command, log)?;
        let answers = BufReader::new(stdout).lines();
        Ok(Self { program: program.to_owned(), requests: stdin, answers, server })
    }

    /// Sends a line, which must not contain a newline, and returns the answer.
    pub async fn ask(&mut self, request: &str) -> Result<String, Error> {
        let exchange = async {
            self.requests.write_all(format!("{request}\n").as_bytes()).await?;
            self.requests.flush().await?;
            self.answers.next_line().await
        };
        let program = || self.program.clone();
        match timeout(DEADLINE, exchange).await {
            Err(_elapsed) => Err(Error::Silent { program: program() }),
            Ok(Err(source)) => Err(Error::Pipe { program: program(), source }),
            Ok(Ok(None)) => Err(Error::Ended { program: program(), log: self.server.log_text() }),
            Ok(Ok(Some(line))) => Ok(line),
        }
    }
}

const DEADLINE: Duration = Duration::from_secs(60);
