//! A node's own Docker config.json. Setting credentials keeps everything else, in order and to the letter.

use serde::Serialize;
use serde_json::ser::PrettyFormatter;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::credentials::{EntryName, Secret};
use crate::documents::Document;

/// Why entries cannot be merged into a file.
#[derive(Debug, Error)]
pub enum NotDockerConfig {
    // The parser's own message quotes the input, which may be secret, so only the position is reported.
    #[error("not JSON at line {line}, column {column}")]
    NotJson { line: usize, column: usize },
    #[error("its top level is not a JSON object")]
    NotObject,
    #[error("its {0:?} is not a JSON object")]
    NotObjectMember(&'static str),
}

/// An editable Docker config.json.
#[derive(Default)]
pub struct DockerConfig {
    root: Map<String, Value>,
}

impl DockerConfig {
    /// Parses a file's content; an empty file counts as an empty object, as in Docker.
    pub fn parse(document: &Document) -> Result<Self, NotDockerConfig> {
        if document.bytes().trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        let value: Value = serde_json::from_slice(document.bytes())
            .map_err(|error| NotDockerConfig::NotJson { line: error.line(), column: error.column() })?;
        let Value::Object(root) = value else { return Err(NotDockerConfig::NotObject) };
        if root.get("auths").is_some_and(|auths| !auths.is_object() && !auths.is_null()) {
            return Err(NotDockerConfig::NotObjectMember("auths"));
        }
        Ok(Self { root })
    }

    /// The `auth` stored under `name`.
    pub fn auth(&self, name: &EntryName) -> Option<&str> {
        self.root.get("auths")?.get(name.as_str())?.get("auth")?.as_str()
    }

    /// Stores `auth` under `name`, and removes the fields that Docker would use instead.
    pub fn set(&mut self, name: &EntryName, auth: &Secret) {
        let auths = object(self.root.entry("auths").or_insert(Value::Null));
        let entry = object(auths.entry(name.as_str()).or_insert(Value::Null));
        for rival in ["username", "password", "identitytoken", "registrytoken"] {
            entry.shift_remove(rival);
        }
        entry.insert("auth".to_owned(), auth.expose().into());
    }

    /// The file's new content, formatted as Docker does.
    pub fn render(&self) -> Document {
        Document::new(render_json(&self.root, b"\t"))
    }
}

/// JSON text of `value` with a final newline.
pub(super) fn render_json(value: &impl Serialize, indent: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut serializer =
        serde_json::Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(indent));
    value.serialize(&mut serializer).expect("JSON values with text keys always render into memory");
    bytes.push(b'\n');
    bytes
}

/// The object in `value`; anything else is replaced by an empty one.
fn object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("made an object above")
}

#[cfg(test)]
mod tests {
    use super::{DockerConfig, Document, EntryName, Secret};

    fn document(text: &str) -> Document {
        Document::new(text.as_bytes().to_vec())
    }

    fn set(before: &str) -> String {
        let mut config = DockerConfig::parse(&document(before)).expect("a Docker config");
        let host = EntryName::parse("ecr.example").expect("a name");
        config.set(&host, &Secret::new("QVdTOnA="));
        assert_eq!(config.auth(&host), Some("QVdTOnA="));
        String::from_utf8(config.render().bytes().to_vec()).expect("UTF-8")
    }

    #[test]
    fn keeps_all_that_is_not_its_own() {
        let check = |before: &str, after: &str| {
            let compact = |text: &str| {
                let value: serde_json::Value = serde_json::from_str(text).expect("JSON");
                value.to_string()
            };
            assert_eq!(compact(&set(before)), compact(after));
        };
        check("", r#"{"auths":{"ecr.example":{"auth":"QVdTOnA="}}}"#);
        check(" \n", r#"{"auths":{"ecr.example":{"auth":"QVdTOnA="}}}"#);
        check(r#"{"auths":null}"#, r#"{"auths":{"ecr.example":{"auth":"QVdTOnA="}}}"#);
        check(
            r#"{"z":1.50,"auths":{"b":{"auth":"x","n":12345678901234567890123},"a":{}},"credHelpers":{"h":"ecr-login"},"proxies":{"default":{"noProxy":"*"}}}"#,
            r#"{"z":1.50,"auths":{"b":{"auth":"x","n":12345678901234567890123},"a":{},"ecr.example":{"auth":"QVdTOnA="}},"credHelpers":{"h":"ecr-login"},"proxies":{"default":{"noProxy":"*"}}}"#,
        );
        check(
            r#"{"auths":{"ecr.example":{"auth":"old","email":"a@b","identitytoken":"t"},"c":{"auth":"y"}}}"#,
            r#"{"auths":{"ecr.example":{"auth":"QVdTOnA=","email":"a@b"},"c":{"auth":"y"}}}"#,
        );
    }

    #[test]
    fn setting_again_changes_no_byte() {
        let once = set(r#"{"credsStore":"x"}"#);
        assert_eq!(set(&once), once);
    }

    #[test]
    fn refuses_without_quoting_what_is_there() {
        let check = |text: &str, expected: &str| {
            let error = DockerConfig::parse(&document(text)).err().map(|error| error.to_string());
            assert_eq!(error.as_deref(), Some(expected), "{text}");
        };
        check("{\n\"auths\": hunter2", "not JSON at line 2, column 10");
        check("[]", "its top level is not a JSON object");
        check(r#"{"auths":[]}"#, "its \"auths\" is not a JSON object");
        assert!(DockerConfig::parse(&Document::new(vec![0xff, 0xfe, 0])).is_err());
    }
}
