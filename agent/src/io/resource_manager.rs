//! The ResourceManagers' REST interface: which nodes the cluster has.

use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use domain::cluster::{YarnNode, nodes};
use http_body_util::{BodyExt as _, Limited};
use thiserror::Error;

use crate::io::{chain, connector};

const DEADLINE: Duration = Duration::from_secs(15);
/// Limit on a response, in which a node takes about a kilobyte.
const LARGEST: usize = 64 << 20;

type Source = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Error)]
enum ResourceManagerError {
    #[error("no response from {url}")]
    Network { url: String, source: Source },
    #[error("no answer from {url} within {DEADLINE:?}")]
    Deadline { url: String },
    #[error("the ResourceManager at {url} is on standby")]
    Standby { url: String },
    #[error(
        "the ResourceManager at {url} requires Kerberos for its REST interface (SPNEGO), which this command does not support"
    )]
    Spnego { url: String },
    #[error("{url} returned HTTP {status}")]
    Status { url: String, status: u16 },
    #[error("the response from {url} is not a ResourceManager's")]
    Foreign { url: String, source: Option<serde_json::Error> },
}

/// The nodes according to the first active one of these ResourceManagers, with its URL; fails if none is active.
pub(crate) async fn fetch_nodes(urls: &[String]) -> Result<(String, Vec<YarnNode>), String> {
    let connector = connector::within_cluster();
    let mut errors = Vec::new();
    for url in urls {
        let deadline = |_| ResourceManagerError::Deadline { url: url.clone() };
        match tokio::time::timeout(DEADLINE, get(&connector, url)).await.map_err(deadline).flatten() {
            Ok(nodes) => return Ok((url.clone(), nodes)),
            Err(error) => errors.push(chain(&error)),
        }
    }
    if errors.is_empty() {
        Err("yarn-site.xml names no ResourceManager".to_owned())
    } else {
        Err(errors.join("; "))
    }
}

async fn get(connector: &Connector, base: &str) -> Result<Vec<YarnNode>, ResourceManagerError> {
    let url = || base.to_owned();
    let network = |source: Source| ResourceManagerError::Network { url: url(), source };
    let mut request = HttpRequest::new(SdkBody::empty());
    request.set_uri(format!("{base}/ws/v1/cluster/nodes")).map_err(|error| network(error.into()))?;
    request.headers_mut().insert("accept", "application/json");
    let response = connector.call(request).await.map_err(|error| network(error.into()))?;
    let status = response.status().as_u16();
    let challenge = response.headers().get("www-authenticate").unwrap_or_default();
    match status {
        200 => {}
        // It redirects to the active one, which is queried anyway.
        300..=399 => return Err(ResourceManagerError::Standby { url: url() }),
        401 if challenge.to_ascii_lowercase().starts_with("negotiate") => {
            return Err(ResourceManagerError::Spnego { url: url() });
        }
        _ => return Err(ResourceManagerError::Status { url: url(), status }),
    }
    let body = Limited::new(response.into_body(), LARGEST).collect().await.map_err(network)?.to_bytes();
    let foreign = |source| ResourceManagerError::Foreign { url: url(), source };
    let answer = serde_json::from_slice(&body).map_err(|error| foreign(Some(error)))?;
    nodes(&answer).ok_or_else(|| foreign(None))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::Full;
    use hyper::Response;
    use hyper::body::Bytes;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::net::TcpListener;

    use super::fetch_nodes;

    /// Gives every request this response until the test's runtime ends; returns its URL.
    async fn serve(status: u16, header: (&'static str, &'static str), body: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let service = service_fn(move |_| async move {
                    let response = Response::builder().status(status).header(header.0, header.1);
                    Ok::<_, Infallible>(response.body(Full::new(Bytes::from(body))).expect("a response"))
                });
                let serving = hyper::server::conn::http1::Builder::new();
                tokio::spawn(serving.serve_connection(TokioIo::new(stream), service));
            }
        });
        url
    }

    const NODES: &str = r#"{"nodes":{"node":[{"nodeHostName":"a","state":"RUNNING"}]}}"#;
    const PLAIN: (&str, &str) = ("x", "y");

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(future)
    }

    #[test]
    fn the_active_one_answers() {
        block_on(async {
            let standby = serve(307, ("location", "http://other/"), "This is standby RM.").await;
            let active = serve(200, PLAIN, NODES).await;
            let (url, nodes) = fetch_nodes(&[standby.clone(), active.clone()]).await.expect("nodes");
            assert_eq!((url, nodes[0].host.as_str()), (active, "a"));
            let why = fetch_nodes(std::slice::from_ref(&standby)).await.expect_err("none is active");
            assert_eq!(why, format!("the ResourceManager at {standby} is on standby"));
        });
    }

    #[test]
    fn what_it_cannot_do_is_said() {
        block_on(async {
            assert_eq!(fetch_nodes(&[]).await.expect_err("none"), "yarn-site.xml names no ResourceManager");
            for (status, header, body, said) in [
                (
                    401,
                    ("www-authenticate", "Negotiate"),
                    "",
                    "requires Kerberos for its REST interface (SPNEGO)",
                ),
                (401, PLAIN, "", "returned HTTP 401"),
                (404, PLAIN, NODES, "returned HTTP 404"),
                (200, PLAIN, "<html>", "is not a ResourceManager's"),
                (200, PLAIN, "{}", "is not a ResourceManager's"),
            ] {
                let url = serve(status, header, body).await;
                let why = fetch_nodes(&[url]).await.expect_err("no nodes");
                assert!(why.contains(said), "{said}: {why}");
            }
        });
    }
}
