//! Values that a template's tool or a shell has yet to substitute.

/// Whether the text has a variable to substitute.
pub(super) fn is_unresolved(text: &[u8]) -> bool {
    text.windows(2).any(|pair| pair == b"${" || pair == b"{{")
}
