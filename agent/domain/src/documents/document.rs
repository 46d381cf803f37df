//! The content of a Docker config file, as read or to be written.

use std::fmt;
use std::hash::{Hash, Hasher};

use zeroize::Zeroizing;

/// Bytes that may contain credentials; `Debug` shows only their number.
#[derive(Clone, PartialEq, Eq)]
pub struct Document(Zeroizing<Vec<u8>>);

impl Document {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Hash for Document {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes().hash(state);
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[document of {} bytes]", self.0.len())
    }
}
