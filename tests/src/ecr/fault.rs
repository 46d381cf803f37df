//! The ways in which asking ECR for a token can go wrong.

use std::time::Duration;

use bytes::Bytes;
use hyper::{Response, StatusCode};
use jiff::{SignedDuration, Timestamp};

use super::token::{Answer, Issued, auth};
use super::wire::{self, Refusal};
use super::{ACCOUNT, Call};
use crate::listener::Reply;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// ThrottlingException: more calls per second than the account may make.
    Throttled,
    /// AccessDeniedException: the role lacks ecr:GetAuthorizationToken.
    AccessDenied,
    /// ExpiredTokenException: the credentials that signed the call are too old.
    ExpiredCredentials,
    /// 500 with ECR's own error text.
    ServerError,
    /// A good token, but only after this time.
    Slow(Duration),
    /// The call is taken and never answered.
    Silent,
    /// The connection breaks in the middle of the answer.
    Torn,
    /// 200 with a body that is not JSON.
    Garbage,
    /// A token that expired a minute before it was issued.
    AlreadyExpired,
    /// A token that decodes to another user than "AWS".
    NotAwsUser,
    /// A token that is not base64.
    NotBase64,
    /// 200 without a token.
    NoToken,
}

impl Fault {
    /// What the service answers in this mood, as far as that does not need a good token.
    pub(super) fn reply(self, call: &Call, now: Timestamp, life: SignedDuration) -> Reply {
        let expires_at = now + life;
        let bad = |answer: Answer| Reply::Whole(wire::token(call, &answer, now));
        match self {
            Self::Throttled => refuse("ThrottlingException", "Rate exceeded", now),
            Self::AccessDenied => refuse("AccessDeniedException", &denial(call), now),
            Self::ExpiredCredentials => {
                refuse("ExpiredTokenException", "The security token included in the request is expired", now)
            }
            Self::ServerError => Reply::Whole(wire::error(
                &Refusal {
                    status: StatusCode::INTERNAL_SERVER_ERROR,
                    kind: "ServerException",
                    message: "Internal service error".to_owned(),
                },
                now,
            )),
            Self::Silent => Reply::Never,
            Self::Torn | Self::Slow(_) => {
                let token = Issued::new(&call.region, now, life);
                Reply::Torn(wire::token(call, &token.answer(), now))
            }
            Self::Garbage => {
                Reply::Whole(Response::new(Bytes::from_static(b"<html><body>It works!</body></html>")))
            }
            Self::AlreadyExpired => {
                let past = now - SignedDuration::from_mins(1) - life;
                bad(Issued::new(&call.region, past, life).answer())
            }
            Self::NotAwsUser => {
                bad(Answer { authorization_token: auth("root", "not-a-token-of-ecr"), expires_at })
            }
            Self::NotBase64 => {
                bad(Answer { authorization_token: "%%% not base64 %%%".to_owned(), expires_at })
            }
            Self::NoToken => Reply::Whole(wire::no_token(call, now)),
        }
    }
}

fn refuse(kind: &'static str, message: &str, now: Timestamp) -> Reply {
    Reply::Whole(wire::error(
        &Refusal { status: StatusCode::BAD_REQUEST, kind, message: message.to_owned() },
        now,
    ))
}

fn denial(call: &Call) -> String {
    let action = if call.public { "ecr-public" } else { "ecr" };
    format!(
        "User: arn:aws:sts::{ACCOUNT}:assumed-role/EMR_EC2_DefaultRole/i-0123456789abcdef0 is not authorized to \
         perform: {action}:GetAuthorizationToken on resource: * because no identity-based policy allows the \
         {action}:GetAuthorizationToken action"
    )
}
