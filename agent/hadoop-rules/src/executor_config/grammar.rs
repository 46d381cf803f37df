//! The line reader: sections, entries, and where container-executor gives up.

use alloc::vec;
use alloc::vec::Vec;

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry as Slot;

use super::super::Rules;
use super::{EntrySpan, NoteKind, Notes, ParseError, Span, is_space};

/// The content of a file in line order, duplicates included.
pub(super) struct Reading {
    pub sections: Vec<Span>,
    pub entries: Vec<EntrySpan>,
    pub notes: Notes,
}

pub(super) fn read(text: &[u8], rules: Rules) -> Result<Reading, ParseError> {
    if u32::try_from(text.len()).is_err() {
        return Err(ParseError::TooLarge);
    }
    let mut reader = Reader::new(text);
    let mut start = 0;
    for (number, bytes) in (1..).zip(text.split_inclusive(|byte| *byte == b'\n')) {
        let line = Line::new(number, start, bytes);
        reader.take(line)?;
        start += bytes.len();
    }
    reader.finish(rules)
}

struct Reader<'t> {
    text: &'t [u8],
    /// Index of each named section in `sections` and `states`.
    ids: BTreeMap<&'t [u8], u32>,
    sections: Vec<Span>,
    states: Vec<SectionState>,
    current: Occurrence,
    entries: Vec<EntrySpan>,
    notes: Notes,
}

/// The lines under one header.
struct Occurrence {
    section: u32,
    line: u32,
    repeats: bool,
    stored: usize,
    dropped: bool,
}

/// What decides whether the native code survives a merge of two sections.
#[derive(Default)]
struct SectionState {
    stored: usize,
    /// The native entry list is not a null pointer, even if it is empty.
    allocated: bool,
}

const HEAD_ID: u32 = 0;

/// Includes the head if that has entries.
const MOST_SECTIONS: usize = 19;

impl<'t> Reader<'t> {
    fn new(text: &'t [u8]) -> Self {
        Self {
            text,
            ids: BTreeMap::new(),
            sections: vec![Span { start: 0, end: 0 }],
            states: vec![SectionState::default()],
            current: Occurrence { section: HEAD_ID, line: 0, repeats: false, stored: 0, dropped: false },
            entries: Vec::new(),
            notes: Notes::default(),
        }
    }

    fn take(&mut self, mut line: Line<'t>) -> Result<(), ParseError> {
        if line.cut_at(0) {
            self.notes.add(line.number, NoteKind::CutAtNul);
        }
        if line.bytes.first() == Some(&b'#') {
            return Ok(());
        }
        if line.cut_at(b'#') {
            self.notes.add(line.number, NoteKind::CutAtHash);
        }
        match line.bytes {
            [] => Ok(()),
            [b'[', .., b']'] => self.begin_section(line),
            _ => self.take_entry(line),
        }
    }

    fn begin_section(&mut self, line: Line<'t>) -> Result<(), ParseError> {
        self.end_section()?;
        let name = line.span(1, line.bytes.len() - 1);
        let name_bytes = &self.text[name.range()];
        if name_bytes.is_empty() {
            return Err(ParseError::EmptySectionName { line: line.number });
        }
        let next = index(self.sections.len());
        let (section, repeats) = match self.ids.entry(name_bytes) {
            Slot::Occupied(slot) => (*slot.get(), true),
            Slot::Vacant(slot) => (*slot.insert(next), false),
        };
        if repeats {
            self.notes.add(line.number, NoteKind::RepeatedSection);
        } else {
            self.sections.push(name);
            self.states.push(SectionState::default());
        }
        self.current = Occurrence { section, line: line.number, repeats, stored: 0, dropped: false };
        Ok(())
    }

    fn take_entry(&mut self, line: Line<'t>) -> Result<(), ParseError> {
        let mut tokens = Tokens { line, at: 0 };
        let Some(key) = tokens.next() else {
            return Err(ParseError::OnlyEqualsSigns { line: line.number, text: line.bytes.to_vec() });
        };
        let Some(value) = tokens.next() else {
            if !line.bytes.contains(&b'=') {
                return Err(line.without_equals_sign());
            }
            self.current.dropped = true;
            self.notes.add(line.number, NoteKind::DroppedEntry);
            return Ok(());
        };
        if tokens.next().is_some() {
            self.notes.add(line.number, NoteKind::CutAtEqualsSign);
        }
        self.current.stored += 1;
        self.entries.push(EntrySpan {
            section: self.current.section,
            line: line.number,
            key: trim(self.text, key),
            value: trim(self.text, value),
        });
        Ok(())
    }

    fn end_section(&mut self) -> Result<(), ParseError> {
        let state = &mut self.states[self.current.section as usize];
        state.stored += self.current.stored;
        if !self.current.repeats {
            state.allocated = self.current.dropped;
            return self.check_room();
        }
        if state.allocated && state.stored == 0 {
            let line = self.current.line;
            return Err(ParseError::RepeatedEmptySection { line });
        }
        // Merging two empty sections still allocates a list.
        state.allocated = true;
        Ok(())
    }

    fn check_room(&self) -> Result<(), ParseError> {
        let head_is_empty = self.states[HEAD_ID as usize].stored == 0;
        if self.sections.len() - usize::from(head_is_empty) > MOST_SECTIONS {
            let line = self.current.line;
            return Err(ParseError::TooManySections { line });
        }
        Ok(())
    }

    fn finish(mut self, rules: Rules) -> Result<Reading, ParseError> {
        self.end_section()?;
        if self.states[HEAD_ID as usize].stored == 0 {
            self.drop_head();
        }
        if self.sections.is_empty() {
            return Err(ParseError::NothingConfigured { rules });
        }
        Ok(Reading { sections: self.sections, entries: self.entries, notes: self.notes })
    }

    /// A head without entries is not a section.
    fn drop_head(&mut self) {
        self.sections.remove(HEAD_ID as usize);
        for entry in &mut self.entries {
            entry.section -= 1;
        }
    }
}

#[derive(Clone, Copy)]
struct Line<'t> {
    number: u32,
    start: usize,
    bytes: &'t [u8],
}

impl<'t> Line<'t> {
    fn new(number: u32, start: usize, bytes: &'t [u8]) -> Self {
        Self { number, start, bytes: bytes.strip_suffix(b"\n").unwrap_or(bytes) }
    }

    /// Cuts at the first such byte; returns whether there was one.
    fn cut_at(&mut self, byte: u8) -> bool {
        let Some(at) = self.bytes.iter().position(|other| *other == byte) else {
            return false;
        };
        self.bytes = &self.bytes[..at];
        true
    }

    fn span(&self, from: usize, to: usize) -> Span {
        Span { start: index(self.start + from), end: index(self.start + to) }
    }

    fn without_equals_sign(&self) -> ParseError {
        let (line, text) = (self.number, self.bytes.to_vec());
        match self.bytes.iter().find(|byte| !is_space(**byte)) {
            None => ParseError::WhitespaceLine { line, text },
            Some(b'[') => ParseError::BrokenHeader { line, text },
            Some(_) => ParseError::NoEqualsSign { line, text },
        }
    }
}

/// C's `strtok` with `=`: a run of separators counts as one, so no token is empty.
struct Tokens<'t> {
    line: Line<'t>,
    at: usize,
}

impl Iterator for Tokens<'_> {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        let rest = &self.line.bytes[self.at..];
        let start = self.at + rest.iter().position(|byte| *byte != b'=')?;
        let rest = &self.line.bytes[start..];
        let length = rest.iter().position(|byte| *byte == b'=');
        let end = start + length.unwrap_or(rest.len());
        self.at = end;
        Some(self.line.span(start, end))
    }
}

fn trim(text: &[u8], span: Span) -> Span {
    let bytes = &text[span.range()];
    let Some(first) = bytes.iter().position(|byte| !is_space(*byte)) else {
        return Span { start: span.start, end: span.start };
    };
    let blanks_at_end = bytes.iter().rev().take_while(|byte| is_space(**byte)).count();
    Span { start: span.start + index(first), end: span.end - index(blanks_at_end) }
}

fn index(position: usize) -> u32 {
    u32::try_from(position).expect("positions are within a text whose length was checked to fit")
}
