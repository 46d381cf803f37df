//! `container-executor.cfg` as the native container-executor reads it, byte for byte.
//!
//! The grammar has no quoting, no escapes and a few traps (a second `=` ends the value, a comment that is not in
//! the first column can break the file, list items keep their whitespace). This module reproduces them and does not
//! guess what an author meant.

mod grammar;
mod list;
mod notes;
mod parse_error;

#[cfg(test)]
mod tests;

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::ops::Range;

pub use list::List;
pub use notes::{Note, NoteKind, Notes};
pub use parse_error::ParseError;

use super::Rules;

/// The section before any `[header]`, which holds the NodeManager's group.
pub const HEAD: &str = "";
/// The section that governs Docker containers.
pub const DOCKER: &str = "docker";

/// In the head of the file: the group that the container-executor binary belongs to.
pub const NM_GROUP_KEY: &str = "yarn.nodemanager.linux-container-executor.group";
/// In [`DOCKER`]: the registries whose images are trusted.
pub const TRUSTED_REGISTRIES_KEY: &str = "docker.trusted.registries";
/// In [`DOCKER`]: the registries whose images may run privileged, since 3.3.
pub const PRIVILEGED_REGISTRIES_KEY: &str = "docker.privileged-containers.registries";
/// In [`DOCKER`]: whether any image may run privileged.
pub const PRIVILEGED_ENABLED_KEY: &str = "docker.privileged-containers.enabled";
/// In [`DOCKER`]: whether Docker is enabled.
pub const MODULE_ENABLED_KEY: &str = "module.enabled";
/// In the head of the file: the older switch for Docker.
pub const FEATURE_DOCKER_KEY: &str = "feature.docker.enabled";

/// A file that container-executor accepts as a configuration. Values are bytes: the file need not
/// be UTF-8.
#[derive(Clone, Debug)]
pub struct ExecutorConfig {
    rules: Rules,
    text: Box<[u8]>,
    sections: Vec<Span>,
    /// The effective entries, sorted by section and key: the first occurrence of each key.
    entries: Vec<EntrySpan>,
    notes: Notes,
}

impl ExecutorConfig {
    /// Parses a whole file. Fails where container-executor would end with an exit code.
    pub fn parse(text: impl Into<Vec<u8>>, rules: Rules) -> Result<Self, ParseError> {
        let text = text.into().into_boxed_slice();
        let read = grammar::read(&text, rules)?;
        let mut config =
            Self { rules, text, sections: read.sections, entries: read.entries, notes: read.notes };
        config.keep_first_of_each_key();
        Ok(config)
    }

    /// The rules the file was read by.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// What the reader silently changed or ignored, by line.
    pub fn notes(&self) -> &Notes {
        &self.notes
    }

    /// Section names in the order of their first header; [`HEAD`] only if it has entries.
    pub fn sections(&self) -> impl Iterator<Item = &[u8]> {
        self.sections.iter().map(|name| self.slice(*name))
    }

    /// The effective entries of a section, by key. Lazy, because there may be millions.
    pub fn entries(&self, section: &str) -> impl Iterator<Item = Entry<'_>> {
        let id = self.section_id(section);
        let entries = self.entries.iter().filter(move |entry| Some(entry.section) == id);
        entries.map(|entry| self.view(entry))
    }

    /// The first entry with that key in that section; keys and sections are case-sensitive.
    pub fn entry(&self, section: &str, key: &str) -> Option<Entry<'_>> {
        let id = self.section_id(section)?;
        let order = |entry: &EntrySpan| {
            (entry.section.cmp(&id)).then_with(|| self.slice(entry.key).cmp(key.as_bytes()))
        };
        let found = self.entries.binary_search_by(order).ok()?;
        Some(self.view(&self.entries[found]))
    }

    /// The value of the first entry with that key in that section.
    pub fn get(&self, section: &str, key: &str) -> Option<&[u8]> {
        self.entry(section, key).map(|entry| entry.value)
    }

    /// A comma-separated value. None if the key is absent.
    pub fn list(&self, section: &str, key: &str) -> Option<List<'_>> {
        self.get(section, key).map(|value| List::split(value, self.rules))
    }

    /// The items of a comma-separated value; none if the key is absent.
    pub fn items(&self, section: &str, key: &str) -> impl Iterator<Item = &[u8]> {
        self.list(section, key).into_iter().flat_map(List::iter)
    }

    /// Whether `module.enabled` of the Docker section is exactly `true`.
    pub fn module_enabled(&self) -> bool {
        self.get(DOCKER, MODULE_ENABLED_KEY) == Some(b"true")
    }

    /// Whether Docker containers may be launched at all: the Docker module, or the older feature
    /// switch in the head of the file.
    pub fn docker_supported(&self) -> bool {
        self.module_enabled() || self.feature_enabled(HEAD, FEATURE_DOCKER_KEY)
    }

    /// Whether a switch is on; off by default. `true` and `false` count in any case, and so do decimal 0 and 1;
    /// anything else counts as absent.
    pub fn feature_enabled(&self, section: &str, key: &str) -> bool {
        self.get(section, key)
            .is_some_and(|value| value.eq_ignore_ascii_case(b"true") || is_decimal_one(value))
    }

    /// The NodeManager's group; without it, container-executor refuses the file even though it parses.
    pub fn nm_group(&self) -> Option<&[u8]> {
        self.get(HEAD, NM_GROUP_KEY)
    }

    /// The list under [`TRUSTED_REGISTRIES_KEY`]; None if the key is absent.
    pub fn trusted_registries(&self) -> Option<List<'_>> {
        self.list(DOCKER, TRUSTED_REGISTRIES_KEY)
    }

    /// The list under [`PRIVILEGED_REGISTRIES_KEY`]. The 3.2 rules never read it (see [`super::trust`]).
    pub fn privileged_registries(&self) -> Option<List<'_>> {
        self.list(DOCKER, PRIVILEGED_REGISTRIES_KEY)
    }

    fn keep_first_of_each_key(&mut self) {
        let mut entries = core::mem::take(&mut self.entries);
        entries.sort_by(|a, b| self.by_section_and_key(a, b).then(a.line.cmp(&b.line)));
        entries.dedup_by(|later, first| {
            let shadowed = self.by_section_and_key(later, first) == Ordering::Equal;
            if shadowed {
                let kind = NoteKind::Shadowed { by: first.line };
                self.notes.add(later.line, kind);
            }
            shadowed
        });
        self.entries = entries;
        self.notes.sort();
    }

    fn by_section_and_key(&self, a: &EntrySpan, b: &EntrySpan) -> Ordering {
        (a.section.cmp(&b.section)).then_with(|| self.slice(a.key).cmp(self.slice(b.key)))
    }

    fn section_id(&self, name: &str) -> Option<u32> {
        let position = self.sections().position(|other| other == name.as_bytes())?;
        u32::try_from(position).ok()
    }

    fn view(&self, entry: &EntrySpan) -> Entry<'_> {
        Entry { key: self.slice(entry.key), value: self.slice(entry.value), line: entry.line }
    }

    fn slice(&self, span: Span) -> &[u8] {
        &self.text[span.range()]
    }
}

/// One `key=value` line, both sides trimmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Trimmed.
    pub key: &'a [u8],
    /// Trimmed, and cut where the grammar cuts.
    pub value: &'a [u8],
    /// Counted from one.
    pub line: u32,
}

/// Bytes of the file as text to print; invalid UTF-8 becomes U+FFFD.
pub fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// C's `isspace` in the C locale.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Whether C's base-ten `strtol`, truncated to an `int`, reads the whole value as 1. Because of the `int`,
/// 4294967297 is 1 as well.
fn is_decimal_one(value: &[u8]) -> bool {
    let (negative, digits) = match value {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let magnitude = digits
        .iter()
        .fold(0_i64, |sum, digit| sum.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    let number = if negative { -magnitude } else { magnitude };
    number.to_le_bytes()[..4] == 1_i32.to_le_bytes()
}

/// A range of the text. `u32` keeps it small, because a file of 16 MiB may hold millions of entries.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

#[derive(Clone, Copy, Debug)]
struct EntrySpan {
    section: u32,
    line: u32,
    key: Span,
    value: Span,
}
