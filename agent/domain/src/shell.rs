//! Quoting for POSIX shells.

/// Quotes `word` for a shell, but only if needed: quotes in the output of a command substitution are ordinary
/// characters. Libraries for this also quote `=` and `,`.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
