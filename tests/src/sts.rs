//! A stand-in for STS's AssumeRole, speaking the real wire protocol. It knows the roles that it was told of, remembers
//! every call, and can be told to fail in every way the real service and the network before it can. Of a signature it
//! checks the time alone.

mod fault;
mod wire;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hyper::{Request, StatusCode};
use jiff::{SignedDuration, Timestamp};

pub use fault::Fault;

use crate::listener::{self, Listener, Reply};
use crate::signature;

/// The secret key and the session token of every session.
pub const SECRET_KEY: &str = "role-secret-9yMcHDh3CYEXAMPLEKEY";
pub const SESSION_TOKEN: &str = "role-session-FwoGZXIvYXdzEXAMPLE";

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
    clock_offset: SignedDuration,
    fault: Option<Fault>,
}

impl Sts {
    /// Starts it with no role that anybody may assume.
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

    /// From now on the role may be assumed.
    pub fn allow(&self, role: Role) {
        self.state().roles.insert(role.arn, role);
    }

    /// Makes the service's clock differ from this machine's.
    pub fn set_clock_offset(&self, offset: SignedDuration) {
        self.state().clock_offset = offset;
    }

    /// Every call fails in this way, until [`Sts::heal`].
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
        return refuse(StatusCode::BAD_REQUEST, "InvalidAction", "not played here");
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
    match state.fault {
        None => Reply::Whole(good),
        Some(fault) => fault.reply(good, now),
    }
}
