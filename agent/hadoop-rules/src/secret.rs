//! Text that must not be printed.

use alloc::string::String;
use core::fmt;
use core::hash::{Hash, Hasher};

use zeroize::Zeroizing;

/// A secret. It has no `Display` or serialization, its `Debug` shows nothing, not even a length, and its memory is
/// overwritten on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes ownership of the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The secret itself, which callers must not print.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Hash for Secret {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.expose().hash(state);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher as _, RandomState};

    use super::*;

    #[test]
    fn secrets_hash_as_their_text() {
        let state = RandomState::new();
        assert_eq!(state.hash_one(Secret::new("a")), state.hash_one("a"));
        assert_ne!(state.hash_one(Secret::new("a")), state.hash_one(Secret::new("b")));
    }
}
