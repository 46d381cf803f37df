//! Tokens like ECR's: "AWS:" and a password that is base64 of a JSON object, as opaque and as long as the real one.

use std::fmt;
use std::iter;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

/// A token issued by the stand-in. Its `Debug` output never contains the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    pub region: String,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
    password: String,
}

impl Issued {
    pub(super) fn new(region: &str, issued_at: Timestamp, life: SignedDuration) -> Self {
        let expires_at = issued_at + life;
        Self { region: region.to_owned(), issued_at, expires_at, password: password(expires_at) }
    }

    /// The password of the user "AWS" for a registry.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The `auth` in a Docker config: base64 of "AWS:" and the password.
    pub fn auth(&self) -> String {
        auth("AWS", &self.password)
    }

    pub(super) fn answer(&self) -> Answer {
        Answer { authorization_token: self.auth(), expires_at: self.expires_at }
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued")
            .field("region", &self.region)
            .field("issued_at", &self.issued_at)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// The two fields that matter in a response.
pub(super) struct Answer {
    pub authorization_token: String,
    pub expires_at: Timestamp,
}

pub(super) fn auth(user: &str, password: &str) -> String {
    BASE64.encode(format!("{user}:{password}"))
}

fn password(expires_at: Timestamp) -> String {
    BASE64.encode(
        json!({
            "payload": noise(1200),
            "datakey": noise(184),
            "version": "2",
            "type": "DATA_KEY",
            "expiration": expires_at.as_second(),
        })
        .to_string(),
    )
}

fn noise(length: usize) -> String {
    let bytes: Vec<u8> = iter::repeat_with(|| fastrand::u8(..)).take(length).collect();
    BASE64.encode(bytes)
}
