//! The loopback HTTP server beneath the stand-ins. It can also misbehave: break off halfway through a response, or
//! never send one.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::CONTENT_LENGTH;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use crate::background;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on loopback")]
    Bind { source: io::Error },
}

/// How a stand-in responds.
#[derive(Debug)]
pub enum Reply {
    Whole(Response<Bytes>),
    /// Sent after a delay.
    Late(Response<Bytes>, Duration),
    /// Half of the body, then the connection breaks.
    Torn(Response<Bytes>),
    /// The connection stays open and silent.
    Never,
}

/// A running listener. Dropping it closes its connections.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Listener {
    /// Serves on a free port of 127.0.0.1. `answer` receives each request with its whole body.
    pub async fn start<F>(answer: F) -> Result<Self, Error>
    where
        F: Fn(Request<Bytes>) -> Reply + Clone + Send + 'static,
    {
        let socket = background::spawn(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).await;
        let socket = socket.expect("binding neither panics nor is cancelled");
        let socket = socket.map_err(|source| Error::Bind { source })?;
        let address = socket.local_addr().map_err(|source| Error::Bind { source })?;
        let task = background::spawn(serve(socket, move |stream| {
            let answer = answer.clone();
            async move {
                let service = service_fn(move |request| respond(request, answer.clone()));
                // Clients that disconnect and responses torn on purpose end a connection with an error.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            }
        }));
        Ok(Self { address, task })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Serves each connection in its own task, for as long as the returned future lives.
pub async fn serve<F>(socket: TcpListener, connection: impl Fn(TcpStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        // The client notices a failed accept.
        let Ok((stream, _peer)) = socket.accept().await else { continue };
        connections.spawn(connection(stream));
        while connections.try_join_next().is_some() {}
    }
}

async fn respond<F>(request: Request<Incoming>, answer: F) -> Result<Response<Body>, hyper::Error>
where
    F: Fn(Request<Bytes>) -> Reply,
{
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(match answer(Request::from_parts(head, body)) {
        Reply::Whole(response) => whole(response),
        Reply::Late(response, delay) => {
            sleep(delay).await;
            whole(response)
        }
        Reply::Torn(response) => torn(response),
        Reply::Never => pending().await,
    })
}

fn whole(response: Response<Bytes>) -> Response<Body> {
    response.map(|body| Full::new(body).map_err(|never: Infallible| match never {}).boxed_unsync())
}

fn torn(response: Response<Bytes>) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    head.headers.insert(CONTENT_LENGTH, body.len().into());
    let half = body.slice(..body.len() / 2);
    let frames = stream::iter([Ok(Frame::data(half)), Err(io::Error::from(io::ErrorKind::ConnectionReset))]);
    Response::from_parts(head, StreamBody::new(frames).boxed_unsync())
}
