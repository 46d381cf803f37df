//! A stand-in for STS's AssumeRole that speaks the real wire protocol.
//!
//! It lets clients assume the allowed roles, records the calls, and can fail in every way that the real service and
//! the network in front of it can. It checks only the time of a signature.

mod wire;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hyper::{Request, StatusCode};
use jiff::{SignedDuration, Timestamp};

use crate::fault::{self, Dialect};
use crate::listener::{self, Listener, Reply};
use crate::signature;

/// The secret key and the session token of every session.
pub const SECRET_KEY: &str = "role-secret-9yMcHDh3CYEXAMPLEKEY";
pub const SESSION_TOKEN: &str = "role-session-FwoGZXIvYXdzEXAMPLE";

/// How a call fails, unless its role may not be assumed.
pub type Fault = fault::Fault<NoCredentials>;

/// An otherwise good response without credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoCredentials;

/// One call, whatever the response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub role_arn: String,
    pub external_id: Option<String>,
    pub session_name: String,
    /// The access key of the signature.
    pub access_key: String,
}

/// A role and the conditions for assuming it.
#[derive(Debug, Clone)]
pub struct Role {
    pub arn: &'static str,
    /// Required by its trust policy.
    pub external_id: Option<&'static str>,
    /// The access key of its sessions; the ECR stand-in sees it in signatures.
    pub access_key: &'static str,
    /// How long its sessions live.
    pub life: SignedDuration,
}

/// The running stand-in, stopped when dropped.
#[derive(Debug)]
pub struct Sts {
    listener: Listener,
    shared: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    roles: HashMap<&'static str, Role>,
    calls: Vec<Call>,
    clock_offset: SignedDuration,
    fault: Option<Fault>,
}

impl Sts {
    /// Starts the stand-in without any role that may be assumed.
    pub async fn start() -> Result<Self, listener::Error> {
        let shared = Arc::new(Mutex::new(State::default()));
        let answering = Arc::clone(&shared);
        let listener = Listener::start(move |request| {
            answer(&request, &mut answering.lock().unwrap_or_else(PoisonError::into_inner))
        })
        .await?;
        Ok(Self { listener, shared })
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// From now on lets clients assume the role.
    pub fn allow(&self, role: Role) {
        self.state().roles.insert(role.arn, role);
    }

    /// Offsets the service's clock from this machine's.
    pub fn set_clock_offset(&self, offset: SignedDuration) {
        self.state().clock_offset = offset;
    }

    /// Makes every call fail in this way until [`Sts::heal`].
    pub fn fail_always(&self, fault: Fault) {
        self.state().fault = Some(fault);
    }

    pub fn heal(&self) {
        self.state().fault = None;
    }

    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(request: &Request<Bytes>, state: &mut State) -> Reply {
    let now = Timestamp::now() + state.clock_offset;
    let refuse = |status, code: &str, message: &str| Reply::Whole(wire::refusal(status, code, message, now));
    let Some(call) = wire::read(request) else {
        return refuse(StatusCode::BAD_REQUEST, "InvalidAction", "only AssumeRole is implemented");
    };
    state.calls.push(call.clone());
    if let Some(stale) = signature::stale(request, now) {
        return refuse(StatusCode::FORBIDDEN, "SignatureDoesNotMatch", &stale);
    }
    let role = state.roles.get(call.role_arn.as_str());
    let Some(role) = role.filter(|role| role.external_id == call.external_id.as_deref()) else {
        return refuse(StatusCode::FORBIDDEN, "AccessDenied", wire::DENIAL);
    };
    let good = wire::assumed(role, &call, now);
    let Some(fault) = state.fault else { return Reply::Whole(good) };
    let error = |status, code, message: &str| wire::refusal(status, code, message, now);
    fault.reply(&DIALECT, wire::DENIAL, error, || good, |NoCredentials| wire::without_credentials(now))
}

const DIALECT: Dialect = Dialect {
    throttled: "Throttling",
    denied: "AccessDenied",
    expired: "ExpiredToken",
    internal: "InternalFailure",
    forbidden: StatusCode::FORBIDDEN,
};
