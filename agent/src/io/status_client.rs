//! Gets the status of a running agent, by a socket that only root can have put there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use domain::status::Report;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::UnixStream;

const DEADLINE: Duration = Duration::from_secs(5);
const LARGEST: usize = 4 << 20;

#[derive(Debug, Error)]
pub(crate) enum StatusError {
    #[error("no agent answers at {}", socket.display())]
    NoAgent { socket: PathBuf, source: std::io::Error },
    #[error("{} belongs to a process of uid {uid}, not to an agent of root or of this user", socket.display())]
    Squatter { socket: PathBuf, uid: u32 },
    #[error("the agent at {} did not answer within {DEADLINE:?}", socket.display())]
    Deadline { socket: PathBuf },
    #[error("the response from {} is not an agent's", socket.display())]
    Foreign { socket: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
}

/// The response as text and parsed.
pub(crate) async fn ask(socket: &Path) -> Result<(String, Report), StatusError> {
    let answer = tokio::time::timeout(DEADLINE, get_status(socket)).await;
    let bytes = answer.map_err(|_| StatusError::Deadline { socket: socket.to_owned() })??;
    let text = String::from_utf8(bytes.to_vec()).map_err(|error| foreign(socket, error))?;
    let report = serde_json::from_str(&text).map_err(|error| foreign(socket, error))?;
    Ok((text, report))
}

async fn get_status(socket: &Path) -> Result<Bytes, StatusError> {
    let no_agent = |source| StatusError::NoAgent { socket: socket.to_owned(), source };
    let stream = UnixStream::connect(socket).await.map_err(no_agent)?;
    let uid = stream.peer_cred().map_err(no_agent)?.uid();
    if uid != 0 && uid != nix::unistd::geteuid().as_raw() {
        return Err(StatusError::Squatter { socket: socket.to_owned(), uid });
    }
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| foreign(socket, error))?;
    let request = Request::get("/status")
        .header("host", "localhost")
        .body(Empty::<Bytes>::new())
        .map_err(|error| foreign(socket, error))?;
    // The sender goes with the exchange: as long as it is there, the connection is kept open for more.
    let exchange = async move {
        let response = sender.send_request(request).await?;
        Limited::new(response.into_body(), LARGEST).collect().await.map(|body| body.to_bytes())
    };
    // The connection moves bytes only while it is polled beside the exchange.
    let (body, _) = tokio::join!(exchange, connection);
    body.map_err(|source| StatusError::Foreign { socket: socket.to_owned(), source })
}

fn foreign(socket: &Path, source: impl std::error::Error + Send + Sync + 'static) -> StatusError {
    StatusError::Foreign { socket: socket.to_owned(), source: Box::new(source) }
}
