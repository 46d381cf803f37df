//! What documents hold for a registry: a token that ends, or what an operator set for good.

use std::collections::BTreeMap;
use std::fmt;

use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine as _, alphabet};
use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::credentials::{Secret, Token};
use crate::registry::HostName;

/// The credentials that a document is to hold, by the name they are filed under.
pub type Credentials = BTreeMap<EntryName, Credential>;

/// The name of an `auths` entry: a host mostly, but Docker files Docker Hub's under a URL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryName(String);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Credential {
    Token(Token),
    Static(StaticCredential),
}

/// A credential that never ends by itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StaticCredential {
    /// Base64 of `user:password`.
    pub auth: Secret,
    /// When the file that it is from was last changed: of two nodes' files the later counts.
    pub set_at: Timestamp,
}

impl EntryName {
    /// `None` for what no registry is known by: nothing, or text with whitespace or control characters.
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

/// Whether Docker takes `auth`: one entry that it does not take makes it reject the whole config.
pub fn docker_accepts(auth: &str) -> bool {
    let Some(decoded) = decoded(auth) else { return false };
    // An empty `auth` is allowed, but holds no credential.
    auth.is_empty() || decoded.iter().position(|byte| *byte == b':').is_some_and(|colon| colon > 0)
}

/// What is odd about an `auth` that Docker takes, and that will hardly work.
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
    // Go skips line breaks, and does not look at the bits that the last byte leaves over.
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
    /// What stands under `auth` in a Docker config.
    pub fn auth(&self) -> &Secret {
        match self {
            Credential::Token(token) => &token.auth,
            Credential::Static(credential) => &credential.auth,
        }
    }

    /// When it ends, by the server's clock; `None` if it does not.
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
