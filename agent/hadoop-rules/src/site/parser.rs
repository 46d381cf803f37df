//! Parses one file into the properties it sets, in order.
//!
//! Hadoop reads a stream of tags and looks only at their local names, at any depth. The reader here keeps the same
//! few variables, so that odd files give the same result.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;

use roxmltree::{Document, Node, ParsingOptions};

use super::{Includes, Origin, SiteError, encoding, list};

/// One `<property>` with a name.
pub(super) struct Item {
    pub name: String,
    /// None if absent; Hadoop then ignores the property except for its `final`.
    pub value: Option<String>,
    pub is_final: bool,
    pub origin: Origin,
}

/// Hadoop has no limit and crashes on an include loop.
pub(super) const MOST_INCLUDES: usize = 32;
/// Within the depth limit alone, a file that includes itself twice would be read some 2^32 times.
pub(super) const MOST_FILES: usize = 256;
pub(super) const MOST_BYTES: usize = 32 << 20;
/// The XML library's limit within one reference.
const MOST_NESTED_REFERENCES: usize = 255;
/// A tree takes many times the memory of its text.
const MOST_NODES: u32 = 200_000;

pub(super) fn parse(file: &str, bytes: &[u8], includes: &dyn Includes) -> Result<Vec<Item>, SiteError> {
    let source = Source { base: file, includes, files: Cell::new(0), bytes: Cell::new(bytes.len()) };
    source.parse(file, bytes, 0)
}

struct Source<'a> {
    base: &'a str,
    includes: &'a dyn Includes,
    /// Files included so far.
    files: Cell<usize>,
    bytes: Cell<usize>,
}

impl Source<'_> {
    fn parse(&self, file: &str, bytes: &[u8], level: usize) -> Result<Vec<Item>, SiteError> {
        let text = encoding::decode(bytes).map_err(|valid_up_to| SiteError::Encoding {
            file: file.to_owned(),
            line: Lines::of(&bytes[..valid_up_to]).last(),
        })?;
        if let Some(dtd) = dtd_start(&text)
            && most_expanded(&text, dtd) > MOST_BYTES
        {
            let line = Lines::of(&text.as_bytes()[..dtd]).last();
            return Err(SiteError::EntitiesTooLarge { file: file.to_owned(), line });
        }
        let options =
            ParsingOptions { allow_dtd: true, nodes_limit: MOST_NODES, ..ParsingOptions::default() };
        let document = Document::parse_with_options(&text, options).map_err(|cause| SiteError::Xml {
            file: file.to_owned(),
            line: cause.pos().row,
            cause,
        })?;
        let mut reader = Reader {
            source: self,
            file,
            level,
            lines: Lines::of(text.as_bytes()),
            property: Draft::default(),
            token: None,
            failed_include: None,
            in_fallback: false,
            items: Vec::new(),
        };
        reader.read(document.root())?;
        Ok(reader.items)
    }
}

/// Where the document's DTD begins, if it declares entities.
fn dtd_start(text: &str) -> Option<usize> {
    text.find("<!DOCTYPE").filter(|start| text[*start..].contains("<!ENTITY"))
}

/// An upper bound, in bytes, on the expansion of the document's entities. The XML library limits how deep and how
/// often one reference leads to others, but not the number of references in a document or the length of an entity.
fn most_expanded(text: &str, dtd: usize) -> usize {
    let ends_dtd = |at: usize| text[at + 1..].trim_start().starts_with('>');
    let end = text.rmatch_indices(']').map(|(at, _)| at).find(|at| ends_dtd(*at)).unwrap_or(text.len());
    let declared = text.get(dtd..end).unwrap_or_default();
    let references = |text: &str| text.matches('&').count();
    let nested = references(declared).min(MOST_NESTED_REFERENCES);
    references(text).saturating_mul(declared.len()).saturating_mul(1 + nested)
}

struct Reader<'a> {
    source: &'a Source<'a>,
    file: &'a str,
    level: usize,
    lines: Lines,
    property: Draft,
    /// Text since the last opening tag of an element with text; None before the first.
    token: Option<String>,
    /// The `href` of the current include, if nothing was found there.
    failed_include: Option<String>,
    in_fallback: bool,
    items: Vec<Item>,
}

#[derive(Default)]
struct Draft {
    name: Option<String>,
    value: Option<String>,
    is_final: bool,
    line: u32,
}

impl Reader<'_> {
    /// Iterative, because the author of the file controls its depth.
    fn read(&mut self, root: Node<'_, '_>) -> Result<(), SiteError> {
        let mut node = root;
        loop {
            self.open(node)?;
            if let Some(child) = node.first_child() {
                node = child;
                continue;
            }
            self.close(node)?;
            while node.next_sibling().is_none() {
                let Some(parent) = node.parent() else {
                    return Ok(());
                };
                node = parent;
                self.close(node)?;
            }
            if let Some(sibling) = node.next_sibling() {
                node = sibling;
            }
        }
    }

    fn open(&mut self, node: Node<'_, '_>) -> Result<(), SiteError> {
        if node.is_text() {
            if let (Some(token), Some(text)) = (&mut self.token, node.text()) {
                token.push_str(text);
            }
            return Ok(());
        }
        match local_name(node) {
            "property" => self.property = self.begin_property(node),
            "name" | "value" | "final" | "source" | "tag" => self.token = Some(String::new()),
            "include" => self.include(node)?,
            "fallback" => self.in_fallback = true,
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, node: Node<'_, '_>) -> Result<(), SiteError> {
        let token = self.token.as_deref().unwrap_or_default();
        match local_name(node) {
            "name" if !token.is_empty() => self.property.name = Some(list::trim(token).to_owned()),
            "value" if !token.is_empty() => self.property.value = Some(token.to_owned()),
            "final" => self.property.is_final = token == "true",
            "include" => self.end_include(node)?,
            "property" => self.end_property(),
            _ => {}
        }
        Ok(())
    }

    /// In the short form, everything is in attributes.
    fn begin_property(&self, node: Node<'_, '_>) -> Draft {
        let attribute = |name| local_attribute(node, name).map(str::to_owned);
        Draft {
            name: attribute("name"),
            value: attribute("value"),
            is_final: local_attribute(node, "final") == Some("true"),
            line: self.line(node),
        }
    }

    fn end_property(&mut self) {
        let is_unused_fallback = self.in_fallback && self.failed_include.is_none();
        let Some(name) = self.property.name.clone() else {
            return;
        };
        if is_unused_fallback {
            return;
        }
        self.items.push(Item {
            name,
            value: self.property.value.clone(),
            is_final: self.property.is_final,
            origin: Origin { file: self.file.to_owned(), line: self.property.line },
        });
    }

    fn include(&mut self, node: Node<'_, '_>) -> Result<(), SiteError> {
        let Some(href) = local_attribute(node, "href") else {
            return Ok(());
        };
        if self.level == MOST_INCLUDES {
            return Err(SiteError::IncludesTooDeep {
                file: self.file.to_owned(),
                line: self.line(node),
                href: href.to_owned(),
            });
        }
        let Some(bytes) = self.source.includes.load(href, self.source.base) else {
            self.failed_include = Some(href.to_owned());
            return Ok(());
        };
        let (files, total) = (&self.source.files, &self.source.bytes);
        files.set(files.get() + 1);
        total.set(total.get().saturating_add(bytes.len()));
        if files.get() > MOST_FILES || total.get() > MOST_BYTES {
            return Err(SiteError::IncludesTooLarge {
                file: self.file.to_owned(),
                line: self.line(node),
                href: href.to_owned(),
            });
        }
        let items = self.source.parse(href, &bytes, self.level + 1)?;
        self.items.extend(items);
        Ok(())
    }

    fn end_include(&mut self, node: Node<'_, '_>) -> Result<(), SiteError> {
        let failed = self.failed_include.take();
        let had_fallback = core::mem::take(&mut self.in_fallback);
        match failed {
            Some(href) if !had_fallback => {
                Err(SiteError::IncludeNotFound { file: self.file.to_owned(), line: self.line(node), href })
            }
            _ => Ok(()),
        }
    }

    fn line(&self, node: Node<'_, '_>) -> u32 {
        self.lines.at(node.range().start)
    }
}

/// Empty for nodes that are not elements.
fn local_name<'n>(node: Node<'n, '_>) -> &'n str {
    node.tag_name().name()
}

/// The last attribute with that local name, since prefixes do not count.
fn local_attribute<'n>(node: Node<'n, '_>, name: &str) -> Option<&'n str> {
    node.attributes().rfind(|attribute| attribute.name() == name).map(|attribute| attribute.value())
}

/// Offsets of a text's newlines.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &[u8]) -> Self {
        let newline = |(at, byte): (usize, &u8)| (*byte == b'\n').then_some(at);
        Self(text.iter().enumerate().filter_map(newline).collect())
    }

    fn at(&self, offset: usize) -> u32 {
        line_number(self.0.partition_point(|newline| *newline < offset))
    }

    fn last(&self) -> u32 {
        line_number(self.0.len())
    }
}

fn line_number(lines_before: usize) -> u32 {
    u32::try_from(lines_before + 1).unwrap_or(u32::MAX)
}
