//! Sources and list entries, normalized for comparison.

use alloc::vec::Vec;

use super::super::ere::{self, InvalidPattern};
use super::Paths;

/// A mount's source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Ends in a slash.
    Directory(Vec<u8>),
    File(Vec<u8>),
    /// The name of a Docker volume; not a path.
    Volume(Vec<u8>),
}

/// Resolves the source; None if it is neither on the node nor a volume name.
pub(super) fn normalize(path: &[u8], paths: &dyn Paths) -> Option<Source> {
    let Some(mut real) = paths.realpath(path) else {
        return is_volume_name(path).then(|| Source::Volume(path.to_vec()));
    };
    if !paths.is_directory(&real) {
        return Some(Source::File(real));
    }
    if !real.ends_with(b"/") {
        real.push(b'/');
    }
    Some(Source::Directory(real))
}

impl Source {
    /// Whether write access to the source includes write access to the file.
    pub(super) fn covers(&self, file: &[u8]) -> bool {
        match self {
            Self::Directory(path) => file.starts_with(path),
            Self::File(path) => path == file,
            Self::Volume(_) => false,
        }
    }

    fn text(&self) -> &[u8] {
        match self {
            Self::Directory(text) | Self::File(text) | Self::Volume(text) => text,
        }
    }
}

/// One entry of an allowed list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Permitted {
    Exactly(Source),
    /// For volume names only.
    Pattern(Vec<u8>),
}

impl Permitted {
    pub(super) fn resolve(entry: &[u8], paths: &dyn Paths) -> Option<Self> {
        if let Some(source) = normalize(entry, paths) {
            return Some(Self::Exactly(source));
        }
        let pattern = entry.strip_prefix(b"regex:")?;
        // The native code skips one character too many.
        Some(Self::Pattern(pattern.get(1..).unwrap_or_default().to_vec()))
    }

    fn equals(&self, source: &Source) -> Result<bool, InvalidPattern> {
        match self {
            Self::Exactly(entry) => Ok(entry.text() == source.text()),
            Self::Pattern(pattern) if is_volume_name(source.text()) => ere::is_match(pattern, source.text()),
            Self::Pattern(_) => Ok(false),
        }
    }

    /// The entry's text, if it can be the prefix of a source.
    fn as_prefix(&self) -> Option<&[u8]> {
        match self {
            Self::Exactly(entry) => Some(entry.text()),
            Self::Pattern(_) => None,
        }
    }
}

/// Compares one source with the lists, in the order of the native code.
///
/// The native code cannot look up on the node what is not a path, and then reuses its result for the entry before:
/// after a directory, a volume name permits all names that start with it.
pub(super) struct Comparison<'s> {
    source: &'s Source,
    last_was_directory: bool,
}

impl<'s> Comparison<'s> {
    pub(super) fn of(source: &'s Source) -> Self {
        Self { source, last_was_directory: false }
    }

    /// Whether an entry equals the source, or is a directory above it.
    pub(super) fn permits(&mut self, list: &[Permitted]) -> Result<bool, InvalidPattern> {
        for entry in list {
            if entry.equals(self.source)? {
                return Ok(true);
            }
            match entry {
                Permitted::Exactly(Source::Directory(_)) => self.last_was_directory = true,
                Permitted::Exactly(Source::File(_)) => self.last_was_directory = false,
                Permitted::Exactly(Source::Volume(_)) | Permitted::Pattern(_) => {}
            }
            let prefix = entry.as_prefix().filter(|_| self.last_was_directory);
            if prefix.is_some_and(|prefix| self.source.text().starts_with(prefix)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// `^[a-zA-Z0-9]([a-zA-Z0-9_.-]*)$`
fn is_volume_name(text: &[u8]) -> bool {
    let Some((first, rest)) = text.split_first() else {
        return false;
    };
    let is_rest = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-".contains(byte);
    first.is_ascii_alphanumeric() && rest.iter().all(is_rest)
}
