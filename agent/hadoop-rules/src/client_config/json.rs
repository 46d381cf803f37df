//! JSON as Jackson, YARN's JSON library, accepts it, on top of `serde_json`.
//!
//! Both accept the same grammar. Unlike `serde_json`, Jackson ignores text after the document, accepts half a
//! surrogate pair, and formats numbers as Java does; this module handles those cases. The two generations of
//! Jackson differ on text right after a number that is the whole document; the older, more lenient one counts.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use core::fmt;

use serde::Deserialize as _;
use serde::de::{DeserializeSeed, Deserializer as _, MapAccess, Visitor};
use serde_json::Deserializer;
use serde_json::value::RawValue;
use thiserror::Error;

use super::text;

/// Where and why a document is refused. Never contains text of the document, which is secret.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}")]
pub struct JsonError {
    /// Counted from one.
    pub line: usize,
    /// In bytes, counted from one.
    pub column: usize,
    message: String,
}

/// Jackson's own limit depends on its version and stack size; this is the lowest.
const MOST_LEVELS: usize = 1_000;

/// A value that is known to be well-formed and is not parsed further.
pub(super) type Raw<'t> = &'t RawValue;

/// The first document in the text; None if there is only whitespace.
pub(super) fn read(text: &str) -> Result<Option<Raw<'_>>, JsonError> {
    let start = text.trim_start_matches([' ', '\t', '\n', '\r']);
    if start.is_empty() {
        return Ok(None);
    }
    let raw = Raw::deserialize(&mut Deserializer::from_str(text)).map_err(|error| JsonError::of(&error))?;
    let is_word = raw.get().starts_with(|first: char| first.is_ascii_alphabetic());
    let next = start[raw.get().len()..].chars().next();
    if is_word && next.is_some_and(|next| next == '_' || next == '$' || next.is_alphanumeric()) {
        return Err(JsonError::at_start("expected value"));
    }
    if levels(raw.get()) > MOST_LEVELS {
        return Err(JsonError::at_start("values are nested deeper than 1000 levels"));
    }
    Ok(Some(raw))
}

/// The members of an object, the last of each name; none if the value is not an object.
pub(super) fn members(value: Raw<'_>) -> BTreeMap<String, Raw<'_>> {
    if !value.get().starts_with('{') {
        return BTreeMap::new();
    }
    // The value is well-formed, so this cannot fail.
    Deserializer::from_str(value.get()).deserialize_map(Members).unwrap_or_default()
}

/// Jackson's `asText`: a string's text, a literal as written, a number as Java formats it, nothing for arrays and
/// objects.
pub(super) fn as_text(value: Raw<'_>) -> String {
    let written = value.get();
    match written.as_bytes() {
        [b'"', ..] => Deserializer::from_str(written).deserialize_bytes(JavaText).unwrap_or_default(),
        [b'{' | b'[', ..] => String::new(),
        b"-0" => "0".to_owned(),
        [b'-' | b'0'..=b'9', ..] if written.contains(['.', 'e', 'E']) => {
            written.parse().map_or_else(|_| written.to_owned(), text::double)
        }
        _ => written.to_owned(),
    }
}

/// How deep arrays and objects are nested.
fn levels(json: &str) -> usize {
    let (mut level, mut deepest) = (0_usize, 0);
    let mut bytes = json.bytes();
    let mut in_string = false;
    while let Some(byte) = bytes.next() {
        match byte {
            // Backslashes occur only in strings.
            b'\\' => {
                bytes.next();
            }
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                level += 1;
                deepest = deepest.max(level);
            }
            b'}' | b']' if !in_string => level = level.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

impl JsonError {
    fn of(error: &serde_json::Error) -> Self {
        Self { line: error.line(), column: error.column(), message: error.to_string() }
    }

    fn at_start(fault: &str) -> Self {
        Self { line: 1, column: 1, message: fault.to_owned() }
    }
}

struct Members;

impl<'t> Visitor<'t> for Members {
    type Value = BTreeMap<String, Raw<'t>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = BTreeMap::new();
        while let Some(name) = map.next_key_seed(JavaText)? {
            members.insert(name, map.next_value()?);
        }
        Ok(members)
    }
}

/// A string in which half a surrogate pair becomes `?`, as in Java's UTF-8.
struct JavaText;

impl<'t> DeserializeSeed<'t> for JavaText {
    type Value = String;

    fn deserialize<D: serde::Deserializer<'t>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for JavaText {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<String, E> {
        Ok(text::decode(bytes, '?'))
    }
}
