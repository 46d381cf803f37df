//! `hadoop fs` and `hdfs dfsadmin` without starting a JVM for each command: one process runs Hadoop's own shells on
//! request.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::jvm::Jvm;
use super::{Error, SUPERUSER};
use crate::keeper::Service;
use crate::parts::Part;
use crate::process::{self, Finished, Pipes, Server};
use crate::scratch;

/// The running process, stopped when dropped.
#[derive(Debug)]
pub(super) struct ShellServer {
    address: SocketAddr,
    server: Server,
}

impl ShellServer {
    pub(super) async fn start(jvm: &Jvm, log: &Path) -> Result<Self, Error> {
        let command = jvm.command(SUPERUSER, "FsShellServer");
        let (server, Pipes { stdout, .. }) = Server::start_piped("the HDFS shell", command, log)?;
        let (mut answers, mut port) = (BufReader::new(stdout), String::new());
        let first_line = timeout(DEADLINE, answers.read_line(&mut port)).await;
        first_line.map_err(|elapsed| failed(elapsed.into()))?.map_err(failed)?;
        let port: u16 = port.trim().parse().map_err(|_| Error::Run {
            program: "the HDFS shell".to_owned(),
            source: std::io::ErrorKind::InvalidData.into(),
        })?;
        Ok(Self { address: (Ipv4Addr::LOCALHOST, port).into(), server })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn process_id(&self) -> Option<u32> {
        self.server.process_id()
    }

    /// Returns an error with the end of the log if the server has ended.
    pub(super) fn still_runs(&mut self) -> Result<(), process::Error> {
        self.server.still_runs()
    }
}

/// The shell shared by tests; it serves any HDFS without Kerberos.
#[derive(Debug)]
pub struct KeptShell {
    // Fields drop in this order: the server must end before its files go.
    shell: ShellServer,
    jvm: Jvm,
    log: PathBuf,
    _home: scratch::Directory,
}

/// Its address and processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShellAnnouncement {
    pub address: SocketAddr,
    pub process: u32,
    pub keeper: u32,
}

impl Service for KeptShell {
    const KIND: &'static str = "hdfs-shell";
    type Announcement = ShellAnnouncement;
    type Error = Error;

    async fn start() -> Result<Self, Error> {
        let home = scratch::directory("hdfs-shell")?;
        // Every command names its own file system.
        let jvm = Jvm::new(Part::hadoop()?, super::write_conf_of_none(home.path())?);
        let log = home.path().join("shell.log");
        Ok(Self { shell: ShellServer::start(&jvm, &log).await?, jvm, log, _home: home })
    }

    fn announcement(&self) -> ShellAnnouncement {
        ShellAnnouncement {
            address: self.shell.address(),
            process: self.shell.process_id().unwrap_or_default(),
            keeper: std::process::id(),
        }
    }

    async fn restart_ended(&mut self) -> Result<bool, Error> {
        let Err(ended) = self.shell.still_runs() else { return Ok(false) };
        eprintln!("{ended}");
        self.shell = ShellServer::start(&self.jvm, &self.log).await?;
        Ok(true)
    }
}

pub(super) async fn connect(shell: SocketAddr) -> Result<TcpStream, Error> {
    TcpStream::connect(shell).await.map_err(failed)
}

/// What the server runs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Program {
    Fs,
    DfsAdmin,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::Fs => "fs",
            Self::DfsAdmin => "dfsadmin",
        }
    }
}

/// A command for the HDFS configured in this directory.
#[derive(Debug)]
pub(super) struct Command<'a> {
    pub conf_dir: &'a Path,
    pub user: &'a str,
    pub program: Program,
    pub args: &'a [&'a str],
}

/// Runs the command on the server connected to `stream`.
pub(super) async fn run(mut stream: TcpStream, command: &Command<'_>) -> Result<Finished, Error> {
    let Command { conf_dir, user, program, args } = command;
    let request = json!({ "conf": conf_dir, "user": user, "program": program.name(), "args": args });
    let request = format!("{request}\n");
    let exchange = async {
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let answer: Value = serde_json::from_slice(&answer)?;
        Ok(answer)
    };
    let answer =
        timeout(DEADLINE, exchange).await.map_err(|elapsed| failed(elapsed.into()))?.map_err(failed)?;
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    Ok(Finished {
        code: answer["status"].as_i64().and_then(|status| i32::try_from(status).ok()).unwrap_or(-1),
        out: text("out"),
        err: text("err"),
    })
}

const DEADLINE: Duration = Duration::from_secs(60);

fn failed(source: std::io::Error) -> Error {
    Error::Run { program: "the HDFS shell".to_owned(), source }
}
