//! The node's Docker engine: whether it answers, which of the images and networks in question it has, and how it is set
//! up.

use std::io;
use std::path::Path;
use std::time::Duration;

use domain::check::{DataRoot, DockerEngine};
use hyper::StatusCode;
use nix::sys::statvfs::statvfs;
use serde::Deserialize;
use thiserror::Error;
use tokio::net::UnixStream;

use crate::io::chain;
use crate::io::http_client::{BoxError, HttpClient};

/// Where docker, which container-executor starts without an environment, looks for its engine.
const SOCKET: &str = "/var/run/docker.sock";
/// Longest that all requests may take; a pull under way does not delay them.
const DEADLINE: Duration = Duration::from_secs(5);

/// No description of a container, image or network, or of the engine, is longer.
const LARGEST: usize = 4 << 20;
/// Longest that its own description may take.
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

/// Lists containers, and looks up these images and networks.
pub(crate) async fn ask(images: &[Vec<u8>], networks: &[String]) -> DockerEngine {
    let mut engine = DockerEngine::default();
    let looked_up = tokio::time::timeout(DEADLINE, look_up(images, networks, &mut engine)).await;
    if let Err(error) = looked_up.map_err(|_| DockerError::Timeout).flatten() {
        engine.failure = Some(chain(&error));
    }
    engine
}

async fn look_up(
    images: &[Vec<u8>],
    networks: &[String],
    engine: &mut DockerEngine,
) -> Result<(), DockerError> {
    let stream =
        UnixStream::connect(Path::new(SOCKET)).await.map_err(|source| DockerError::Connect { source })?;
    let connected = HttpClient::over(Box::new(stream), "docker").await;
    let mut client = connected.map_err(|source| DockerError::Response { path: SOCKET.to_owned(), source })?;
    exists(&mut client, "/containers/json?limit=1").await?;
    for image in images {
        // What else is in a name YARN or Docker refuses.
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
    // How it is set up is no condition of its answering.
    if let Ok(Some(info)) = tokio::time::timeout(INFO_DEADLINE, info(&mut client)).await {
        engine.version = info.server_version;
        engine.live_restore = info.live_restore_enabled;
        engine.cgroup_driver = info.cgroup_driver;
        engine.data_root = match info.docker_root_dir {
            Some(path) => free_space(path).await,
            None => None,
        };
    }
    Ok(())
}

/// Part of what `docker info` tells.
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

/// What root may still write there; `None` if the file system does not tell.
pub(crate) async fn free_space(path: String) -> Option<DataRoot> {
    let asked = tokio::task::spawn_blocking(move || {
        let found = statvfs(Path::new(&path)).ok()?;
        let free = found.blocks_free().checked_mul(found.fragment_size())?;
        Some(DataRoot { path, free })
    });
    asked.await.ok().flatten()
}

/// Whether the engine has what the path names.
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
