//! Gets the status of a running agent.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use domain::status::Report;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;

const DEADLINE: Duration = Duration::from_secs(5);
const LARGEST: usize = 16 << 20;

#[derive(Debug, Error)]
pub(crate) enum StatusError {
    #[error("no agent answers at {address}")]
    NoAgent { address: SocketAddr, source: std::io::Error },
    #[error("the agent at {address} did not answer within {DEADLINE:?}")]
    Deadline { address: SocketAddr },
    #[error("the response from {address} is not an agent's")]
    Foreign { address: SocketAddr, source: Box<dyn std::error::Error + Send + Sync> },
}

/// The response as text and parsed.
pub(crate) async fn ask(address: SocketAddr) -> Result<(String, Report), StatusError> {
    let answer = tokio::time::timeout(DEADLINE, get_status(address)).await;
    let bytes = answer.map_err(|_| StatusError::Deadline { address })??;
    let foreign = |source: Box<dyn std::error::Error + Send + Sync>| StatusError::Foreign { address, source };
    let text = String::from_utf8(bytes.to_vec()).map_err(|error| foreign(error.into()))?;
    let report = serde_json::from_str(&text).map_err(|error| foreign(error.into()))?;
    Ok((text, report))
}

async fn get_status(address: SocketAddr) -> Result<Bytes, StatusError> {
    let foreign = |source: Box<dyn std::error::Error + Send + Sync>| StatusError::Foreign { address, source };
    let stream =
        TcpStream::connect(address).await.map_err(|source| StatusError::NoAgent { address, source })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| foreign(error.into()))?;
    let request = Request::get("/status")
        .header("host", address.to_string())
        .body(Empty::<Bytes>::new())
        .map_err(|error| foreign(error.into()))?;
    // The sender goes with the exchange: as long as it is there, the connection is kept open for more.
    let exchange = async move {
        let response = sender.send_request(request).await?;
        Limited::new(response.into_body(), LARGEST).collect().await.map(|body| body.to_bytes())
    };
    // The connection moves bytes only while it is polled beside the exchange.
    let (body, _) = tokio::join!(exchange, connection);
    body.map_err(foreign)
}
