//! HTTP connectors. For AWS and registries: through the environment's proxy and over TLS, except to this machine and
//! its metadata service, and with a limit on responses. Also for the cluster's own servers.

use std::fmt;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Connector, ConnectorBuilder};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use domain::registry::is_near;
use http_body_util::Limited;
use url::Url;

/// No AWS or registry API returns larger responses.
const LARGEST: usize = 4 << 20;

/// Connectors with and without the proxy.
pub(crate) struct Connectors {
    direct: Connector,
    proxied: Connector,
}

#[derive(Debug, thiserror::Error)]
#[error("plain HTTP is used only on this machine, not to {host}")]
struct PlainHttp {
    host: String,
}

#[derive(Debug, thiserror::Error)]
#[error("the request has no host")]
struct NoHost;

impl Connectors {
    pub(crate) fn new(builder: impl Fn() -> ConnectorBuilder) -> Self {
        Self {
            direct: with_tls(builder().proxy_config(ProxyConfig::disabled())),
            proxied: with_tls(builder().proxy_config(ProxyConfig::from_env())),
        }
    }
}

/// For the cluster's own servers, whose configuration decides about TLS. Never uses a proxy.
pub(crate) fn within_cluster() -> Connector {
    with_tls(Connector::builder().proxy_config(ProxyConfig::disabled()))
}

fn with_tls(builder: ConnectorBuilder) -> Connector {
    builder.tls_provider(Provider::Rustls(CryptoMode::Ring)).build()
}

impl fmt::Debug for Connectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connectors")
    }
}

impl HttpConnector for Connectors {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let url = Url::parse(request.uri()).ok();
        let Some((url, host)) = url.as_ref().and_then(|url| Some((url, url.host_str()?))) else {
            return HttpConnectorFuture::new(async { Err(ConnectorError::user(NoHost.into())) });
        };
        let is_near = is_near(host);
        if url.scheme() != "https" && !is_near {
            let error = PlainHttp { host: host.to_owned() };
            return HttpConnectorFuture::new(async { Err(ConnectorError::user(error.into())) });
        }
        let answering = if is_near { &self.direct } else { &self.proxied }.call(request);
        HttpConnectorFuture::new(async move {
            let response = answering.await?;
            Ok(response.map(|body| SdkBody::from_body_1_x(Limited::new(body, LARGEST))))
        })
    }
}
