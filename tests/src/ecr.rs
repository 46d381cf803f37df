//! A stand-in for Amazon ECR's GetAuthorizationToken, private and public, that speaks the real wire protocol.
//!
//! It issues a new token on every call, one chain of tokens per region, records the calls, and can fail in every way
//! that the real service and the network in front of it can. It checks only the time of a signature.

pub mod token;
mod wire;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::{Request, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

pub use token::Issued;
use token::{Answer, auth};
use wire::Refusal;

use crate::fault::{self, Dialect};
use crate::listener::{self, Listener, Reply};
use crate::signature;
use crate::wait::{self, TimedOut};

/// The account that owns the stand-in's registries.
pub const ACCOUNT: &str = "123456789123";

/// How a call for a token fails.
pub type Fault = fault::Fault<BadToken>;

/// What is wrong with the token in an otherwise good response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadToken {
    Missing,
    /// The token expired a minute before it was issued.
    AlreadyExpired,
    /// The token decodes to a user other than "AWS".
    NotAwsUser,
    NotBase64,
}

/// One request for a token, whatever the response.
#[derive(Debug, Clone)]
pub struct Call {
    pub at: Timestamp,
    /// The region in the signature's credential scope.
    pub region: String,
    /// The access key of the signature.
    pub access_key: String,
    pub host: String,
    /// Whether the request went to ECR Public.
    pub public: bool,
}

/// The running stand-in, stopped when dropped.
#[derive(Debug)]
pub struct Ecr {
    listener: Listener,
    shared: Arc<Shared>,
}

impl Ecr {
    /// Starts the stand-in; its tokens live for `life`.
    pub async fn start(life: SignedDuration) -> Result<Self, listener::Error> {
        let shared = Arc::new(Shared::new(life));
        let answering = Arc::clone(&shared);
        let listener = Listener::start(move |request| answering.answer(&request)).await?;
        Ok(Self { listener, shared })
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    pub fn set_token_life(&self, life: SignedDuration) {
        self.shared.state().life = life;
    }

    /// Offsets the service's clock from this machine's, in its `Date` header and in `expiresAt`.
    pub fn set_clock_offset(&self, offset: SignedDuration) {
        self.shared.state().clock_offset = offset;
    }

    /// Makes the next calls fail, one per fault; then [`Ecr::fail_always`] applies again.
    pub fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.shared.state().next_faults.extend(faults);
    }

    /// Makes every call fail in this way until [`Ecr::heal`].
    pub fn fail_always(&self, fault: Fault) {
        self.shared.state().default_fault = Some(fault);
    }

    pub fn heal(&self) {
        let mut state = self.shared.state();
        state.default_fault = None;
        state.next_faults.clear();
    }

    /// Calls `hook` with every good token before sending the response, so that a registry that follows ECR accepts
    /// the token by the time the client sees it.
    pub fn on_issue(&self, hook: impl Fn(&Issued) + Send + 'static) {
        self.shared.state().on_issue.push(Box::new(hook));
    }

    /// Issues a token as if another client had called.
    pub fn issue(&self, region: &str) -> Issued {
        let mut state = self.shared.state();
        let now = Timestamp::now() + state.clock_offset;
        self.shared.grant(&mut state, region, false, now)
    }

    /// Watches the last good token of any region.
    pub fn issued(&self) -> watch::Receiver<Option<Issued>> {
        self.shared.issued.subscribe()
    }

    /// The last good token of a region.
    pub fn newest(&self, region: &str) -> Option<Issued> {
        self.shared.state().newest.get(region).cloned()
    }

    /// The last good token of ECR Public.
    pub fn newest_public(&self) -> Option<Issued> {
        self.shared.state().newest_public.clone()
    }

    pub fn calls(&self) -> Vec<Call> {
        self.shared.calls.borrow().clone()
    }

    /// Waits until there have been at least `count` calls since the start.
    pub async fn wait_for_calls(&self, count: usize, deadline: Duration) -> Result<Vec<Call>, TimedOut> {
        wait::until("calls to ECR", deadline, async || {
            let calls = self.calls();
            match calls.len() {
                enough if enough >= count => Ok(calls),
                so_far => Err(format!("{so_far} of {count}")),
            }
        })
        .await
    }
}

struct Shared {
    state: Mutex<State>,
    calls: watch::Sender<Vec<Call>>,
    issued: watch::Sender<Option<Issued>>,
}

struct State {
    life: SignedDuration,
    clock_offset: SignedDuration,
    next_faults: VecDeque<Fault>,
    default_fault: Option<Fault>,
    newest: HashMap<String, Issued>,
    newest_public: Option<Issued>,
    on_issue: Vec<Hook>,
}

type Hook = Box<dyn Fn(&Issued) + Send>;

impl Shared {
    fn new(life: SignedDuration) -> Self {
        Self {
            state: Mutex::new(State {
                life,
                clock_offset: SignedDuration::ZERO,
                next_faults: VecDeque::new(),
                default_fault: None,
                newest: HashMap::new(),
                newest_public: None,
                on_issue: Vec::new(),
            }),
            calls: watch::Sender::default(),
            issued: watch::Sender::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // If a hook panics, its test fails; the state itself stays intact.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: &Request<Bytes>) -> Reply {
        let now = Timestamp::now();
        let mut state = self.state();
        let service_now = now + state.clock_offset;
        let call = match wire::read(request, now) {
            Ok(call) => call,
            Err(refusal) => return Reply::Whole(wire::error(&refusal, service_now)),
        };
        self.calls.send_modify(|calls| calls.push(call.clone()));
        if let Some(stale) = signature::stale(request, service_now) {
            let refusal = wire::refused("InvalidSignatureException", &stale);
            return Reply::Whole(wire::error(&refusal, service_now));
        }

        let fault = state.next_faults.pop_front().or(state.default_fault);
        match fault {
            None => Reply::Whole(self.issue(&mut state, &call, service_now)),
            Some(fault) => self.fail(fault, &mut state, &call, service_now),
        }
    }

    fn fail(&self, fault: Fault, state: &mut State, call: &Call, now: Timestamp) -> Reply {
        let life = state.life;
        let error = |status, kind, message: &str| {
            wire::error(&Refusal { status, kind, message: message.to_owned() }, now)
        };
        let good = || match fault {
            // The client never learns this token, so it is not the newest.
            Fault::Torn => wire::token(call, &Issued::new(&call.region, now, life).answer(), now),
            _ => self.issue(state, call, now),
        };
        fault.reply(&DIALECT, &denial(call), error, good, |bad| bad.respond(call, now, life))
    }

    fn issue(&self, state: &mut State, call: &Call, service_now: Timestamp) -> Response<Bytes> {
        let token = self.grant(state, &call.region, call.public, service_now);
        wire::token(call, &token.answer(), service_now)
    }

    fn grant(&self, state: &mut State, region: &str, public: bool, service_now: Timestamp) -> Issued {
        let token = Issued::new(region, service_now, state.life);
        for hook in &state.on_issue {
            hook(&token);
        }
        if public {
            state.newest_public = Some(token.clone());
        } else {
            drop(state.newest.insert(region.to_owned(), token.clone()));
        }
        self.issued.send_replace(Some(token.clone()));
        token
    }
}

const DIALECT: Dialect = Dialect {
    throttled: "ThrottlingException",
    denied: "AccessDeniedException",
    expired: "ExpiredTokenException",
    internal: "ServerException",
    forbidden: StatusCode::BAD_REQUEST,
};

fn denial(call: &Call) -> String {
    let action = if call.public { "ecr-public" } else { "ecr" };
    format!(
        "User: arn:aws:sts::{ACCOUNT}:assumed-role/EMR_EC2_DefaultRole/i-0123456789abcdef0 is not authorized to \
         perform: {action}:GetAuthorizationToken on resource: * because no identity-based policy allows the \
         {action}:GetAuthorizationToken action"
    )
}

impl BadToken {
    fn respond(self, call: &Call, now: Timestamp, life: SignedDuration) -> Response<Bytes> {
        let expires_at = now + life;
        let answer = match self {
            Self::Missing => return wire::no_token(call, now),
            Self::AlreadyExpired => {
                let past = now - SignedDuration::from_mins(1) - life;
                Issued::new(&call.region, past, life).answer()
            }
            Self::NotAwsUser => {
                Answer { authorization_token: auth("root", "not-a-token-of-ecr"), expires_at }
            }
            Self::NotBase64 => Answer { authorization_token: "%%% not base64 %%%".to_owned(), expires_at },
        };
        wire::token(call, &answer, now)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
