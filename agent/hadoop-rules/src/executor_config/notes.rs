//! What the reader silently changed or ignored.
//!
//! Nothing here is a fault by itself: a cut comment is normal, a cut `=` rarely is. Findings decide.

use alloc::vec::Vec;

/// The notes of one file, by line. Bounded: a hostile file cannot make them grow without end.
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

    /// How many more there were.
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

/// One line that does something other than it seems to.
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
    /// `key=` without a value: as if the line were not there.
    DroppedEntry,
    /// The key was already given at line `by`, whose value counts.
    Shadowed { by: u32 },
    /// Text from a `#` on was cut off a line that is not a comment.
    CutAtHash,
    /// Text from a second `=` on was cut off a value.
    CutAtEqualsSign,
    /// Text from a NUL byte on was cut off.
    CutAtNul,
    /// The header of a section that was already there: the two become one.
    RepeatedSection,
}
