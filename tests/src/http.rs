//! HTTP requests to loopback, each on its own connection.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::HOST;
use hyper::http::request::Builder;
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::background;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot connect to {address}")]
    Connect { address: SocketAddr, source: std::io::Error },
    #[error("{method} {path} at {address} failed")]
    Exchange { method: Method, path: String, address: SocketAddr, source: hyper::Error },
    #[error("{method} {path} is not a valid request")]
    Request { method: Method, path: String, source: hyper::http::Error },
    #[error("{method} {path} at {address}: no response within {} s", DEADLINE.as_secs())]
    Silent { method: Method, path: String, address: SocketAddr },
}

/// A complete response.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A request to a server on loopback, sent by [`Call::send`].
#[derive(Debug)]
pub struct Call {
    address: SocketAddr,
    method: Method,
    path: String,
    builder: Builder,
    body: Bytes,
}

impl Call {
    /// `path` includes the query, if any.
    pub fn new(method: Method, address: SocketAddr, path: &str) -> Self {
        Self {
            address,
            method: method.clone(),
            path: path.to_owned(),
            builder: Request::builder().method(method).uri(path).header(HOST, address.to_string()),
            body: Bytes::new(),
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.builder = self.builder.header(name, value);
        self
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub async fn send(self) -> Result<Answer, Error> {
        background::spawn(self.exchange()).await.expect("a request neither panics nor is cancelled")
    }

    async fn exchange(self) -> Result<Answer, Error> {
        let Self { address, method, path, builder, body } = self;
        let request = match builder.body(Full::new(body)) {
            Ok(request) => request,
            Err(source) => {
                return Err(Error::Request { method, path, source });
            }
        };
        let exchange = async {
            let stream =
                TcpStream::connect(address).await.map_err(|source| Error::Connect { address, source })?;
            exchange(stream, request).await.map_err(|source| Error::Exchange {
                method: method.clone(),
                path: path.clone(),
                address,
                source,
            })
        };
        match timeout(DEADLINE, exchange).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(Error::Silent { method, path, address }),
        }
    }
}

pub async fn get(address: SocketAddr, path: &str) -> Result<Answer, Error> {
    Call::new(Method::GET, address, path).send().await
}

async fn exchange(stream: TcpStream, request: Request<Full<Bytes>>) -> hyper::Result<Answer> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request).await?;
    let (head, body) = answer.into_parts();
    let body = body.collect().await?.to_bytes();
    connection.abort();
    Ok(Answer { status: head.status, headers: head.headers, body })
}

const DEADLINE: Duration = Duration::from_secs(10);
