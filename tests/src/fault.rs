//! The ways in which a call to a stand-in for an AWS service can fail.

use std::time::Duration;

use bytes::Bytes;
use hyper::{Response, StatusCode};

use crate::listener::Reply;

/// `Content` lists the well-formed responses with wrong content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault<Content> {
    /// The account exceeds its rate limit.
    Throttled,
    /// No policy allows the call.
    AccessDenied,
    /// The credentials in the signature have expired.
    ExpiredCredentials,
    /// 500 with the service's own error text.
    ServerError,
    /// A good response after this delay.
    Slow(Duration),
    /// The connection stays open without a response.
    Silent,
    /// The connection breaks halfway through the response.
    Torn,
    /// 200 with a body in no format that AWS uses.
    Garbage,
    Content(Content),
}

/// How one service renders the errors that all services share.
pub(crate) struct Dialect {
    pub throttled: &'static str,
    pub denied: &'static str,
    pub expired: &'static str,
    pub internal: &'static str,
    /// The status of denied and expired calls.
    pub forbidden: StatusCode,
}

impl<Content> Fault<Content> {
    /// The reply of a service that would otherwise respond with `good`. `error` renders a status, code and message.
    pub(crate) fn reply(
        self,
        dialect: &Dialect,
        denial: &str,
        error: impl Fn(StatusCode, &'static str, &str) -> Response<Bytes>,
        good: impl FnOnce() -> Response<Bytes>,
        bad: impl FnOnce(Content) -> Response<Bytes>,
    ) -> Reply {
        let Dialect { throttled, denied, expired, internal, forbidden } = *dialect;
        let response = match self {
            Self::Throttled => error(StatusCode::BAD_REQUEST, throttled, "Rate exceeded"),
            Self::AccessDenied => error(forbidden, denied, denial),
            Self::ExpiredCredentials => {
                error(forbidden, expired, "The security token included in the request is expired")
            }
            Self::ServerError => error(StatusCode::INTERNAL_SERVER_ERROR, internal, "Internal service error"),
            Self::Slow(delay) => return Reply::Late(good(), delay),
            Self::Silent => return Reply::Never,
            Self::Torn => return Reply::Torn(good()),
            Self::Garbage => Response::new(Bytes::from_static(b"<html><body>It works!</body></html>")),
            Self::Content(content) => bad(content),
        };
        Reply::Whole(response)
    }
}
