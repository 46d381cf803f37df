//! What the reader silently changed or ignored.
//!
//! A note is not a fault by itself: a cut comment is normal, a cut `=` rarely is. Findings decide.

use alloc::vec::Vec;

/// The notes on one file, by line. Bounded, so that a hostile file cannot exhaust memory.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    kept: Vec<Note>,
    left_out: usize,
}

impl Notes {
    const MOST: usize = 1_000;

    /// The notes by line; at most a thousand.
    pub fn iter(&self) -> impl Iterator<Item = &Note> {
        self.kept.iter()
    }

    /// The number of notes beyond that limit.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    pub(super) fn add(&mut self, line: u32, kind: NoteKind) {
        if self.kept.len() < Self::MOST {
            self.kept.push(Note { line, kind });
        } else {
            self.left_out += 1;
        }
    }

    pub(super) fn sort(&mut self) {
        self.kept.sort_by_key(|note| note.line);
    }
}

/// A line that does not do what it seems to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// Counted from one.
    pub line: u32,
    /// What the reader did.
    pub kind: NoteKind,
}

/// What the reader did with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteKind {
    /// `key=` without a value: the line has no effect.
    DroppedEntry,
    /// The key already occurs at line `by`, whose value counts.
    Shadowed { by: u32 },
    /// A line that is not a comment was cut at a `#`.
    CutAtHash,
    /// A value was cut at a second `=`.
    CutAtEqualsSign,
    /// A line was cut at a NUL byte.
    CutAtNul,
    /// The header of an earlier section: the two are merged.
    RepeatedSection,
}
