//! ECR's AWS JSON 1.1: parses requests and renders responses.

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::http::response::Builder;
use hyper::{Request, Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::token::Answer;
use super::{ACCOUNT, Call};
use crate::signature::{self, Signer};

/// An error response.
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
    let Signer { access_key, region } = Signer::of(request)
        .ok_or_else(|| refused("MissingAuthenticationTokenException", "Missing Authentication Token"))?;
    Ok(Call { at, region, access_key, host: header(HOST.as_str()).to_owned(), public })
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

pub(super) fn no_token(call: &Call, now: Timestamp) -> Response<Bytes> {
    let nothing = if call.public { json!({}) } else { json!({ "authorizationData": [] }) };
    respond(StatusCode::OK, &nothing, now)
}

pub(super) fn error(refusal: &Refusal, now: Timestamp) -> Response<Bytes> {
    let body = json!({ "__type": refusal.kind, "message": refusal.message });
    respond(refusal.status, &body, now)
}

pub(super) fn refused(kind: &'static str, message: &str) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, kind, message: message.to_owned() }
}

fn respond(status: StatusCode, body: &Value, now: Timestamp) -> Response<Bytes> {
    let mut response = Builder::new()
        .status(status)
        .header(CONTENT_TYPE, "application/x-amz-json-1.1")
        .body(Bytes::from(body.to_string()))
        .expect("a fixed status and a fixed header make a response");
    signature::set_date(&mut response, now);
    response
}
