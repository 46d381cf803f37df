//! A Docker `config.json` as YARN reads it when it hands credentials to a container.
//!
//! YARN reads `auths.<registry>.auth` and nothing else: it ignores helpers, stores and identity tokens, and one
//! entry without `auth` fails the launch. Docker itself may read the same file differently.

mod json;
mod text;

#[cfg(test)]
mod tests;

use alloc::collections::BTreeMap;
use alloc::string::String;

use thiserror::Error;
use zeroize::Zeroizing;

pub use json::JsonError;

use super::Secret;

/// What YARN reads from the file, by registry key as written. Empty means no error, but nothing for Docker either.
pub type Credentials = BTreeMap<String, Secret>;

/// Why a container launch that names the file fails; the messages describe the variants.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ClientConfigError {
    #[error("the Docker client config is empty")]
    Empty,
    #[error("the Docker client config is not JSON that YARN can read")]
    Malformed(#[source] JsonError),
    #[error("the entry of {registry} in the Docker client config has no `auth`")]
    EntryWithoutAuth { registry: String },
}

impl ClientConfigError {
    /// Whether the launch fails with a `NullPointerException`, whose message names nothing, rather
    /// than with an `IOException`.
    pub fn is_null_pointer(&self) -> bool {
        match self {
            Self::Empty | Self::EntryWithoutAuth { .. } => true,
            Self::Malformed(_) => false,
        }
    }
}

/// Reads the whole file as `DockerClientConfigHandler` does.
pub fn read(bytes: &[u8]) -> Result<Credentials, ClientConfigError> {
    match salvage(bytes) {
        (credentials, None) => Ok(credentials),
        (_, Some(error)) => Err(error),
    }
}

/// Like [`read`], but also returns the valid entries, so that a broken file can be repaired.
pub fn salvage(bytes: &[u8]) -> (Credentials, Option<ClientConfigError>) {
    let text = Zeroizing::new(text::decode(bytes, char::REPLACEMENT_CHARACTER));
    let root = match json::read(&text) {
        Ok(Some(root)) => root,
        Ok(None) => return (Credentials::new(), Some(ClientConfigError::Empty)),
        Err(error) => return (Credentials::new(), Some(ClientConfigError::Malformed(error))),
    };
    let auths = json::members(root).remove("auths").map(json::members).unwrap_or_default();
    let (mut credentials, mut error) = (Credentials::new(), None);
    for (registry, entry) in auths {
        match json::members(entry).remove("auth") {
            Some(auth) => {
                credentials.insert(registry, Secret::new(json::as_text(auth)));
            }
            None => {
                error.get_or_insert(ClientConfigError::EntryWithoutAuth { registry });
            }
        }
    }
    (credentials, error)
}
