//! A stand-in for the instance metadata service, version 2 only: a node's role, its credentials, where it runs.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::{Method, Request, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::ecr::ACCOUNT;
use crate::listener::{self, Listener, Reply};

/// The access key that the stand-in hands out, as ECR's stand-in sees it in signatures.
pub const ACCESS_KEY: &str = "ASIAIOSFODNN7EXAMPLE";
pub const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
/// The session token that belongs to the access key.
pub const SESSION_TOKEN: &str = "IQoJb3JpZ2luX2VjEXAMPLE";
pub const ROLE: &str = "EMR_EC2_DefaultRole";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Good,
    /// Every answer takes this long.
    Slow(Duration),
    /// The role's credentials ended an hour ago, as when the service cannot renew them.
    ExpiredCredentials,
    /// The instance has no role.
    NoRole,
}

/// The running stand-in; it stops when dropped. An absent service is one that is not started.
#[derive(Debug)]
pub struct Imds {
    listener: Listener,
    mood: Arc<Mutex<Mood>>,
}

impl Imds {
    pub async fn start(region: &str) -> Result<Self, listener::Error> {
        let mood = Arc::new(Mutex::new(Mood::Good));
        let current = Arc::clone(&mood);
        let region = region.to_owned();
        let listener = Listener::start(move |request| {
            let mood = *current.lock().unwrap_or_else(PoisonError::into_inner);
            answer(&request, mood, &region)
        })
        .await?;
        Ok(Self { listener, mood })
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    pub fn set_mood(&self, mood: Mood) {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }
}

const SESSION: &str = "AQAEANDexample-session==";
const SESSION_HEADER: &str = "x-aws-ec2-metadata-token";
const SESSION_TTL_HEADER: &str = "x-aws-ec2-metadata-token-ttl-seconds";

fn answer(request: &Request<Bytes>, mood: Mood, region: &str) -> Reply {
    let response = if request.method() == Method::PUT {
        session(request)
    } else if request.headers().get(SESSION_HEADER).is_none_or(|token| token != SESSION) {
        status(StatusCode::UNAUTHORIZED)
    } else {
        document(request.uri().path(), mood, region)
            .map_or_else(|| status(StatusCode::NOT_FOUND), |text| Response::new(Bytes::from(text)))
    };
    match mood {
        Mood::Slow(delay) => Reply::Late(response, delay),
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

fn document(path: &str, mood: Mood, region: &str) -> Option<String> {
    const CREDENTIALS: &str = "/latest/meta-data/iam/security-credentials/";
    match path {
        CREDENTIALS if mood != Mood::NoRole => Some(ROLE.to_owned()),
        "/latest/meta-data/placement/region" => Some(region.to_owned()),
        "/latest/meta-data/placement/availability-zone" => Some(format!("{region}a")),
        "/latest/meta-data/instance-id" => Some("i-0123456789abcdef0".to_owned()),
        "/latest/dynamic/instance-identity/document" => Some(identity(region)),
        _ if path.strip_prefix(CREDENTIALS) == Some(ROLE) && mood != Mood::NoRole => Some(credentials(mood)),
        _ => None,
    }
}

fn credentials(mood: Mood) -> String {
    let now = Timestamp::now();
    let expiration = match mood {
        Mood::ExpiredCredentials => now - SignedDuration::from_hours(1),
        _ => now + SignedDuration::from_hours(6),
    };
    json!({
        "Code": "Success",
        "LastUpdated": now.strftime("%FT%TZ").to_string(),
        "Type": "AWS-HMAC",
        "AccessKeyId": ACCESS_KEY,
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
