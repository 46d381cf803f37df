//! Gets status and metrics of a running agent: by a socket that only root can have put there, or by an address that the user
//! names.

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

/// Where an agent is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Socket(PathBuf),
    /// Host and port.
    Address(String),
}

#[derive(Debug, Error)]
pub(crate) enum StatusError {
    #[error("no agent answers at {place}")]
    NoAgent { place: Place, source: std::io::Error },
    #[error("{place} is owned by a process of uid {uid}, not by an agent of root or of this user")]
    Squatter { place: Place, uid: u32 },
    #[error("the agent at {place} did not answer within {deadline:?}")]
    Deadline { place: Place, deadline: Duration },
    #[error("the response from {place} is not an agent's")]
    Foreign { place: Place, source: BoxError },
}

/// The response as text and parsed.
pub(crate) async fn ask(place: &Place) -> Result<(String, StatusReport), StatusError> {
    ask_within(place, DEADLINE).await
}

pub(crate) async fn ask_within(
    place: &Place,
    deadline: Duration,
) -> Result<(String, StatusReport), StatusError> {
    let text = get_within(place, "/status", deadline).await?;
    let report = serde_json::from_str(&text).map_err(|error| foreign(place, error))?;
    Ok((text, report))
}

/// The agent's process, by the socket that it made.
pub(crate) async fn process(socket: &Path) -> Result<Pid, StatusError> {
    let place = Place::Socket(socket.to_owned());
    let (_, cred) = connect(&place, socket).await?;
    let no_process = || std::io::Error::other("the socket does not tell its process");
    let pid = cred.pid().map(Pid::from_raw).ok_or_else(no_process);
    pid.map_err(|source| StatusError::NoAgent { place, source })
}

/// The agent's metrics.
pub(crate) async fn metrics(place: &Place) -> Result<String, StatusError> {
    get_within(place, "/metrics", DEADLINE).await
}

async fn get_within(place: &Place, path: &str, deadline: Duration) -> Result<String, StatusError> {
    let answer = tokio::time::timeout(deadline, get(place, path)).await;
    let bytes = answer.map_err(|_| StatusError::Deadline { place: place.clone(), deadline })??;
    String::from_utf8(bytes.to_vec()).map_err(|error| foreign(place, error))
}

async fn connect(place: &Place, socket: &Path) -> Result<(UnixStream, UCred), StatusError> {
    let no_agent = |source| StatusError::NoAgent { place: place.clone(), source };
    let stream = UnixStream::connect(socket).await.map_err(no_agent)?;
    let cred = stream.peer_cred().map_err(no_agent)?;
    let uid = cred.uid();
    if uid != 0 && uid != nix::unistd::geteuid().as_raw() {
        return Err(StatusError::Squatter { place: place.clone(), uid });
    }
    Ok((stream, cred))
}

async fn get(place: &Place, path: &str) -> Result<Bytes, StatusError> {
    match place {
        Place::Socket(socket) => {
            let (stream, _) = connect(place, socket).await?;
            exchange(place, Box::new(stream), "localhost", path).await
        }
        Place::Address(address) => {
            let no_agent = |source| StatusError::NoAgent { place: place.clone(), source };
            let stream = TcpStream::connect(address).await.map_err(no_agent)?;
            exchange(place, Box::new(stream), address, path).await
        }
    }
}

async fn exchange(
    place: &Place,
    stream: Box<dyn Stream>,
    host: &str,
    path: &str,
) -> Result<Bytes, StatusError> {
    let answered = async { HttpClient::over(stream, host).await?.get(path, LARGEST).await };
    let (_, body) = answered.await.map_err(|source| StatusError::Foreign { place: place.clone(), source })?;
    Ok(body)
}

fn foreign(place: &Place, source: impl std::error::Error + Send + Sync + 'static) -> StatusError {
    StatusError::Foreign { place: place.clone(), source: Box::new(source) }
}

#[derive(Debug, Error)]
#[error("expected HOST:PORT, as in 10.0.0.5:9470, or the path of a socket")]
pub(crate) struct NotAPlace;

impl FromStr for Place {
    type Err = NotAPlace;

    fn from_str(text: &str) -> Result<Self, NotAPlace> {
        if text.starts_with('/') {
            return Ok(Self::Socket(text.into()));
        }
        let address = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        let (host, port) = address.rsplit_once(':').ok_or(NotAPlace)?;
        let good = !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok_and(|port| port > 0);
        good.then(|| Self::Address(address.to_owned())).ok_or(NotAPlace)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => path.display().fmt(f),
            Self::Address(address) => f.write_str(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn places_are_sockets_or_addresses() {
        let check = |text: &str, expected: Option<&str>| {
            let place = text.parse::<Place>().ok().map(|place| place.to_string());
            assert_eq!(place.as_deref(), expected, "{text}");
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
