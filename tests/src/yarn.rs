//! Reads the published config.json with YARN's own class, as a NodeManager does at a container launch.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use crate::hdfs::HdfsClient;
use crate::line_server::{self, LineServer};
use crate::scratch;

/// The user that NodeManagers run as.
pub const USER: &str = "yarn";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Scratch(#[from] scratch::Error),
    #[error(transparent)]
    Server(#[from] line_server::Error),
    #[error("the YARN reader gave an invalid answer: {answer}")]
    Answer { answer: String, source: serde_json::Error },
    #[error("cannot {operation} {}", path.display())]
    File { operation: &'static str, path: PathBuf, source: io::Error },
}

/// The outcome of a launch.
#[derive(Debug)]
pub enum Launch {
    /// YARN starts docker with these credentials.
    Handed(HandOver),
    /// The container fails with this Java exception.
    Failed { class: String, message: String },
}

/// The config.json that YARN writes for `docker --config`.
pub struct HandOver {
    pub config_json: PathBuf,
    auths: BTreeMap<String, String>,
}

impl HandOver {
    /// The sorted registries that have credentials.
    pub fn registries(&self) -> impl Iterator<Item = &str> {
        self.auths.keys().map(String::as_str)
    }

    /// The `auth` of a registry in the file.
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

/// A running JVM that performs launches on demand, but only some hundreds: YARN's class never closes its streams.
#[derive(Debug)]
pub struct YarnReader {
    server: LineServer,
    launches: u32,
    directory: scratch::Directory,
}

impl YarnReader {
    pub fn start(hdfs: &HdfsClient) -> Result<Self, Error> {
        let directory = scratch::directory("yarn")?;
        let mut command = hdfs.java(USER, "YarnReader");
        command.arg("serve");
        let log = directory.path().join("reader.log");
        let server = LineServer::start("the YARN reader", command, &log)?;
        Ok(Self { server, launches: 0, directory })
    }

    /// Performs the steps of a launch with `YARN_CONTAINER_RUNTIME_DOCKER_CLIENT_CONFIG=uri` up to running docker.
    pub async fn launch(&mut self, uri: &str) -> Result<Launch, Error> {
        self.launches += 1;
        let dir = self.directory.path().join(self.launches.to_string());
        fs::create_dir(&dir).map_err(|source| Error::File {
            operation: "create the directory",
            path: dir.clone(),
            source,
        })?;

        let answer = self.server.ask(&format!("{uri}\t{}", dir.display())).await?;
        let parsed: Value = match serde_json::from_str(&answer) {
            Ok(parsed) => parsed,
            Err(source) => return Err(Error::Answer { answer, source }),
        };
        if let Some(class) = parsed["error"].as_str() {
            return Ok(Launch::Failed {
                class: class.to_owned(),
                message: parsed["message"].as_str().unwrap_or("null").to_owned(),
            });
        }
        hand_over(&dir.join("config.json")).map(Launch::Handed)
    }
}

fn hand_over(path: &Path) -> Result<HandOver, Error> {
    let failed = |source| Error::File { operation: "read", path: path.to_owned(), source };
    // YARN writes no file if there are no credentials.
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
