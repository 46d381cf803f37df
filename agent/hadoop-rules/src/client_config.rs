//! A Docker `config.json` as YARN reads it when it hands credentials to a container.
//!
//! YARN looks at `auths.<registry>.auth` and nothing else: helpers, stores and identity tokens are
//! not for it, and one entry without `auth` fails the launch. Only the verdict is computed here; what Docker
//! itself makes of the same file is not its concern.

mod auth;
mod json;
mod text;

#[cfg(test)]
mod tests;

use alloc::collections::BTreeMap;
use alloc::string::String;

use thiserror::Error;

pub use auth::Auth;
pub use json::{Fault, JsonError};

/// What YARN takes out of the file, by registry key as written. Empty means: no error, but nothing
/// for Docker either.
pub type Credentials = BTreeMap<String, Auth>;

/// Why a container launch that names the file fails.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ClientConfigError {
    #[error("the Docker client config is empty")]
    Empty,
    #[error("the Docker client config is no JSON that YARN can read")]
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
    let text = text::decode(bytes);
    let root = json::read(&text).map_err(ClientConfigError::Malformed)?.ok_or(ClientConfigError::Empty)?;
    let auths = root.into_members().remove("auths");
    let entries = auths.map(json::Value::into_members).unwrap_or_default();
    entries
        .into_iter()
        .map(|(registry, entry)| match entry.into_members().remove("auth") {
            Some(auth) => Ok((registry, Auth::new(auth.into_text()))),
            None => Err(ClientConfigError::EntryWithoutAuth { registry }),
        })
        .collect()
}
