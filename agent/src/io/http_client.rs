//! HTTP over a connected stream: an agent's socket or listener, and Docker's socket.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A connection of any kind. Used as a trait object, so that the HTTP code is compiled only once.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Sends requests to one server, one after another.
pub(crate) struct HttpClient {
    sender: SendRequest<Empty<Bytes>>,
    host: String,
}

impl HttpClient {
    pub(crate) async fn over(stream: Box<dyn Stream>, host: &str) -> Result<Self, BoxError> {
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // The task ends with the sender; requests report its errors.
        tokio::spawn(connection);
        Ok(Self { sender, host: host.to_owned() })
    }

    /// Returns status and body; fails if the body exceeds `limit` bytes.
    pub(crate) async fn get(&mut self, path: &str, limit: usize) -> Result<(StatusCode, Bytes), BoxError> {
        let request = Request::get(path).header(HOST, &self.host).body(Empty::new())?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), limit).collect().await?;
        Ok((status, body.to_bytes()))
    }
}
