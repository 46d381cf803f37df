//! A gate in front of a registry that accepts tokens as ECR does: each until it expires. The registry's own password
//! file holds one password at a time. The gate can also fail the way registries and networks do.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Error, IMAGE, Registry, USER, authorization, base64_noise};
use crate::ecr::Ecr;
use crate::listener;

/// How the registry fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 503.
    ServerError,
    /// No response, not even to rejected credentials.
    Silent,
    /// Half of a layer, and the rest only when the fault is over.
    Slow,
    /// Half of a layer, then the connection breaks.
    Cut,
    /// Like `Cut`, but once.
    CutOnce,
}

/// The running gate and its registry, both stopped when dropped.
#[derive(Debug)]
pub struct Gate {
    address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
    _registry: Registry,
}

#[derive(Debug)]
struct State {
    registry: SocketAddr,
    /// The credentials that the registry itself accepts.
    own: HeaderValue,
    /// `Authorization` headers and their expiry.
    accepted: Mutex<Vec<(String, Timestamp)>>,
    refused: Mutex<BTreeMap<String, usize>>,
    fault: watch::Sender<Option<Fault>>,
    /// How many requests the fault has hit.
    struck: watch::Sender<usize>,
}

impl Gate {
    /// Puts a gate in front of this registry, which from now on accepts no other credentials.
    pub async fn before(registry: Registry) -> Result<Self, Error> {
        let password = base64_noise();
        registry.passwords.accept_only(USER, &password)?;
        let own = authorization(USER, &password);
        let own = HeaderValue::from_str(&own).map_err(|source| Error::Header { source })?;
        let failed = |source| Error::Gate { source };
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        let state = Arc::new(State {
            registry: registry.address(),
            own,
            accepted: Mutex::default(),
            refused: Mutex::default(),
            fault: watch::Sender::default(),
            struck: watch::Sender::default(),
        });
        let serving = Arc::clone(&state);
        let task = tokio::spawn(listener::serve(socket, move |stream| {
            let state = Arc::clone(&serving);
            async move {
                let service = service_fn(move |request| {
                    let state = Arc::clone(&state);
                    async move { state.answer(request).await }
                });
                // Clients that disconnect end a connection with an error.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            }
        }));
        Ok(Self { address, state, task, _registry: registry })
    }

    /// The registry's name in image references and Docker configs.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The reference of the image with this tag.
    pub fn image(&self, tag: &str) -> String {
        let (repository, _) = IMAGE;
        format!("{}/{repository}:{tag}", self.address)
    }

    /// From now on accepts every token of `ecr`, before ECR's client sees it.
    pub fn follow(&self, ecr: &Ecr) {
        let state = Arc::clone(&self.state);
        ecr.on_issue(move |token| {
            let header = authorization(USER, token.password());
            lock(&state.accepted).push((header, token.expires_at));
        });
    }

    /// From now on makes every request fail in this way; `None` ends the fault.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.state.struck.send_replace(0);
        self.state.fault.send_replace(fault);
    }

    /// Waits until the fault has hit a request.
    pub async fn struck(&self) {
        // The sender lives as long as `self`.
        let _ = self.state.struck.subscribe().wait_for(|struck| *struck > 0).await;
    }

    /// How many pulls of this tag were rejected for their credentials.
    pub fn refused(&self, tag: &str) -> usize {
        let (repository, _) = IMAGE;
        let path = format!("/v2/{repository}/manifests/{tag}");
        lock(&self.state.refused).get(&path).copied().unwrap_or_default()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Layers are larger; everything else that Docker requests is smaller.
const LAYER: u64 = 64 << 10;

impl State {
    async fn answer(&self, mut request: Request<Incoming>) -> Result<Response<Body>, hyper::Error> {
        let fault = *self.fault.borrow();
        if fault == Some(Fault::Silent) {
            self.strike();
            return pending().await;
        }
        if !self.accepts(request.headers()) {
            // Docker sends HEAD first; count one pull once.
            if request.method() == Method::GET && request.headers().contains_key(AUTHORIZATION) {
                *lock(&self.refused).entry(request.uri().path().to_owned()).or_default() += 1;
            }
            return Ok(unauthorized());
        }
        if fault == Some(Fault::ServerError) {
            self.strike();
            return Ok(empty(StatusCode::SERVICE_UNAVAILABLE));
        }
        request.headers_mut().insert(AUTHORIZATION, self.own.clone());
        let Ok(stream) = TcpStream::connect(self.registry).await else {
            return Ok(empty(StatusCode::BAD_GATEWAY));
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let is_get = request.method() == Method::GET;
        let answer = sender.send_request(request).await?;
        let is_layer = is_get && content_length(answer.headers()) >= LAYER;
        match fault.filter(|_| is_layer) {
            None => Ok(answer.map(|body| body.map_err(io::Error::other).boxed_unsync())),
            Some(fault) => self.half_of(answer, fault).await,
        }
    }

    /// The first half of a layer, and the rest as the fault allows.
    async fn half_of(
        &self,
        answer: Response<Incoming>,
        fault: Fault,
    ) -> Result<Response<Body>, hyper::Error> {
        self.strike();
        if fault == Fault::CutOnce {
            self.fault.send_replace(None);
        }
        let (head, body) = answer.into_parts();
        let body = body.collect().await?.to_bytes();
        let (first, rest) = (body.slice(..body.len() / 2), body.slice(body.len() / 2..));
        let mut over = self.fault.subscribe();
        let rest = stream::once(async move {
            if fault != Fault::Slow {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            // If the sender is gone, the rest no longer matters.
            let _ = over.wait_for(Option::is_none).await;
            Ok(Frame::data(rest))
        });
        let frames = stream::iter([Ok(Frame::data(first))]).chain(rest);
        Ok(Response::from_parts(head, StreamBody::new(frames).boxed_unsync()))
    }

    fn strike(&self) {
        self.struck.send_modify(|struck| *struck += 1);
    }

    fn accepts(&self, headers: &HeaderMap) -> bool {
        let Some(given) = headers.get(AUTHORIZATION) else { return false };
        let now = Timestamp::now();
        let mut accepted = lock(&self.accepted);
        accepted.retain(|(_, ends)| *ends > now);
        accepted.iter().any(|(header, _)| header.as_bytes() == given.as_bytes())
    }
}

/// The registry's own response.
fn unauthorized() -> Response<Body> {
    let (repository, _) = IMAGE;
    let wanted = json!({ "Type": "repository", "Class": "", "Name": repository, "Action": "pull" });
    // Without a detail, docker does not show the message.
    let error = json!({ "code": "UNAUTHORIZED", "message": "authentication required", "detail": [wanted] });
    let body = json!({ "errors": [error] }).to_string();
    let mut response = Response::new(whole(Bytes::from(body)));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    let headers = response.headers_mut();
    headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"sandbox\""));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert("docker-distribution-api-version", HeaderValue::from_static("registry/2.0"));
    response
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(whole(Bytes::new()));
    *response.status_mut() = status;
    response
}

fn whole(body: Bytes) -> Body {
    Full::new(body).map_err(|never: Infallible| match never {}).boxed_unsync()
}

fn content_length(headers: &HeaderMap) -> u64 {
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    length.and_then(|length| length.parse().ok()).unwrap_or_default()
}

/// A thread that panics while holding the lock fails its test; the content is intact.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
