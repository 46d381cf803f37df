//! AWS JSON 1.1 as ECR speaks it: which request is which, and how answers look.

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HOST};
use hyper::http::response::Builder;
use hyper::{Request, Response, StatusCode};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use serde_json::{Value, json};

use super::token::Answer;
use super::{ACCOUNT, Call};

/// An error as the service answers it.
pub(super) struct Refusal {
    pub status: StatusCode,
    pub kind: &'static str,
    pub message: String,
}

pub(super) fn read(request: &Request<Bytes>, at: Timestamp) -> Result<Call, Refusal> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let public = match header("x-amz-target") {
        "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken" => false,
        "SpencerFrontendService.GetAuthorizationToken" => true,
        _ => return Err(refused("UnknownOperationException", "")),
    };
    let (access_key, region) = scope(header(AUTHORIZATION.as_str()))
        .ok_or_else(|| refused("MissingAuthenticationTokenException", "Missing Authentication Token"))?;
    Ok(Call {
        at,
        region: region.to_owned(),
        access_key: access_key.to_owned(),
        host: header(HOST.as_str()).to_owned(),
        public,
    })
}

pub(super) fn token(call: &Call, answer: &Answer, now: Timestamp) -> Response<Bytes> {
    let milliseconds = answer.expires_at.as_millisecond();
    let mut data = json!({
        "authorizationToken": answer.authorization_token,
        "expiresAt": milliseconds as f64 / 1000.0,
    });
    if call.public {
        return respond(StatusCode::OK, &json!({ "authorizationData": data }), now);
    }
    data["proxyEndpoint"] = format!("https://{ACCOUNT}.dkr.ecr.{}.amazonaws.com", call.region).into();
    respond(StatusCode::OK, &json!({ "authorizationData": [data] }), now)
}

pub(super) fn no_token(now: Timestamp) -> Response<Bytes> {
    respond(StatusCode::OK, &json!({ "authorizationData": [] }), now)
}

pub(super) fn error(refusal: &Refusal, now: Timestamp) -> Response<Bytes> {
    let body = json!({ "__type": refusal.kind, "message": refusal.message });
    respond(refusal.status, &body, now)
}

fn refused(kind: &'static str, message: &str) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, kind, message: message.to_owned() }
}

/// The access key of an `Authorization` header.
pub fn access_key_of_signature(authorization: &str) -> Option<&str> {
    scope(authorization).map(|(access_key, _)| access_key)
}

/// The access key and the region of `AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, ...`.
fn scope(authorization: &str) -> Option<(&str, &str)> {
    let credential = authorization
        .strip_prefix("AWS4-HMAC-SHA256 ")?
        .split(',')
        .find_map(|field| field.trim().strip_prefix("Credential="))?;
    let mut parts = credential.split('/');
    let access_key = parts.next()?;
    let region = parts.nth(1)?;
    Some((access_key, region))
}

fn respond(status: StatusCode, body: &Value, now: Timestamp) -> Response<Bytes> {
    let mut response = Builder::new()
        .status(status)
        .header(CONTENT_TYPE, "application/x-amz-json-1.1")
        .body(Bytes::from(body.to_string()))
        .expect("a fixed status and a fixed header make a response");
    let date =
        DateTimePrinter::new().timestamp_to_rfc9110_string(&now).ok().and_then(|date| date.parse().ok());
    if let Some(date) = date {
        response.headers_mut().insert(DATE, date);
    }
    response
}
