//! What documents hold for a registry: a token that ends, or what an operator set for good.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

use crate::credentials::{Secret, Token};
use crate::registry::HostName;

/// The credentials that a document is to hold, by the name they are filed under.
pub type Credentials = BTreeMap<EntryName, Credential>;

/// The name of an `auths` entry: a host mostly, but Docker files Docker Hub's under a URL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryName(String);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    Token(Token),
    Static(StaticCredential),
}

/// A credential that never ends by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
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
