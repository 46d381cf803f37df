//! A stand-in for STS's AssumeRole, speaking the real wire protocol: a form in, XML out. It knows the roles that it
//! was told of and remembers every call. It checks no signature.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Request, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};

use crate::ecr::access_key_of_signature;
use crate::listener::{self, Listener, Reply};

/// One call, whatever was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub role_arn: String,
    pub external_id: Option<String>,
    pub session_name: String,
    /// The access key that signed.
    pub access_key: String,
}

/// A role, and who may assume it.
#[derive(Debug, Clone)]
pub struct Role {
    pub arn: &'static str,
    /// What its trust policy asks for.
    pub external_id: Option<&'static str>,
    /// The access key of its sessions, as ECR's stand-in sees it in signatures.
    pub access_key: &'static str,
    /// How long its sessions live.
    pub life: SignedDuration,
}

/// The running stand-in; it stops when dropped.
#[derive(Debug)]
pub struct Sts {
    listener: Listener,
    shared: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    roles: HashMap<&'static str, Role>,
    calls: Vec<Call>,
}

impl Sts {
    /// Starts it with no role that anybody may assume.
    pub async fn start() -> Result<Self, listener::Error> {
        let shared = Arc::new(Mutex::new(State::default()));
        let answering = Arc::clone(&shared);
        let listener = Listener::start(move |request| {
            Reply::Whole(answer(&request, &mut answering.lock().unwrap_or_else(PoisonError::into_inner)))
        })
        .await?;
        Ok(Self { listener, shared })
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// From now on the role may be assumed.
    pub fn allow(&self, role: Role) {
        self.state().roles.insert(role.arn, role);
    }

    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(request: &Request<Bytes>, state: &mut State) -> Response<Bytes> {
    let form = form(request.body());
    let field = |name: &str| form.get(name).cloned();
    if field("Action").as_deref() != Some("AssumeRole") {
        return refusal("InvalidAction", "not played here");
    }
    let authorization = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let call = Call {
        role_arn: field("RoleArn").unwrap_or_default(),
        external_id: field("ExternalId"),
        session_name: field("RoleSessionName").unwrap_or_default(),
        access_key: authorization.and_then(access_key_of_signature).unwrap_or_default().to_owned(),
    };
    state.calls.push(call.clone());
    let role = state.roles.get(call.role_arn.as_str());
    match role.filter(|role| role.external_id == call.external_id.as_deref()) {
        Some(role) => assumed(role, &call),
        None => refusal("AccessDenied", "User is not authorized to perform: sts:AssumeRole"),
    }
}

fn assumed(role: &Role, call: &Call) -> Response<Bytes> {
    let expiration = (Timestamp::now() + role.life).strftime("%FT%TZ");
    xml(
        StatusCode::OK,
        format!(
            "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
             <AssumedRoleUser><Arn>{}/{}</Arn><AssumedRoleId>AROA3XFRBF23EXAMPLE:{}</AssumedRoleId></AssumedRoleUser>\
             <Credentials><AccessKeyId>{}</AccessKeyId><SecretAccessKey>role-secret</SecretAccessKey>\
             <SessionToken>role-session</SessionToken><Expiration>{expiration}</Expiration></Credentials>\
             </AssumeRoleResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></AssumeRoleResponse>",
            role.arn, call.session_name, call.session_name, role.access_key,
        ),
    )
}

fn refusal(code: &str, message: &str) -> Response<Bytes> {
    xml(
        StatusCode::FORBIDDEN,
        format!(
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
             <Code>{code}</Code><Message>{message}</Message></Error><RequestId>1</RequestId></ErrorResponse>"
        ),
    )
}

fn xml(status: StatusCode, text: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("text/xml"));
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
