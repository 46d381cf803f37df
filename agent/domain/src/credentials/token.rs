//! ECR authorization tokens, as returned by GetAuthorizationToken, and their expiry.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use thiserror::Error;

use crate::credentials::Secret;

/// An authorization token, valid for every registry in its Region that the identity may use. Its times are by the
/// server's clock.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Token {
    /// Base64 of `AWS:password`, the format of Docker's `auth`.
    pub auth: Secret,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
    pub origin: Origin,
    /// The token that this one replaces, wherever that is still published.
    pub predecessor: Option<Secret>,
}

/// ECR issues tokens for 12 h; claims of more than that, plus some slack for latency, are not believed.
pub const LONGEST_LIFE: SignedDuration = SignedDuration::from_mins(12 * 60 + 10);

/// The AWS credentials that a token was requested with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Origin {
    /// When those credentials expire, by AWS's clock; `None` if they are long-lived.
    pub ends_at: Option<Timestamp>,
    /// Their principal, if this node can determine it locally.
    pub principal: Option<Principal>,
}

/// The principal of the node's own credentials, for comparison only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal(String);

/// A response that must not replace a valid token.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadToken {
    #[error("the response contains no authorization token")]
    Absent,
    #[error("the response does not say when the token expires")]
    NoExpiry,
    #[error("the token is not base64 of AWS:password")]
    NotAws,
    #[error("the token expired at {expired_at}; the clock is at {now}")]
    Expired { expired_at: Timestamp, now: Timestamp },
}

impl Token {
    /// Checks a response that arrived at `now`, by the server's clock.
    pub fn from_answer(
        authorization_token: Option<&str>,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Self, BadToken> {
        let auth = authorization_token.ok_or(BadToken::Absent)?;
        if !is_of_aws(auth) {
            return Err(BadToken::NotAws);
        }
        let expires_at = expires_at.ok_or(BadToken::NoExpiry)?;
        if expires_at <= now {
            return Err(BadToken::Expired { expired_at: expires_at, now });
        }
        Ok(Self {
            auth: Secret::new(auth),
            issued_at: now,
            expires_at,
            origin: Origin::default(),
            predecessor: None,
        })
    }

    /// The token's total lifetime.
    pub fn life(&self) -> SignedDuration {
        self.expires_at.duration_since(self.issued_at)
    }
}

impl Principal {
    /// The role of the instance profile, by its name.
    pub fn instance_role(name: &str) -> Self {
        Self(format!("the instance role {}", name.trim()))
    }

    /// The owner of a long-lived access key, by the key's id.
    pub fn access_key(id: &str) -> Self {
        Self(format!("the access key {id}"))
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The expiry that an ECR token itself states: its password is base64 of a JSON object that contains it.
pub fn stated_expiry(auth: &str) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Password {
        expiration: i64,
    }
    let json = STANDARD.decode(aws_password(auth)?).ok()?;
    let password: Password = serde_json::from_slice(&json).ok()?;
    Timestamp::from_second(password.expiration).ok()
}

/// Whether `auth` is base64 of the user that all ECR tokens share and a non-empty password.
pub fn is_of_aws(auth: &str) -> bool {
    aws_password(auth).is_some_and(|password| !password.is_empty())
}

fn aws_password(auth: &str) -> Option<Vec<u8>> {
    let decoded = STANDARD.decode(auth).ok()?;
    decoded.strip_prefix(b"AWS:").map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use jiff::Timestamp;

    use super::{BadToken, Token, stated_expiry};

    fn at(second: i64) -> Timestamp {
        Timestamp::constant(second, 0)
    }

    #[test]
    fn only_a_living_aws_password_is_a_token() {
        let check = |plain: Option<&str>, expires: Option<i64>, expected: Result<(), BadToken>| {
            let auth = plain.map(|plain| STANDARD.encode(plain));
            let token = Token::from_answer(auth.as_deref(), expires.map(at), at(1000));
            assert_eq!(token.as_ref().map(|_| ()).map_err(Clone::clone), expected);
            if let Ok(token) = token {
                assert_eq!(Some(token.auth.expose()), auth.as_deref());
            }
        };
        check(Some("AWS:password"), Some(1001), Ok(()));
        check(None, Some(2000), Err(BadToken::Absent));
        check(Some("AWS:password"), None, Err(BadToken::NoExpiry));
        check(Some("AWS:"), Some(2000), Err(BadToken::NotAws));
        check(Some("user:password"), Some(2000), Err(BadToken::NotAws));
        let expired = |second| BadToken::Expired { expired_at: at(second), now: at(1000) };
        check(Some("AWS:password"), Some(1000), Err(expired(1000)));
        check(Some("AWS:password"), Some(5), Err(expired(5)));
        assert_eq!(Token::from_answer(Some("no base64!"), Some(at(2000)), at(1000)), Err(BadToken::NotAws));
    }

    #[test]
    fn a_password_of_ecr_states_its_expiry() {
        let check = |plain: String, expected: Option<i64>| {
            assert_eq!(stated_expiry(&STANDARD.encode(plain)), expected.map(at));
        };
        let password = |json: &str| format!("AWS:{}", STANDARD.encode(json));
        check(
            password(
                r#"{"payload":"p","datakey":"d","version":"2","type":"DATA_KEY","expiration":1700000000}"#,
            ),
            Some(1_700_000_000),
        );
        check(password(r#"{"payload":"p"}"#), None);
        check("AWS:plain".to_owned(), None);
        check("me:secret".to_owned(), None);
    }
}
