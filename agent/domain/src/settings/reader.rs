//! Reads TOML key by key and collects every mistake with its line instead of stopping at the first. An unknown key
//! is a mistake too.

use std::fmt;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// A mistake in a settings file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Counted from 1.
    pub line: usize,
    /// Dotted name of the key; empty if the text is not TOML.
    pub key: String,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "{}", self.message),
            key => write!(f, "{key}: {}", self.message),
        }
    }
}

/// Fills `target` from `text` with `fill`, which reads each key of the root section.
pub(super) fn read<T>(
    text: &str,
    mut target: T,
    fill: impl FnOnce(&mut T, &mut Section<'_, '_>),
) -> Result<T, Vec<Mistake>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut mistakes: Vec<Mistake> = errors
        .iter()
        .map(|error| Mistake {
            line: error.span().map_or(1, |span| line_of(text, span.start)),
            key: String::new(),
            message: format!("is not TOML: {}", error.message().replace('\n', ", ")),
        })
        .collect();
    // Keys of a broken text would only add misleading mistakes to the real one.
    if mistakes.is_empty() {
        let mut root = Section::new(text, String::new(), document.get_ref(), &mut mistakes);
        fill(&mut target, &mut root);
        root.refuse_unknown();
    }
    if mistakes.is_empty() {
        return Ok(target);
    }
    mistakes.sort_by_key(|mistake| mistake.line);
    Err(mistakes)
}

/// A table, read key by key; keys that are never read are unknown.
pub(super) struct Section<'a, 'i> {
    text: &'a str,
    prefix: String,
    table: &'a DeTable<'i>,
    known: Vec<&'static str>,
    mistakes: &'a mut Vec<Mistake>,
}

impl<'a, 'i> Section<'a, 'i> {
    fn new(text: &'a str, prefix: String, table: &'a DeTable<'i>, mistakes: &'a mut Vec<Mistake>) -> Self {
        Self { text, prefix, table, known: Vec::new(), mistakes }
    }

    /// Sets `target` if the key is present; an invalid value leaves it unchanged and records the mistake.
    pub(super) fn set<T>(
        &mut self,
        key: &'static str,
        target: &mut T,
        parse: impl Fn(&Value<'_>) -> Result<T, String>,
    ) {
        if let Some(value) = self.optional(key, parse) {
            *target = value;
        }
    }

    /// The value of a required key.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&Value<'_>) -> Result<T, String>,
    ) -> Option<T> {
        if !self.table.contains_key(key) {
            let at = self.table.iter().next().map_or(0, |(name, _)| name.span().start);
            self.note(at, key, "is required here".to_owned());
        }
        self.optional(key, parse)
    }

    /// Whether the key is present, whatever its value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Reads the table with this name, if present.
    pub(super) fn table(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'_, 'i>)) {
        let Some(value) = self.get(key) else { return };
        match value.get_ref().as_table() {
            Some(table) => self.descend(key, table, read),
            None => {
                self.note(value.span().start, key, format!("must be a table, written [{}]", self.name(key)));
            }
        }
    }

    /// Reads each table of this array of tables; returns whether the key is present.
    pub(super) fn tables(&mut self, key: &'static str, mut read: impl FnMut(&mut Section<'_, 'i>)) -> bool {
        let Some(value) = self.get(key) else { return false };
        let items: &[Spanned<DeValue<'i>>] = value.get_ref().as_array().map_or(&[], |array| array);
        let tables: Vec<_> = items.iter().filter_map(|item| item.get_ref().as_table()).collect();
        if tables.len() != items.len() || !value.get_ref().is_array() {
            self.note(
                value.span().start,
                key,
                format!("must be tables, each written [[{}]]", self.name(key)),
            );
        }
        for table in tables {
            self.descend(key, table, &mut read);
        }
        true
    }

    fn descend(&mut self, key: &str, table: &DeTable<'i>, read: impl FnOnce(&mut Section<'_, 'i>)) {
        let mut section = Section::new(self.text, self.name(key), table, self.mistakes);
        read(&mut section);
        section.refuse_unknown();
    }

    /// The value of a key, if present and valid; an invalid value records the mistake.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&Value<'_>) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.get(key)?;
        match parse(&Value(value.get_ref())) {
            Ok(parsed) => Some(parsed),
            Err(message) => {
                self.note(value.span().start, key, message);
                None
            }
        }
    }

    fn get(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'i>>> {
        self.known.push(key);
        self.table.get(key)
    }

    fn refuse_unknown(&mut self) {
        let known = self.known.join(", ");
        let unknown = |name: &Spanned<DeString<'i>>| !self.known.contains(&name.get_ref().as_ref());
        let unknown: Vec<_> = self.table.keys().filter(|name| unknown(name)).collect();
        for name in unknown {
            self.note(name.span().start, name.get_ref(), format!("is not a known key; known here: {known}"));
        }
    }

    fn note(&mut self, offset: usize, key: &str, message: String) {
        let line = line_of(self.text, offset);
        let key = self.name(key);
        self.mistakes.push(Mistake { line, key, message });
    }

    fn name(&self, key: &str) -> String {
        match self.prefix.as_str() {
            "" => key.to_owned(),
            prefix => format!("{prefix}.{key}"),
        }
    }
}

/// A value, accessed as one of the types that settings have.
pub(super) struct Value<'a>(&'a DeValue<'a>);

impl Value<'_> {
    pub(super) fn boolean(&self) -> Option<bool> {
        self.0.as_bool()
    }

    pub(super) fn string(&self) -> Option<&str> {
        self.0.as_str()
    }

    pub(super) fn strings(&self) -> Option<Vec<&str>> {
        self.0.as_array()?.iter().map(|item| item.get_ref().as_str()).collect()
    }

    pub(super) fn integer(&self) -> Option<i64> {
        let integer = self.0.as_integer()?;
        i64::from_str_radix(integer.as_str(), integer.radix()).ok()
    }

    /// An integer or a float.
    pub(super) fn number(&self) -> Option<f64> {
        let number = self.0.as_float().and_then(|float| float.as_str().parse().ok());
        number.or_else(|| self.integer().and_then(|n| i32::try_from(n).ok()).map(f64::from))
    }
}

pub(super) fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
}
