//! The health endpoint: GET and HEAD, with limits on connections, header size and time. It serves the latest status
//! and has no side effects.

mod listen;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use domain::health::{Checks, KnownHosts, PATHS, Resource, page};
use domain::status::{Check, CheckId, StatusReport};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::io::http_client::Stream;
use crate::io::{chain, json};
pub(crate) use listen::Endpoint;
use listen::Listener;

/// Connections served at once; more wait in the listener's queue.
const MOST_CONNECTIONS: usize = 64;
/// Deadline for a client to send a request's head.
const HEAD_DEADLINE: Duration = Duration::from_secs(5);
/// Maximum lifetime of a connection.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(30);
const LARGEST_HEAD: usize = 16 << 10;
const MOST_HEADERS: usize = 64;
/// Pause after a failed accept, so that a lack of descriptors does not cause a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Pause between two attempts to bind.
const BIND_PAUSE: Duration = Duration::from_secs(5);

/// What the endpoint serves.
pub(crate) trait Source: Send + Sync {
    fn report(&self) -> StatusReport;

    /// The metrics as Prometheus text.
    fn metrics(&self) -> String;
}

/// Whether the endpoint listens: another process may have taken its address, which must not end the agent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Listening(Arc<AtomicBool>);

impl Listening {
    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Listens as soon as that is possible, and serves until dropped.
pub(crate) async fn serve(
    endpoint: Endpoint,
    hosts: KnownHosts,
    source: Arc<dyn Source>,
    listening: Listening,
) -> Infallible {
    let listener = bind(&endpoint).await;
    listening.0.store(true, Ordering::Relaxed);
    let (slots, hosts) = (Arc::new(Semaphore::new(MOST_CONNECTIONS)), Arc::new(hosts));
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, address)) => {
                let hosts = Arc::clone(&hosts);
                tokio::spawn(serve_connection(stream, address, hosts, Arc::clone(&source), slot));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a health request");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn bind(endpoint: &Endpoint) -> Listener {
    let mut failed_before = false;
    loop {
        match Listener::bind(endpoint).await {
            Ok(listener) => {
                if failed_before {
                    tracing::info!(?endpoint, "listening for health requests");
                }
                return listener;
            }
            Err(error) => {
                if !failed_before {
                    tracing::error!(error = chain(&error), "cannot serve health requests; retrying");
                }
                failed_before = true;
            }
        }
        tokio::time::sleep(BIND_PAUSE).await;
    }
}

async fn serve_connection(
    stream: Box<dyn Stream>,
    address: Option<IpAddr>,
    hosts: Arc<KnownHosts>,
    source: Arc<dyn Source>,
    _slot: OwnedSemaphorePermit,
) {
    let service = service_fn(|request| {
        let answer = if is_for_us(&request, &hosts, address) {
            answer(&request, source.as_ref())
        } else {
            text(StatusCode::MISDIRECTED_REQUEST, "this host is not known here: set health.hosts\n")
        };
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

/// Checks the `Host` header, which every browser sends.
fn is_for_us(request: &Request<Incoming>, hosts: &KnownHosts, address: Option<IpAddr>) -> bool {
    let host = request.headers().get(HOST).map(|host| host.to_str().unwrap_or_default());
    host.is_none_or(|host| hosts.contain(host, address))
}

fn answer(request: &Request<Incoming>, source: &dyn Source) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are served\n");
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    let report = || source.report();
    match Resource::of(request.uri().path(), request.uri().query()) {
        Some(Resource::Page) => html(page::render(&report())),
        Some(Resource::Liveness(wanted)) => liveness(&report(), &wanted),
        Some(Resource::Readiness(wanted)) => checks(&report().checks, &wanted),
        Some(Resource::Status) => status(&report()),
        Some(Resource::Metrics) => {
            body(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", source.metrics())
        }
        None => text(StatusCode::NOT_FOUND, format!("served here: {PATHS}\n")),
    }
}

fn liveness(report: &StatusReport, wanted: &Checks) -> Response<Full<Bytes>> {
    let why = (!report.live).then(|| "the main loop is stuck".to_owned());
    checks(&[Check { id: CheckId::Loop, name: "loop".to_owned(), ok: report.live, why }], wanted)
}

/// 200 `ok`, or 503 with the failing checks by name; all of them if verbose.
fn checks(all: &[Check], wanted: &Checks) -> Response<Full<Bytes>> {
    let Some(checks) = wanted.select(all) else {
        let names: String = all.iter().map(|check| format!("{}\n", check.name)).collect();
        return text(StatusCode::NOT_FOUND, format!("no such check; available checks:\n{names}"));
    };
    let ok = checks.iter().all(|check| check.ok);
    let code = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if ok && !wanted.verbose {
        return text(code, "ok\n");
    }
    let line = |check: &&Check| match &check.why {
        None => format!("[+]{} ok\n", check.name),
        Some(why) => format!("[-]{} failed: {why}\n", check.name),
    };
    let shown = checks.iter().filter(|check| wanted.verbose || !check.ok);
    text(code, shown.map(line).collect::<String>())
}

fn status(report: &StatusReport) -> Response<Full<Bytes>> {
    match json(report) {
        Ok(text) => body(StatusCode::OK, "application/json", text + "\n"),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot render the status: {error}\n")),
    }
}

fn html(page: String) -> Response<Full<Bytes>> {
    let mut response = body(StatusCode::OK, "text/html; charset=utf-8", page);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(page::POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
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
