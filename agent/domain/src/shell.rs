//! Words of a POSIX shell.

/// The word as a shell reads it back. What needs no quotes gets none, since quotes that come out of a command
/// substitution are ordinary characters; libraries for this also quote `=` and `,`.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
