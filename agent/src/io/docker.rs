//! The node's Docker engine: whether it answers, which of the given images and networks it has, and how it is
//! configured.

use std::io;
use std::path::Path;
use std::time::Duration;

use domain::check::{DataRoot, DockerEngine};
use hyper::StatusCode;
use nix::sys::statvfs::statvfs;
use serde::Deserialize;
use thiserror::Error;
use tokio::net::UnixStream;

use crate::io::blocking::BlockingCalls;
use crate::io::chain;
use crate::io::http_client::{BoxError, HttpClient};

/// docker's default socket: container-executor starts it without an environment.
const SOCKET: &str = "/var/run/docker.sock";
/// Deadline for all requests together; a pull under way does not delay them.
const DEADLINE: Duration = Duration::from_secs(5);

/// No description of a container, image, network or the engine is larger.
const LARGEST: usize = 4 << 20;
/// Deadline for the engine's own description, and for the file system of its data root.
const INFO_DEADLINE: Duration = Duration::from_secs(2);

#[derive(Debug, Error)]
enum DockerError {
    #[error("cannot connect to {SOCKET}")]
    Connect { source: io::Error },
    #[error("no response to {path}")]
    Response { path: String, source: BoxError },
    #[error("{path} returned HTTP {status}")]
    Status { path: String, status: StatusCode },
    #[error("no answer within {DEADLINE:?}")]
    Timeout,
}

/// The engine's API, and its data root.
#[derive(Debug)]
pub(crate) struct DockerApi {
    /// Calls to the file system of the data root.
    disk: BlockingCalls,
}

impl DockerApi {
    pub(crate) fn new() -> Self {
        Self { disk: BlockingCalls::new(INFO_DEADLINE) }
    }

    /// Lists containers, and looks up these images and networks.
    pub(crate) async fn inspect(&self, images: &[Vec<u8>], networks: &[String]) -> DockerEngine {
        let mut engine = DockerEngine::default();
        let looked_up = tokio::time::timeout(DEADLINE, look_up(images, networks, &mut engine)).await;
        match looked_up.map_err(|_| DockerError::Timeout).flatten() {
            Ok(Some(data_root)) => engine.data_root = self.free_space(data_root).await,
            Ok(None) => {}
            Err(error) => engine.failure = Some(chain(&error)),
        }
        engine
    }

    /// What root can still write there; `None` if the file system does not report it.
    pub(crate) async fn free_space(&self, path: String) -> Option<DataRoot> {
        let asked = self.disk.run(move || {
            let found = statvfs(Path::new(&path)).ok()?;
            let free = found.blocks_free().checked_mul(found.fragment_size())?;
            Some(DataRoot { path, free })
        });
        asked.await.ok().flatten()
    }
}

/// Fills `engine`; returns the path of its data root.
async fn look_up(
    images: &[Vec<u8>],
    networks: &[String],
    engine: &mut DockerEngine,
) -> Result<Option<String>, DockerError> {
    let stream =
        UnixStream::connect(Path::new(SOCKET)).await.map_err(|source| DockerError::Connect { source })?;
    let connected = HttpClient::over(Box::new(stream), "docker").await;
    let mut client = connected.map_err(|source| DockerError::Response { path: SOCKET.to_owned(), source })?;
    exists(&mut client, "/containers/json?limit=1").await?;
    for image in images {
        // YARN or Docker refuses names with other characters.
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-/:".contains(byte);
        if let Some(name) =
            std::str::from_utf8(image).ok().filter(|name| name.bytes().all(|byte| plain(&byte)))
        {
            let known = exists(&mut client, &format!("/images/{name}/json")).await?;
            engine.images.insert(image.clone(), known);
        }
    }
    for network in networks
        .iter()
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)))
    {
        let known = exists(&mut client, &format!("/networks/{network}")).await?;
        engine.networks.insert(network.clone(), known);
    }
    // The configuration is optional: an engine without it still counts as answering.
    let Ok(Some(info)) = tokio::time::timeout(INFO_DEADLINE, info(&mut client)).await else {
        return Ok(None);
    };
    engine.version = info.server_version;
    engine.live_restore = info.live_restore_enabled;
    engine.cgroup_driver = info.cgroup_driver;
    Ok(info.docker_root_dir)
}

/// Part of the output of `docker info`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Info {
    server_version: Option<String>,
    live_restore_enabled: Option<bool>,
    cgroup_driver: Option<String>,
    docker_root_dir: Option<String>,
}

async fn info(client: &mut HttpClient) -> Option<Info> {
    let (_, body) = client.get("/info", LARGEST).await.ok()?;
    serde_json::from_slice(&body).ok()
}

/// Whether the engine has the object at this path of its API.
async fn exists(client: &mut HttpClient, path: &str) -> Result<bool, DockerError> {
    let (status, _) = client
        .get(path, LARGEST)
        .await
        .map_err(|source| DockerError::Response { path: path.to_owned(), source })?;
    match status {
        StatusCode::OK => Ok(true),
        StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => Ok(false),
        status => Err(DockerError::Status { path: path.to_owned(), status }),
    }
}
