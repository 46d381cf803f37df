//! Fetches the status and metrics of a running agent: through a socket that only root can have created, or at an
//! address that the user names.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use domain::status::StatusReport;
use nix::unistd::Pid;
use thiserror::Error;
use tokio::net::unix::UCred;
use tokio::net::{TcpStream, UnixStream};

use crate::io::http_client::{BoxError, HttpClient, Stream};

const DEADLINE: Duration = Duration::from_secs(5);
const LARGEST: usize = 4 << 20;

/// Where an agent listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Socket(PathBuf),
    /// Host and port.
    Address(String),
}

#[derive(Debug, Error)]
pub(crate) enum StatusError {
    #[error("no agent answers at {endpoint}")]
    NoAgent { endpoint: Endpoint, source: std::io::Error },
    #[error("{endpoint} is owned by a process of uid {uid}, not by an agent of root or of this user")]
    Squatter { endpoint: Endpoint, uid: u32 },
    #[error("the agent at {endpoint} did not answer within {deadline:?}")]
    Deadline { endpoint: Endpoint, deadline: Duration },
    #[error("the response from {endpoint} is not an agent's")]
    Foreign { endpoint: Endpoint, source: BoxError },
}

/// The response as text and parsed.
pub(crate) async fn status(endpoint: &Endpoint) -> Result<(String, StatusReport), StatusError> {
    status_within(endpoint, DEADLINE).await
}

pub(crate) async fn status_within(
    endpoint: &Endpoint,
    deadline: Duration,
) -> Result<(String, StatusReport), StatusError> {
    let text = get_within(endpoint, "/status", deadline).await?;
    let report = serde_json::from_str(&text).map_err(|error| foreign(endpoint, error))?;
    Ok((text, report))
}

/// The process id of the agent that listens on the socket.
pub(crate) async fn process(socket: &Path) -> Result<Pid, StatusError> {
    let endpoint = Endpoint::Socket(socket.to_owned());
    let (_, cred) = connect(&endpoint, socket).await?;
    let no_process = || std::io::Error::other("the socket does not report its process");
    // 0 if the agent is in another PID namespace, and signals to 0 go to this process's own group.
    let pid = cred.pid().filter(|pid| *pid > 0).map(Pid::from_raw).ok_or_else(no_process);
    pid.map_err(|source| StatusError::NoAgent { endpoint, source })
}

/// The agent's metrics.
pub(crate) async fn metrics(endpoint: &Endpoint) -> Result<String, StatusError> {
    get_within(endpoint, "/metrics", DEADLINE).await
}

async fn get_within(endpoint: &Endpoint, path: &str, deadline: Duration) -> Result<String, StatusError> {
    let answer = tokio::time::timeout(deadline, get(endpoint, path)).await;
    let bytes = answer.map_err(|_| StatusError::Deadline { endpoint: endpoint.clone(), deadline })??;
    String::from_utf8(bytes.to_vec()).map_err(|error| foreign(endpoint, error))
}

async fn connect(endpoint: &Endpoint, socket: &Path) -> Result<(UnixStream, UCred), StatusError> {
    let no_agent = |source| StatusError::NoAgent { endpoint: endpoint.clone(), source };
    let stream = UnixStream::connect(socket).await.map_err(no_agent)?;
    let cred = stream.peer_cred().map_err(no_agent)?;
    let uid = cred.uid();
    if uid != 0 && uid != nix::unistd::geteuid().as_raw() {
        return Err(StatusError::Squatter { endpoint: endpoint.clone(), uid });
    }
    Ok((stream, cred))
}

async fn get(endpoint: &Endpoint, path: &str) -> Result<Bytes, StatusError> {
    match endpoint {
        Endpoint::Socket(socket) => {
            let (stream, _) = connect(endpoint, socket).await?;
            exchange(endpoint, Box::new(stream), "localhost", path).await
        }
        Endpoint::Address(address) => {
            let no_agent = |source| StatusError::NoAgent { endpoint: endpoint.clone(), source };
            let stream = TcpStream::connect(address).await.map_err(no_agent)?;
            exchange(endpoint, Box::new(stream), address, path).await
        }
    }
}

async fn exchange(
    endpoint: &Endpoint,
    stream: Box<dyn Stream>,
    host: &str,
    path: &str,
) -> Result<Bytes, StatusError> {
    let answered = async { HttpClient::over(stream, host).await?.get(path, LARGEST).await };
    let (_, body) =
        answered.await.map_err(|source| StatusError::Foreign { endpoint: endpoint.clone(), source })?;
    Ok(body)
}

fn foreign(endpoint: &Endpoint, source: impl std::error::Error + Send + Sync + 'static) -> StatusError {
    StatusError::Foreign { endpoint: endpoint.clone(), source: Box::new(source) }
}

#[derive(Debug, Error)]
#[error("expected HOST:PORT, as in 10.0.0.5:9470, or the path of a socket")]
pub(crate) struct InvalidEndpoint;

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        if text.starts_with('/') {
            return Ok(Self::Socket(text.into()));
        }
        let address = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        let (host, port) = address.rsplit_once(':').ok_or(InvalidEndpoint)?;
        let good = !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok_and(|port| port > 0);
        good.then(|| Self::Address(address.to_owned())).ok_or(InvalidEndpoint)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => path.display().fmt(f),
            Self::Address(address) => f.write_str(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Endpoint;

    #[test]
    fn endpoints_are_sockets_or_addresses() {
        let check = |text: &str, expected: Option<&str>| {
            let endpoint = text.parse::<Endpoint>().ok().map(|endpoint| endpoint.to_string());
            assert_eq!(endpoint.as_deref(), expected, "{text}");
        };
        check("10.0.0.5:9470", Some("10.0.0.5:9470"));
        check("http://ip-10-0-0-5:9470/", Some("ip-10-0-0-5:9470"));
        check("[::1]:9470", Some("[::1]:9470"));
        check("/run/emr-ecr-agent/status.sock", Some("/run/emr-ecr-agent/status.sock"));
        for wrong in
            ["", "host", "host:", ":9470", "host:0", "host:x", "http://host/a:9470", "https://host:9470"]
        {
            check(wrong, None);
        }
    }
}
