//! A registry's credential: a token that expires, or a static entry that an operator sets.

use std::collections::BTreeMap;
use std::fmt;

use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine as _, alphabet};
use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::credentials::{Secret, Token};
use crate::registry::HostName;

/// The credentials that a document should hold, by entry name.
pub type Credentials = BTreeMap<EntryName, Credential>;

/// The name of an `auths` entry: usually a host name, but Docker Hub's is a URL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryName(String);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Credential {
    Token(Token),
    Static(StaticCredential),
}

/// A credential without an expiry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StaticCredential {
    /// Base64 of `user:password`.
    pub auth: Secret,
    /// When the source file was last modified; if two nodes' files differ, the later one wins.
    pub set_at: Timestamp,
}

impl EntryName {
    /// Returns `None` if `text` is empty or contains whitespace or control characters.
    pub fn parse(text: &str) -> Option<Self> {
        let good = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control());
        good.then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&HostName> for EntryName {
    fn from(host: &HostName) -> Self {
        Self(host.as_str().to_owned())
    }
}

/// Whether Docker accepts `auth`. Docker rejects a whole config if it rejects one entry.
pub fn docker_accepts(auth: &str) -> bool {
    let Some(decoded) = decoded(auth) else { return false };
    // An empty `auth` is allowed, but holds no credential.
    auth.is_empty() || decoded.iter().position(|byte| *byte == b':').is_some_and(|colon| colon > 0)
}

/// Why `auth` is unlikely to work although Docker accepts it, if there is a reason.
pub fn auth_oddity(auth: &str) -> Option<&'static str> {
    let decoded = decoded(auth)?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    match &decoded[colon + 1..] {
        [] => Some("its password is empty"),
        [.., b'\n'] => Some("its password ends with a newline"),
        _ if auth.contains(['\r', '\n']) => Some("it is wrapped into several lines"),
        _ => None,
    }
}

fn decoded(auth: &str) -> Option<Zeroizing<Vec<u8>>> {
    // Go's decoder skips line breaks and ignores trailing bits.
    const GO: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
    );
    let text: Zeroizing<Vec<u8>> =
        auth.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect::<Vec<u8>>().into();
    GO.decode(&text).map(Zeroizing::new).ok()
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Credential {
    /// The value of `auth` in a Docker config.
    pub fn auth(&self) -> &Secret {
        match self {
            Credential::Token(token) => &token.auth,
            Credential::Static(credential) => &credential.auth,
        }
    }

    /// When the credential expires, by the server's clock; `None` if it never does.
    pub fn expires_at(&self) -> Option<Timestamp> {
        match self {
            Credential::Token(token) => Some(token.expires_at),
            Credential::Static(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::docker_accepts;

    #[test]
    fn an_auth_is_checked_as_docker_does() {
        for accepted in ["", "bWU6cA==", "bWU6cB==", "bWU6\r\ncA==", "bWU6"] {
            assert!(docker_accepts(accepted), "{accepted:?}");
        }
        for rejected in ["bWU6cA", "null", "bm9ib2R5", "OnA=", "bWU6cA== ", "bWU6cA==bWU6cA==", "me:p", "="] {
            assert!(!docker_accepts(rejected), "{rejected:?}");
        }
    }
}
