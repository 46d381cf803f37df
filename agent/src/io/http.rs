//! The health endpoint: GET and HEAD, bounded in connections, header size and time. It serves the latest status;
//! it starts nothing and changes nothing.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::status::{Check, CheckId, Report};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections served at once; more wait in the listener's queue.
const MOST_CONNECTIONS: usize = 64;
/// Longest that a client may take to send a request's head.
const HEAD_DEADLINE: Duration = Duration::from_secs(5);
/// Longest that a connection may last.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(30);
const LARGEST_HEAD: usize = 16 << 10;
const MOST_HEADERS: usize = 64;
/// Pause after a connection could not be accepted, so that a lack of descriptors is no busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What the endpoint serves.
pub trait Source: Send + Sync {
    fn report(&self) -> Report;

    /// The metrics as Prometheus text.
    fn metrics(&self) -> String;
}

#[derive(Debug, Error)]
#[error("cannot listen on {address} for health requests")]
pub struct ListenError {
    address: SocketAddr,
    source: std::io::Error,
}

/// Binds the listener, so that a taken address is known before anything starts.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| ListenError { address, source })
}

/// Serves until dropped.
pub async fn serve(listener: TcpListener, source: Arc<dyn Source>) -> Infallible {
    let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve_connection(stream, Arc::clone(&source), slot));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a health request");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, source: Arc<dyn Source>, _slot: OwnedSemaphorePermit) {
    let service = service_fn(|request| {
        let answer = answer(&request, source.as_ref());
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(LARGEST_HEAD)
        .max_headers(MOST_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    // A client that disconnects or is too slow only harms itself.
    let _ = tokio::time::timeout(CONNECTION_DEADLINE, connection).await;
}

fn answer(request: &Request<Incoming>, source: &dyn Source) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are served\n");
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    let verbose = request
        .uri()
        .query()
        .is_some_and(|query| query.split('&').any(|key| key.split('=').next() == Some("verbose")));
    match request.uri().path() {
        "/livez" => liveness(&source.report(), verbose),
        "/readyz" | "/healthz" => readiness(&source.report(), verbose),
        "/status" => status(&source.report()),
        "/metrics" => body(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", source.metrics()),
        _ => text(StatusCode::NOT_FOUND, "served here: /livez /readyz /healthz /status /metrics\n"),
    }
}

fn liveness(report: &Report, verbose: bool) -> Response<Full<Bytes>> {
    let why = (!report.live).then(|| "the main loop is stuck".to_owned());
    checks(&[Check { id: CheckId::Loop, name: "loop".to_owned(), ok: report.live, why }], verbose)
}

fn readiness(report: &Report, verbose: bool) -> Response<Full<Bytes>> {
    checks(&report.checks, verbose)
}

/// 200 `ok`, or 503 with the failing checks by name; all of them if `verbose`.
fn checks(checks: &[Check], verbose: bool) -> Response<Full<Bytes>> {
    let ok = checks.iter().all(|check| check.ok);
    let code = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if ok && !verbose {
        return text(code, "ok\n");
    }
    let line = |check: &Check| match &check.why {
        None => format!("[+]{} ok\n", check.name),
        Some(why) => format!("[-]{} failed: {why}\n", check.name),
    };
    text(code, checks.iter().filter(|check| verbose || !check.ok).map(line).collect::<String>())
}

fn status(report: &Report) -> Response<Full<Bytes>> {
    match serde_json::to_string_pretty(report) {
        Ok(json) => body(StatusCode::OK, "application/json", json + "\n"),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot render the status: {error}\n")),
    }
}

fn text(code: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    body(code, "text/plain; charset=utf-8", text)
}

fn body(code: StatusCode, content_type: &'static str, bytes: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(bytes.into()));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
