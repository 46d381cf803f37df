//! A stand-in for Amazon ECR's GetAuthorizationToken, private and public, speaking the real wire protocol.
//!
//! It issues a new token on every call, one chain of tokens per region, remembers the calls, and can be told to fail
//! in every way the real service and the network before it can. Of a signature it checks the time alone.

pub mod fault;
pub mod token;
mod wire;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::{Request, Response};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

pub use fault::Fault;
pub use token::Issued;

use crate::listener::{self, Listener, Reply};
use crate::signature;
use crate::wait::{self, TimedOut};

/// The account that owns the stand-in's registries.
pub const ACCOUNT: &str = "123456789123";

/// One request for a token, whatever was answered.
#[derive(Debug, Clone)]
pub struct Call {
    pub at: Timestamp,
    /// From the credential scope of the signature.
    pub region: String,
    /// The access key that signed.
    pub access_key: String,
    pub host: String,
    /// Whether it was ECR Public that was asked.
    pub public: bool,
}

/// The running stand-in; it stops when dropped.
#[derive(Debug)]
pub struct Ecr {
    listener: Listener,
    shared: Arc<Shared>,
}

impl Ecr {
    /// Starts it with tokens that live for `life`.
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

    /// Makes the service's clock differ from this machine's, in its `Date` header and in `expiresAt`.
    pub fn set_clock_offset(&self, offset: SignedDuration) {
        self.shared.state().clock_offset = offset;
    }

    /// The next calls fail in these ways, one each; after them the lasting behaviour is back.
    pub fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.shared.state().next_faults.extend(faults);
    }

    /// Every call fails in this way, until [`Ecr::heal`].
    pub fn fail_always(&self, fault: Fault) {
        self.shared.state().lasting_fault = Some(fault);
    }

    pub fn heal(&self) {
        let mut state = self.shared.state();
        state.lasting_fault = None;
        state.next_faults.clear();
    }

    /// Calls `hook` with every good token before it is answered, so that a registry that follows already accepts
    /// it when the client first sees it.
    pub fn on_issue(&self, hook: impl Fn(&Issued) + Send + 'static) {
        self.shared.state().on_issue.push(Box::new(hook));
    }

    /// The last good token of any region, and every later one as it comes.
    pub fn issued(&self) -> watch::Receiver<Option<Issued>> {
        self.shared.issued.subscribe()
    }

    /// The last good token of one region.
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

    /// Waits until at least `count` calls have come since the start.
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
    lasting_fault: Option<Fault>,
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
                lasting_fault: None,
                newest: HashMap::new(),
                newest_public: None,
                on_issue: Vec::new(),
            }),
            calls: watch::Sender::default(),
            issued: watch::Sender::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A hook that panicked has failed its test; the state itself is intact.
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

        let fault = state.next_faults.pop_front().or(state.lasting_fault);
        match fault {
            None => Reply::Whole(self.issue(&mut state, &call, service_now)),
            Some(Fault::Slow(delay)) => Reply::Late(self.issue(&mut state, &call, service_now), delay),
            Some(fault) => fault.reply(&call, service_now, state.life),
        }
    }

    fn issue(&self, state: &mut State, call: &Call, service_now: Timestamp) -> Response<Bytes> {
        let token = Issued::new(&call.region, service_now, state.life);
        for hook in &state.on_issue {
            hook(&token);
        }
        match call.public {
            true => state.newest_public = Some(token.clone()),
            false => drop(state.newest.insert(call.region.clone(), token.clone())),
        }
        let response = wire::token(call, &token.answer(), service_now);
        self.issued.send_replace(Some(token));
        response
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
