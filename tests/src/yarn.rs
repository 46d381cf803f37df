//! What a NodeManager does with the published config.json at a container launch, done by YARN's own class.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::time::timeout;

use crate::hdfs::HdfsClient;
use crate::process::{self, Dialogue, Server};
use crate::scratch;

/// The user that NodeManagers run as.
pub const USER: &str = "yarn";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Scratch(#[from] scratch::Error),
    #[error(transparent)]
    Process(#[from] process::Error),
    #[error("cannot talk to the running YARN reader")]
    Dialogue { source: io::Error },
    #[error("the YARN reader gave no answer in {} s", DEADLINE.as_secs())]
    Silent,
    #[error("the YARN reader ended without an answer:\n{log}")]
    Ended { log: String },
    #[error("the YARN reader answered something else than asked: {answer}")]
    Answer { answer: String },
    #[error("cannot read what YARN hands to docker in {}", path.display())]
    HandOver { path: PathBuf, source: io::Error },
}

/// How a launch would have gone on.
#[derive(Debug)]
pub enum Launch {
    /// Docker is started with these credentials.
    Handed(HandOver),
    /// The container fails with this Java exception.
    Failed { class: String, message: String },
}

/// The directory that docker gets by `--config`, and what its config.json holds.
pub struct HandOver {
    pub config_json: PathBuf,
    auths: BTreeMap<String, String>,
}

impl HandOver {
    /// The registries there are credentials for, in order.
    pub fn registries(&self) -> impl Iterator<Item = &str> {
        self.auths.keys().map(String::as_str)
    }

    /// The `auth` of a registry, as it stands in the file.
    pub fn auth(&self, registry: &str) -> Option<&str> {
        self.auths.get(registry).map(String::as_str)
    }

    /// The password in the `auth` of a registry.
    pub fn password(&self, registry: &str) -> Option<String> {
        let decoded = BASE64.decode(self.auth(registry)?).ok()?;
        let (_user, password) = str::from_utf8(&decoded).ok()?.split_once(':')?;
        Some(password.to_owned())
    }
}

impl fmt::Debug for HandOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandOver").field("registries", &self.auths.keys()).finish_non_exhaustive()
    }
}

/// A running JVM that launches on demand. Good for some hundreds: YARN's class never closes its streams.
#[derive(Debug)]
pub struct YarnReader {
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    launches: u32,
    server: Server,
    directory: scratch::Directory,
}

impl YarnReader {
    pub fn start(hdfs: &HdfsClient) -> Result<Self, Error> {
        let directory = scratch::directory("yarn")?;
        let mut command = hdfs.java(USER, "YarnReader");
        command.arg("serve");
        let log = directory.path().join("reader.log");
        let mut server = Server::start("the YARN reader", command, &log, Dialogue::Piped)?;
        let (requests, answers) =
            server.take_dialogue().ok_or(Error::Dialogue { source: io::ErrorKind::BrokenPipe.into() })?;
        Ok(Self { requests, answers: BufReader::new(answers).lines(), launches: 0, server, directory })
    }

    /// Does what a launch with `YARN_CONTAINER_RUNTIME_DOCKER_CLIENT_CONFIG=uri` does before docker is run.
    pub async fn launch(&mut self, uri: &str) -> Result<Launch, Error> {
        self.launches += 1;
        let dir = self.directory.path().join(self.launches.to_string());
        fs::create_dir(&dir).map_err(|source| Error::Dialogue { source })?;

        let answer = self.ask(&format!("{uri}\t{}\n", dir.display())).await?;
        let Ok(parsed) = serde_json::from_str::<Value>(&answer) else {
            return Err(Error::Answer { answer });
        };
        if let Some(class) = parsed["error"].as_str() {
            return Ok(Launch::Failed {
                class: class.to_owned(),
                message: parsed["message"].as_str().unwrap_or("null").to_owned(),
            });
        }
        hand_over(&dir.join("config.json")).map(Launch::Handed)
    }

    async fn ask(&mut self, request: &str) -> Result<String, Error> {
        let exchange = async {
            self.requests.write_all(request.as_bytes()).await?;
            self.requests.flush().await?;
            self.answers.next_line().await
        };
        match timeout(DEADLINE, exchange).await {
            Err(_elapsed) => Err(Error::Silent),
            Ok(Err(source)) => Err(Error::Dialogue { source }),
            Ok(Ok(None)) => Err(Error::Ended { log: self.server.log_text() }),
            Ok(Ok(Some(line))) => Ok(line),
        }
    }
}

const DEADLINE: Duration = Duration::from_secs(60);

fn hand_over(path: &Path) -> Result<HandOver, Error> {
    let failed = |source| Error::HandOver { path: path.to_owned(), source };
    // Without credentials YARN writes no file.
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(absent) if absent.kind() == io::ErrorKind::NotFound => b"{}".to_vec(),
        Err(source) => return Err(failed(source)),
    };
    let document: Value = serde_json::from_slice(&text).map_err(|error| failed(error.into()))?;
    let auths = document["auths"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(registry, entry)| Some((registry.clone(), entry["auth"].as_str()?.to_owned())))
        .collect();
    Ok(HandOver { config_json: path.to_owned(), auths })
}
