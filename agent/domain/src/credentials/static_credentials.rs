//! Credentials for registries other than ECR, from an operator's file in the format of Docker's config.json. This
//! module only parses; the code that opens the file checks its owner and mode.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::credentials::{Credential, Credentials, EntryName, Secret, StaticCredential};
use crate::documents::Document;

/// A file's entries and modification time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticCredentials {
    auths: BTreeMap<EntryName, Secret>,
    set_at: Timestamp,
}

/// Why a file yields no credentials. Errors quote nothing from the file but entry names.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadCredentials {
    #[error("not JSON at line {line}, column {column}")]
    NotJson { line: usize, column: usize },
    #[error("it has no \"auths\" object")]
    NoAuths,
    #[error("the entry name {0:?} is empty or contains whitespace")]
    Name(String),
    #[error("the entry for {0} has no \"auth\" that is base64 of user:password")]
    Auth(EntryName),
}

impl StaticCredentials {
    /// Fails if any entry is invalid.
    pub fn parse(document: &Document, set_at: Timestamp) -> Result<Self, BadCredentials> {
        let value: Value = serde_json::from_slice(document.bytes())
            .map_err(|error| BadCredentials::NotJson { line: error.line(), column: error.column() })?;
        let entries = value.get("auths").and_then(Value::as_object).ok_or(BadCredentials::NoAuths)?;
        let auths = entries.iter().map(|(name, entry)| {
            let name = EntryName::parse(name).ok_or_else(|| BadCredentials::Name(name.clone()))?;
            let auth = auth(entry.as_object()).ok_or_else(|| BadCredentials::Auth(name.clone()))?;
            Ok((name, auth))
        });
        Ok(Self { auths: auths.collect::<Result<_, _>>()?, set_at })
    }

    pub fn names(&self) -> impl Iterator<Item = &EntryName> {
        self.auths.keys()
    }

    /// The entries as a document should hold them.
    pub fn credentials(&self) -> Credentials {
        let set_at = self.set_at;
        let credential = |auth: &Secret| Credential::Static(StaticCredential { auth: auth.clone(), set_at });
        self.auths.iter().map(|(name, auth)| (name.clone(), credential(auth))).collect()
    }
}

fn auth(entry: Option<&Map<String, Value>>) -> Option<Secret> {
    let auth = entry?.get("auth")?.as_str()?;
    let decoded = STANDARD.decode(auth).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    (colon > 0).then(|| Secret::new(auth))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::{BadCredentials, StaticCredentials};
    use crate::credentials::EntryName;
    use crate::documents::Document;

    fn parse(text: &str) -> Result<StaticCredentials, BadCredentials> {
        StaticCredentials::parse(&Document::new(text.as_bytes().to_vec()), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn takes_every_name_that_docker_files_under() {
        let text = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"bWU6cA=="},"harbor.example:8443":{"auth":"bWU6cA==","email":"x"}}}"#;
        let credentials = parse(text).expect("a good file");
        let names: Vec<&str> = credentials.names().map(EntryName::as_str).collect();
        assert_eq!(names, ["harbor.example:8443", "https://index.docker.io/v1/"]);
        assert!(credentials.credentials().values().all(|c| c.expires_at().is_none()));
    }

    #[test]
    fn a_bad_entry_spoils_the_file_and_is_named_without_its_secret() {
        let name = || EntryName::parse("hub").expect("a name");
        let check = |text: &str, expected: BadCredentials| {
            assert_eq!(parse(text), Err(expected), "{text}");
        };
        check("{\n hunter2", BadCredentials::NotJson { line: 2, column: 2 });
        check("[]", BadCredentials::NoAuths);
        check(r#"{"auths":[]}"#, BadCredentials::NoAuths);
        check(r#"{"auths":{"":{"auth":"bWU6cA=="}}}"#, BadCredentials::Name(String::new()));
        for entry in ["null", "{}", r#"{"auth":7}"#, r#"{"auth":"hunter2!"}"#, r#"{"auth":"bm9ib2R5"}"#] {
            check(&format!(r#"{{"auths":{{"hub":{entry}}}}}"#), BadCredentials::Auth(name()));
        }
        check(r#"{"auths":{"hub":{"auth":"OnA="}}}"#, BadCredentials::Auth(name()));
    }
}
