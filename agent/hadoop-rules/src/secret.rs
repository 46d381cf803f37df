//! A text that must not be printed.

use alloc::string::String;
use core::fmt;
use core::hash::{Hash, Hasher};

use zeroize::Zeroizing;

/// A secret: no `Display`, no serialisation, a `Debug` that shows nothing, not even a length, and memory
/// that is overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The secret itself; for the one place that renders a Docker config.
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
