//! The health endpoint: GET and HEAD, bounded in connections, header size and time. It serves the latest status;
//! it starts nothing and changes nothing.

mod listen;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use domain::registry::HostName;
use domain::status::{Check, CheckId, Report};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::http::uri::Authority;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::io::chain;
pub(crate) use listen::Endpoint;
use listen::{Connection, Listener};

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

/// Between two attempts to get the address.
const BIND_PAUSE: Duration = Duration::from_secs(5);

/// What the endpoint serves.
pub(crate) trait Source: Send + Sync {
    fn report(&self) -> Report;

    /// The metrics as Prometheus text.
    fn metrics(&self) -> String;
}

/// Whether the endpoint can be reached: somebody else may have taken its address, which must not end the agent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Listening(Arc<AtomicBool>);

impl Listening {
    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Listens there, as soon as that is possible, and serves until dropped.
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
                    tracing::error!(error = chain(&error), "trying again");
                }
                failed_before = true;
            }
        }
        tokio::time::sleep(BIND_PAUSE).await;
    }
}

/// The names that requests may be for. A page in a browser can have the agent asked under any other, and would
/// get the answer.
#[derive(Debug, Clone)]
pub(crate) struct KnownHosts {
    /// This machine's name, and those set.
    names: Vec<String>,
}

impl KnownHosts {
    /// With this machine's name and those that are set.
    pub(crate) fn new(node: &str, set: &[HostName]) -> Self {
        let short = node.split('.').next().unwrap_or_default();
        let names = [node, short, "localhost"].into_iter().chain(set.iter().map(HostName::as_str));
        Self { names: names.map(str::to_ascii_lowercase).collect() }
    }

    /// Whether a request for `host`, which came to `address`, is for this machine.
    fn contain(&self, host: &str, address: Option<IpAddr>) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        let name = authority.host().to_ascii_lowercase();
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(&name);
        match bare.parse::<IpAddr>().map(|asked| asked.to_canonical()) {
            Ok(asked) => {
                asked.is_loopback()
                    || Some(asked) == address.map(|address| address.to_canonical())
                    || self.names.contains(&name)
            }
            Err(_) => self.names.contains(&name) || self.names.contains(&host.to_ascii_lowercase()),
        }
    }
}

async fn serve_connection(
    stream: Box<dyn Connection>,
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

/// By the `Host` header, which every browser sends.
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

#[cfg(test)]
mod tests {
    use domain::registry::HostName;

    use super::KnownHosts;

    #[test]
    fn only_this_machines_names_and_addresses_are_known() {
        let set = [HostName::parse("health.example.com").expect("a name")];
        let hosts = KnownHosts::new("ip-10-0-0-1.ec2.internal", &set);
        let address = Some("10.0.0.1".parse().expect("an address"));
        let check = |host: &str, expected: bool| assert_eq!(hosts.contain(host, address), expected, "{host}");
        for known in [
            "localhost",
            "LOCALHOST:9470",
            "127.0.0.1:9470",
            "[::1]:9470",
            "10.0.0.1:9470",
            "ip-10-0-0-1",
            "ip-10-0-0-1.ec2.internal:9470",
            "health.example.com:80",
        ] {
            check(known, true);
        }
        for unknown in
            ["", "evil.example.com", "localhost.evil.example", "10.0.0.2", "a b", "127.0.0.1.evil:1"]
        {
            check(unknown, false);
        }
    }
}
