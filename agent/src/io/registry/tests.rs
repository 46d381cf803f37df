use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use domain::check::{ImageReference, RegistryAnswer};
use domain::credentials::Secret;
use domain::refresh::ProbeResult;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::conversation::Conversation;
use super::{find_image, probe};

/// A registry that accepts only the bearer token that it issues for one password.
#[derive(Debug, Clone, Default)]
struct Registry {
    /// The token endpoint's status for a wrong credential.
    refusal: u16,
    /// The token server that the challenge names, if not the registry itself.
    realm: Option<String>,
    /// Path and query of each request, and the scheme of its credential.
    seen: Arc<Mutex<Vec<(String, String)>>>,
}

const BEARER: &str = "Bearer a-token-of-the-registry";

fn good() -> String {
    BASE64.encode("AWS:right")
}

impl Registry {
    /// Serves until the test's runtime ends; returns its host and port.
    async fn serve(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let name = listener.local_addr().expect("its address").to_string();
        let host = name.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let (registry, host) = (self.clone(), host.clone());
                let service = service_fn(move |request| {
                    let answer = registry.answer(&host, &request);
                    async { Ok::<_, Infallible>(answer) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        name
    }

    fn answer(&self, host: &str, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let authorization =
            request.headers().get("authorization").map_or("", |value| value.to_str().unwrap_or(""));
        let scheme = authorization.split(' ').next().unwrap_or_default().to_owned();
        let requested = request.uri().to_string();
        self.seen.lock().expect("no test panics with it").push((requested.clone(), scheme));

        let answer = |status: u16, body: &str| {
            Response::builder().status(status).body(Full::from(body.to_owned())).expect("an answer")
        };
        if requested.starts_with("/token") {
            return if authorization == format!("Basic {}", good()) {
                answer(200, r#"{"token":"a-token-of-the-registry","access_token":"a-token-of-the-registry"}"#)
            } else {
                answer(self.refusal, "{}")
            };
        }
        if authorization != BEARER {
            let realm = self.realm.clone().unwrap_or_else(|| format!("http://{host}/token"));
            let challenge = format!(r#"Bearer realm="{realm}",service="here",scope="repository:app:pull""#);
            let mut refused = answer(401, "{}");
            refused.headers_mut().insert("www-authenticate", challenge.parse().expect("a header"));
            return refused;
        }
        match requested.as_str() {
            "/v2/" => answer(200, "{}"),
            "/v2/app/manifests/v1" => answer(200, r#"{"config":{"digest":"sha256:1"}}"#),
            "/v2/app/blobs/sha256:1" => {
                answer(200, r#"{"architecture":"amd64","config":{"Env":["JAVA_HOME=/j"]}}"#)
            }
            _ => answer(404, "{}"),
        }
    }
}

async fn probe_result(registry: Registry, auth: &str) -> ProbeResult {
    let name = registry.serve().await;
    probe(&name, &Secret::new(auth)).await.result
}

#[tokio::test]
async fn a_bearer_registry_checks_the_credential() {
    let wrong = BASE64.encode("AWS:wrong");
    let check = async |refusal, auth: &str, expected| {
        assert_eq!(probe_result(Registry { refusal, ..Registry::default() }, auth).await, expected);
    };
    check(400, &good(), ProbeResult::Accepted).await;
    check(400, &wrong, ProbeResult::Rejected(400)).await;
    check(401, &wrong, ProbeResult::Rejected(401)).await;
    assert!(matches!(
        probe_result(Registry { refusal: 503, ..Registry::default() }, &wrong).await,
        ProbeResult::Unknown(_)
    ));
}

#[tokio::test]
async fn the_credential_goes_nowhere_by_plain_http() {
    for realm in ["http://tokens.example.com/", "ftp://127.0.0.1/", "elsewhere"] {
        let registry = Registry { realm: Some(realm.to_owned()), ..Registry::default() };
        assert!(
            matches!(probe_result(registry, &good()).await, ProbeResult::Unknown(why) if why.contains("safe"))
        );
    }
}

#[tokio::test]
async fn a_private_registry_of_ecr_answers_no_challenge() {
    for (name, token_requests) in [("123456789123.dkr.ecr.us-east-1.amazonaws.com", 0), ("public.ecr.aws", 1)]
    {
        let registry = Registry::default();
        let seen = Arc::clone(&registry.seen);
        let url = format!("http://{}/v2/", registry.serve().await);
        let mut conversation = Conversation::new(name, Some(&Secret::new(good())));
        assert!(conversation.get(&url).await.is_ok());
        let seen = seen.lock().expect("no test panics with it");
        assert_eq!(
            seen.iter().filter(|(path, _)| path.starts_with("/token")).count(),
            token_requests,
            "{name}"
        );
    }
}

#[tokio::test]
async fn an_image_is_asked_for_with_one_bearer_token() {
    let registry = Registry::default();
    let seen = Arc::clone(&registry.seen);
    let name = registry.serve().await;
    let image = ImageReference { registry: name, repository: "app".to_owned(), tag: "v1".to_owned() };
    let RegistryAnswer::Found(facts) = find_image(&image, Some(&Secret::new(good())), "amd64").await else {
        panic!("the image is there")
    };
    assert_eq!((facts.architectures, facts.java), (vec!["amd64".to_owned()], Some(true)));
    let seen = seen.lock().expect("no test panics with it").clone();
    let seen: Vec<_> = seen.iter().map(|(path, scheme)| (path.as_str(), scheme.as_str())).collect();
    assert_eq!(
        seen,
        [
            ("/v2/app/manifests/v1", "Basic"),
            ("/token?service=here&scope=repository%3Aapp%3Apull", "Basic"),
            ("/v2/app/manifests/v1", "Bearer"),
            ("/v2/app/blobs/sha256:1", "Bearer"),
        ]
    );
}
