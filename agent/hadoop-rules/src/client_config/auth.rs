//! A credential that cannot be printed.

use alloc::string::String;
use core::fmt;

/// The text of an `auth` field.
#[derive(Clone, PartialEq, Eq)]
pub struct Auth(String);

impl Auth {
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    /// The credential itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
