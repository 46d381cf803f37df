//! A stand-in for the instance metadata service, version 2 only: role, credentials and placement.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::{Method, Request, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::ecr::ACCOUNT;
use crate::listener::{self, Listener, Reply};

/// The access key that the stand-in issues; the ECR stand-in sees it in signatures.
pub const ACCESS_KEY: &str = "ASIAIOSFODNN7EXAMPLE";
pub const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
/// The session token that belongs to the access key.
pub const SESSION_TOKEN: &str = "IQoJb3JpZ2luX2VjEXAMPLE";
pub const ROLE: &str = "EMR_EC2_DefaultRole";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behavior {
    Normal,
    /// Every response is delayed by this time.
    Slow(Duration),
    /// The role's credentials expired an hour ago, as if the service could not renew them.
    ExpiredCredentials,
    /// The instance has no role.
    NoRole,
    /// Every request for credentials fails with a body that contains this secret.
    LeakingError(&'static str),
    /// The session token, which is this secret, comes without a lifetime.
    SessionWithoutTtl(&'static str),
}

/// The running stand-in, stopped when dropped.
#[derive(Debug)]
pub struct Imds {
    listener: Listener,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Clone)]
struct State {
    behavior: Behavior,
    role: String,
    life: SignedDuration,
}

impl Imds {
    pub async fn start(region: &str) -> Result<Self, listener::Error> {
        let state =
            State { behavior: Behavior::Normal, role: ROLE.to_owned(), life: SignedDuration::from_hours(6) };
        let state = Arc::new(Mutex::new(state));
        let current = Arc::clone(&state);
        let region = region.to_owned();
        let listener = Listener::start(move |request| {
            let state = current.lock().unwrap_or_else(PoisonError::into_inner).clone();
            answer(&request, &state, &region)
        })
        .await?;
        Ok(Self { listener, state })
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    pub fn set_behavior(&self, behavior: Behavior) {
        self.state().behavior = behavior;
    }

    /// Gives the instance another role; [`access_key_of`] returns the access key.
    pub fn set_role(&self, role: &str) {
        self.state().role = role.to_owned();
    }

    /// Sets how long credentials live after each request.
    pub fn set_credential_life(&self, life: SignedDuration) {
        self.state().life = life;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The access key that the stand-in issues for a role.
pub fn access_key_of(role: &str) -> String {
    match role {
        ROLE => ACCESS_KEY.to_owned(),
        other => format!("ASIA{}", other.to_ascii_uppercase()),
    }
}

const SESSION: &str = "AQAEANDexample-session==";
const SESSION_HEADER: &str = "x-aws-ec2-metadata-token";
const SESSION_TTL_HEADER: &str = "x-aws-ec2-metadata-token-ttl-seconds";

fn answer(request: &Request<Bytes>, state: &State, region: &str) -> Reply {
    let response = if let Behavior::SessionWithoutTtl(secret) = state.behavior {
        Response::new(Bytes::from_static(secret.as_bytes()))
    } else if request.method() == Method::PUT {
        session(request)
    } else if let Behavior::LeakingError(secret) = state.behavior {
        let mut response = Response::new(Bytes::from(format!("{{\"SecretAccessKey\":\"{secret}\"}}")));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    } else if request.headers().get(SESSION_HEADER).is_none_or(|token| token != SESSION) {
        status(StatusCode::UNAUTHORIZED)
    } else {
        document(request.uri().path(), state, region)
            .map_or_else(|| status(StatusCode::NOT_FOUND), |text| Response::new(Bytes::from(text)))
    };
    match state.behavior {
        Behavior::Slow(delay) => Reply::Late(response, delay),
        _ => Reply::Whole(response),
    }
}

fn session(request: &Request<Bytes>) -> Response<Bytes> {
    let Some(life) = request.headers().get(SESSION_TTL_HEADER) else {
        return status(StatusCode::BAD_REQUEST);
    };
    let life = life.clone();
    let mut response = Response::new(Bytes::from_static(SESSION.as_bytes()));
    response.headers_mut().insert(SESSION_TTL_HEADER, life);
    response
}

fn document(path: &str, state: &State, region: &str) -> Option<String> {
    const CREDENTIALS: &str = "/latest/meta-data/iam/security-credentials/";
    match path {
        _ if state.behavior == Behavior::NoRole && path.starts_with(CREDENTIALS) => None,
        CREDENTIALS => Some(state.role.clone()),
        "/latest/meta-data/placement/region" => Some(region.to_owned()),
        "/latest/meta-data/placement/availability-zone" => Some(format!("{region}a")),
        "/latest/meta-data/instance-id" => Some("i-0123456789abcdef0".to_owned()),
        "/latest/dynamic/instance-identity/document" => Some(identity(region)),
        _ if path.strip_prefix(CREDENTIALS) == Some(&state.role) => Some(credentials(state)),
        _ => None,
    }
}

fn credentials(state: &State) -> String {
    let now = Timestamp::now();
    let expiration = match state.behavior {
        Behavior::ExpiredCredentials => now - SignedDuration::from_hours(1),
        _ => now + state.life,
    };
    json!({
        "Code": "Success",
        "LastUpdated": now.strftime("%FT%TZ").to_string(),
        "Type": "AWS-HMAC",
        "AccessKeyId": access_key_of(&state.role),
        "SecretAccessKey": SECRET_KEY,
        "Token": SESSION_TOKEN,
        "Expiration": expiration.strftime("%FT%TZ").to_string(),
    })
    .to_string()
}

fn identity(region: &str) -> String {
    json!({
        "accountId": ACCOUNT,
        "architecture": "x86_64",
        "availabilityZone": format!("{region}a"),
        "instanceId": "i-0123456789abcdef0",
        "instanceType": "m5.xlarge",
        "region": region,
        "version": "2017-09-30",
    })
    .to_string()
}

fn status(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
}
