//! The ways in which assuming a role can go wrong, besides a role that may not be assumed.

use std::time::Duration;

use bytes::Bytes;
use hyper::{Response, StatusCode};
use jiff::Timestamp;

use super::wire;
use crate::listener::Reply;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Throttling: more calls per second than the account may make.
    Throttled,
    /// AccessDenied, though the role was allowed before.
    AccessDenied,
    /// ExpiredToken: the credentials that signed the call are too old.
    ExpiredCredentials,
    /// 500 with STS's own error text.
    ServerError,
    /// The answer comes only after this time.
    Slow(Duration),
    /// The call is taken and never answered.
    Silent,
    /// The connection breaks in the middle of the answer.
    Torn,
    /// 200 with a body that is not XML.
    Garbage,
    /// 200 without credentials in it.
    NoCredentials,
}

impl Fault {
    /// What the service answers instead of `good`.
    pub(super) fn reply(self, good: Response<Bytes>, now: Timestamp) -> Reply {
        let refuse = |status, code, message| Reply::Whole(wire::refusal(status, code, message, now));
        match self {
            Self::Throttled => refuse(StatusCode::BAD_REQUEST, "Throttling", "Rate exceeded"),
            Self::AccessDenied => refuse(StatusCode::FORBIDDEN, "AccessDenied", wire::DENIAL),
            Self::ExpiredCredentials => refuse(
                StatusCode::FORBIDDEN,
                "ExpiredToken",
                "The security token included in the request is expired",
            ),
            Self::ServerError => {
                refuse(StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure", "Internal service error")
            }
            Self::Slow(delay) => Reply::Late(good, delay),
            Self::Silent => Reply::Never,
            Self::Torn => Reply::Torn(good),
            Self::Garbage => Reply::Whole(good.map(|_| Bytes::from_static(b"It works!"))),
            Self::NoCredentials => Reply::Whole(wire::without_credentials(now)),
        }
    }
}
