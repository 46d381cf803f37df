//! A Docker registry, asked whether it takes a credential, and whether an image can be pulled: its
//! manifest, its architectures, and whether its configuration speaks of Java. It downloads no layers
//! and changes nothing.

use std::error::Error;
use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::edge::chain;
use crate::model::check::{ImageConfig, ImageFacts, ImageReference, RegistryAnswer};
use crate::model::server_clock::skew;
use crate::model::trials::{Probed, Verdict};

/// Longest that all questions about one image may take.
const DEADLINE: Duration = Duration::from_secs(15);
/// Longest that the trial of one token may take.
const PROBE_DEADLINE: Duration = Duration::from_secs(5);
/// Larger answers are no manifests.
const LARGEST: usize = 4 << 20;
/// Every form of manifest that Docker asks for.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";

#[derive(Debug, Error)]
enum RegistryError {
    #[error("{url} cannot be asked for")]
    Request { url: String, source: Box<dyn Error + Send + Sync> },
    #[error("no answer from {url}")]
    Network { url: String, source: Box<dyn Error + Send + Sync> },
    #[error("{url} answers with HTTP {status}")]
    Status { url: String, status: u16 },
    #[error("{url} asks for a bearer token, which this check does not fetch")]
    Bearer { url: String },
    #[error("the answer from {url} is not a registry's")]
    Foreign { url: String, source: Box<dyn Error + Send + Sync> },
}

/// Asks for the image with the credential of a Docker config, if there is one; `architecture` is this
/// node's, as Docker names it.
pub async fn ask(image: &ImageReference, auth: Option<&str>, architecture: &str) -> RegistryAnswer {
    let registry = Registry::of(image, auth);
    match tokio::time::timeout(DEADLINE, registry.facts(image, architecture)).await {
        Ok(Ok(facts)) => RegistryAnswer::Found(facts),
        Ok(Err(RegistryError::Status { status: 404, .. })) => RegistryAnswer::NotFound,
        Ok(Err(RegistryError::Status { status: status @ (400 | 401 | 403), .. })) => {
            RegistryAnswer::Refused(status)
        }
        Ok(Err(error)) => RegistryAnswer::Unknown(chain(&error)),
        Err(_) => RegistryAnswer::Unknown(format!("no answer from {} within {DEADLINE:?}", image.registry)),
    }
}

/// Tries a credential, as `auth` has it, at the registry's front door.
pub async fn probe(name: &str, auth: &str) -> Probed {
    let registry = Registry::at(name, "", Some(auth));
    let sent_at = Timestamp::now();
    let (verdict, date) = match tokio::time::timeout(PROBE_DEADLINE, registry.front_door()).await {
        Ok(Ok((200..=399, date))) => (Verdict::Accepted, date),
        Ok(Ok((status @ (400 | 401 | 403), date))) => (Verdict::Refused(status), date),
        Ok(Ok((status, date))) => (Verdict::Unknown(format!("{name} answers with HTTP {status}")), date),
        Ok(Err(error)) => (Verdict::Unknown(chain(&error)), None),
        Err(_) => (Verdict::Unknown(format!("no answer from {name} within {PROBE_DEADLINE:?}")), None),
    };
    Probed { verdict, clock_skew: date.and_then(|date| skew(&date, sent_at, Timestamp::now())) }
}

/// One repository of a registry, and how to speak to it.
struct Registry {
    connector: Connector,
    base: String,
    authorization: Option<String>,
}

/// A manifest of one image, or the list of those of several architectures.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Manifest {
    manifests: Vec<Listed>,
    config: Option<Blob>,
}

#[derive(Debug, Deserialize)]
struct Listed {
    digest: String,
    platform: Option<Platform>,
}

#[derive(Debug, Deserialize)]
struct Platform {
    architecture: String,
}

#[derive(Debug, Deserialize)]
struct Blob {
    digest: String,
}

impl Registry {
    fn of(image: &ImageReference, auth: Option<&str>) -> Self {
        Self::at(&image.registry, &image.repository, auth)
    }

    fn at(registry: &str, repository: &str, auth: Option<&str>) -> Self {
        let scheme = if is_loopback(registry) { "http" } else { "https" };
        let connector = Connector::builder()
            .proxy_config(ProxyConfig::from_env())
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build();
        Self {
            connector,
            base: format!("{scheme}://{registry}/v2/{repository}"),
            authorization: auth.map(|auth| format!("Basic {auth}")),
        }
    }

    async fn facts(&self, image: &ImageReference, architecture: &str) -> Result<ImageFacts, RegistryError> {
        let manifest = self.manifest(&image.tag).await?;
        let platforms = manifest.manifests.iter().filter_map(|listed| listed.platform.as_ref());
        let mut architectures: Vec<String> =
            platforms.map(|platform| platform.architecture.clone()).collect();
        // Attestations are listed beside the images, for an architecture of that name.
        architectures.retain(|architecture| architecture != "unknown");
        architectures.dedup();
        let own = manifest
            .manifests
            .iter()
            .find(|listed| listed.platform.as_ref().is_some_and(|p| p.architecture == architecture));
        let config = match own {
            Some(listed) => self.manifest(&listed.digest).await?.config,
            None => manifest.config,
        };
        let Some(config) = config else { return Ok(ImageFacts { architectures, java: None }) };
        let config: ImageConfig = self.blob(&config.digest).await?;
        if architectures.is_empty() && !config.architecture.is_empty() {
            architectures.push(config.architecture.clone());
        }
        Ok(ImageFacts { architectures, java: Some(config.speaks_of_java()) })
    }

    async fn manifest(&self, reference: &str) -> Result<Manifest, RegistryError> {
        let url = format!("{}/manifests/{reference}", self.base);
        let (_, bytes) = self.get(&url, self.authorization.as_deref()).await?;
        parse(&url, &bytes)
    }

    async fn blob(&self, digest: &str) -> Result<ImageConfig, RegistryError> {
        let url = format!("{}/blobs/{digest}", self.base);
        let (location, bytes) = self.get(&url, self.authorization.as_deref()).await?;
        match location {
            // The storage behind has its own signature in the URL, and must not see the credential.
            Some(storage) => parse(&storage, &self.get(&storage, None).await?.1),
            None => parse(&url, &bytes),
        }
    }

    /// The status and the date of the answer at the API's root. One that wants a bearer token does not
    /// judge the credential.
    async fn front_door(&self) -> Result<(u16, Option<String>), RegistryError> {
        let url = &self.base;
        let request = request(url, self.authorization.as_deref())
            .map_err(|source| RegistryError::Request { url: shown(url), source })?;
        let response = self.connector.call(request).await;
        let response =
            response.map_err(|error| RegistryError::Network { url: shown(url), source: error.into() })?;
        let header = |name| response.headers().get(name).map(str::to_owned);
        if header("www-authenticate").is_some_and(|by| by.starts_with("Bearer")) {
            return Err(RegistryError::Bearer { url: shown(url) });
        }
        Ok((response.status().as_u16(), header("date")))
    }

    /// The body, and where to look instead if the answer is a redirection.
    async fn get(&self, url: &str, auth: Option<&str>) -> Result<(Option<String>, Bytes), RegistryError> {
        let request =
            request(url, auth).map_err(|source| RegistryError::Request { url: shown(url), source })?;
        let network = |source| RegistryError::Network { url: shown(url), source };
        let response = self.connector.call(request).await.map_err(|error| network(error.into()))?;
        let status = response.status().as_u16();
        let header = |response: &HttpResponse, name| response.headers().get(name).map(str::to_owned);
        if (300..400).contains(&status) {
            return Ok((header(&response, "location"), Bytes::new()));
        }
        if status == 401 && header(&response, "www-authenticate").is_some_and(|by| by.starts_with("Bearer")) {
            return Err(RegistryError::Bearer { url: shown(url) });
        }
        if status != 200 {
            return Err(RegistryError::Status { url: shown(url), status });
        }
        let body = Limited::new(response.into_body(), LARGEST).collect().await.map_err(network)?;
        Ok((None, body.to_bytes()))
    }
}

fn request(url: &str, auth: Option<&str>) -> Result<HttpRequest, Box<dyn Error + Send + Sync>> {
    let mut request = HttpRequest::new(SdkBody::empty());
    request.set_uri(url)?;
    let headers = request.headers_mut();
    headers.try_insert("accept", MANIFESTS)?;
    if let Some(auth) = auth {
        headers.try_insert("authorization", auth.to_owned())?;
    }
    Ok(request)
}

fn parse<T: DeserializeOwned>(url: &str, bytes: &[u8]) -> Result<T, RegistryError> {
    serde_json::from_slice(bytes)
        .map_err(|source| RegistryError::Foreign { url: shown(url), source: source.into() })
}

/// Without the query, which may hold a signature.
fn shown(url: &str) -> String {
    url.split('?').next().unwrap_or_default().to_owned()
}

/// Docker speaks plain HTTP to such registries.
fn is_loopback(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    host == "localhost" || host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}
