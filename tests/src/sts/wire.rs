//! STS's AWS query protocol: parses the form of a request and renders XML.

use std::collections::HashMap;

use bytes::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::http::response::Builder;
use hyper::{Request, Response, StatusCode};
use jiff::Timestamp;

use super::{Call, Role};
use crate::signature::{self, Signer};

pub(super) const DENIAL: &str = "User is not authorized to perform: sts:AssumeRole";

/// `None` for any operation but AssumeRole.
pub(super) fn read(request: &Request<Bytes>) -> Option<Call> {
    let form = form(request.body());
    let field = |name: &str| form.get(name).cloned();
    if field("Action").as_deref() != Some("AssumeRole") {
        return None;
    }
    Some(Call {
        role_arn: field("RoleArn").unwrap_or_default(),
        external_id: field("ExternalId"),
        session_name: field("RoleSessionName").unwrap_or_default(),
        access_key: Signer::of(request).map(|signer| signer.access_key).unwrap_or_default(),
    })
}

pub(super) fn assumed(role: &Role, call: &Call, now: Timestamp) -> Response<Bytes> {
    let expiration = (now + role.life).strftime("%FT%TZ");
    let credentials = format!(
        "<Credentials><AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey>\
         <SessionToken>{}</SessionToken><Expiration>{expiration}</Expiration></Credentials>",
        role.access_key,
        super::SECRET_KEY,
        super::SESSION_TOKEN,
    );
    result(
        &format!(
            "<AssumedRoleUser><Arn>{}/{}</Arn><AssumedRoleId>AROA3XFRBF23EXAMPLE:{}</AssumedRoleId>\
             </AssumedRoleUser>{credentials}",
            role.arn, call.session_name, call.session_name,
        ),
        now,
    )
}

pub(super) fn without_credentials(now: Timestamp) -> Response<Bytes> {
    result("", now)
}

pub(super) fn refusal(status: StatusCode, code: &str, message: &str, now: Timestamp) -> Response<Bytes> {
    xml(
        status,
        format!(
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
             <Code>{code}</Code><Message>{message}</Message></Error><RequestId>1</RequestId></ErrorResponse>"
        ),
        now,
    )
}

fn result(content: &str, now: Timestamp) -> Response<Bytes> {
    xml(
        StatusCode::OK,
        format!(
            "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>{content}\
             </AssumeRoleResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></AssumeRoleResponse>"
        ),
        now,
    )
}

fn xml(status: StatusCode, text: String, now: Timestamp) -> Response<Bytes> {
    let mut response = Builder::new()
        .status(status)
        .header(CONTENT_TYPE, "text/xml")
        .body(Bytes::from(text))
        .expect("a fixed status and a fixed header make a response");
    signature::set_date(&mut response, now);
    response
}

/// The fields of a form, decoded.
fn form(body: &[u8]) -> HashMap<String, String> {
    let body = String::from_utf8_lossy(body);
    body.split('&')
        .filter_map(|field| field.split_once('='))
        .map(|(name, value)| (name.to_owned(), decoded(value)))
        .collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                let digits = std::str::from_utf8(&digits).ok();
                bytes.extend(digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()));
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
