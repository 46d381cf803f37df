//! Requests to one registry, with Docker's credential or the bearer token that some registries issue for it. The
//! credential goes only to the registry and the token server it names, never over plain HTTP to another machine.

use std::error::Error;

use aws_smithy_http_client::Connector;
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use domain::credentials::Secret;
use domain::registry::{BearerChallenge, EcrRegistry, Service, UnsafeRealm};
use http_body_util::{BodyExt as _, Limited};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::io::connector::Connectors;

/// Larger responses are neither manifests nor tokens.
const LARGEST: usize = 4 << 20;
/// Every manifest format that Docker requests.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";

#[derive(Debug, Error)]
pub(super) enum ConversationError {
    #[error("cannot request {url}")]
    Request { url: String, source: Box<dyn Error + Send + Sync> },
    #[error("no response from {url}")]
    Network { url: String, source: Box<dyn Error + Send + Sync> },
    #[error("{url} returned HTTP {status}")]
    Status { url: String, status: u16 },
    #[error("the registry's token server {url} returned HTTP {status}")]
    Token { url: String, status: u16 },
    #[error("the response from {url} has no bearer token")]
    NoToken { url: String },
    #[error("{url} names no safe token server")]
    Realm { url: String },
    #[error("the response from {url} is not a registry's")]
    Foreign { url: String, source: Box<dyn Error + Send + Sync> },
}

/// Requests to one registry.
pub(super) struct Conversation {
    connector: Connectors,
    /// Whether to send the credential to the token server that the registry names.
    answers_challenges: bool,
    /// Values of the `Authorization` header.
    credential: Option<Secret>,
    bearer: Option<Secret>,
}

/// A response, whatever its status.
pub(super) struct Answer {
    url: String,
    response: HttpResponse,
}

/// Docker's registries use the first name, OAuth the second, and Docker Hub both.
#[derive(Deserialize)]
struct BearerToken {
    token: Option<String>,
    access_token: Option<String>,
}

impl Conversation {
    /// A conversation with `registry`, using the `auth` of a Docker config, if there is one.
    pub(super) fn new(registry: &str, auth: Option<&Secret>) -> Self {
        // ECR accepts the credential itself; a server that wants it sent elsewhere is not ECR.
        let is_ecr = EcrRegistry::parse(registry).is_ok_and(|ecr| ecr.service() == Service::Private);
        Self {
            connector: Connectors::new(Connector::builder),
            answers_challenges: !is_ecr,
            credential: auth.map(|auth| Secret::new(format!("Basic {}", auth.expose()))),
            bearer: None,
        }
    }

    /// Sends a request; if the registry requires a bearer token, fetches it and repeats the request.
    pub(super) async fn get(&mut self, url: &str) -> Result<Answer, ConversationError> {
        let authorization = self.bearer.as_ref().or(self.credential.as_ref());
        let answer = self.send(url, authorization).await?;
        if !self.answers_challenges {
            return Ok(answer);
        }
        let Some(challenge) = answer.bearer_challenge()? else { return Ok(answer) };
        let token = self.bearer_token(&challenge).await?;
        let authorization = self.bearer.insert(token).clone();
        self.send(url, Some(&authorization)).await
    }

    /// Sends a request without a credential, for storage with signed URLs.
    pub(super) async fn get_from_storage(&self, url: &str) -> Result<Answer, ConversationError> {
        self.send(url, None).await
    }

    async fn bearer_token(&self, challenge: &BearerChallenge) -> Result<Secret, ConversationError> {
        let answer = self.send(challenge.url().as_str(), self.credential.as_ref()).await?;
        match answer.status() {
            200 => {
                let url = answer.url.clone();
                let BearerToken { token, access_token } = answer.json().await?;
                let [token, access_token] = [token, access_token].map(|token| token.map(Zeroizing::new));
                let token = token.or(access_token).ok_or(ConversationError::NoToken { url })?;
                Ok(Secret::new(format!("Bearer {}", *token)))
            }
            status => Err(ConversationError::Token { url: answer.url, status }),
        }
    }

    async fn send(&self, url: &str, authorization: Option<&Secret>) -> Result<Answer, ConversationError> {
        let request = request(url, authorization)
            .map_err(|source| ConversationError::Request { url: shown(url), source })?;
        let response = self.connector.call(request).await;
        let response =
            response.map_err(|error| ConversationError::Network { url: shown(url), source: error.into() })?;
        Ok(Answer { url: shown(url), response })
    }
}

impl Answer {
    pub(super) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)
    }

    /// The body of a successful response.
    pub(super) async fn json<T: DeserializeOwned>(self) -> Result<T, ConversationError> {
        let (status, url) = (self.status(), self.url);
        if status != 200 {
            return Err(ConversationError::Status { url, status });
        }
        let body = match Limited::new(self.response.into_body(), LARGEST).collect().await {
            Ok(body) => body.to_bytes(),
            Err(source) => return Err(ConversationError::Network { url, source }),
        };
        serde_json::from_slice(&body)
            .map_err(|source| ConversationError::Foreign { url, source: source.into() })
    }

    fn bearer_challenge(&self) -> Result<Option<BearerChallenge>, ConversationError> {
        let header = self.header("www-authenticate").filter(|_| self.status() == 401).unwrap_or_default();
        BearerChallenge::parse(header)
            .map_err(|UnsafeRealm| ConversationError::Realm { url: self.url.clone() })
    }
}

fn request(url: &str, authorization: Option<&Secret>) -> Result<HttpRequest, Box<dyn Error + Send + Sync>> {
    let mut request = HttpRequest::new(SdkBody::empty());
    request.set_uri(url)?;
    let headers = request.headers_mut();
    headers.try_insert("accept", MANIFESTS)?;
    if let Some(authorization) = authorization {
        headers.try_insert("authorization", authorization.expose().to_owned())?;
    }
    Ok(request)
}

/// The URL without its query, which may contain a signature.
fn shown(url: &str) -> String {
    url.split('?').next().unwrap_or_default().to_owned()
}
