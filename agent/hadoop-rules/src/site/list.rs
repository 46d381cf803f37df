//! Trimming and comma-separated lists as in Java.

use alloc::vec::Vec;

/// Splits at commas and newlines and trims the items. Empty items stay, except at the end.
pub fn trimmed_strings(text: &str) -> Vec<&str> {
    let mut rest = trim(text);
    let mut items = Vec::new();
    while let Some((item, after)) = split_at_separator(rest) {
        items.push(item);
        rest = after;
    }
    items.push(rest);
    while items.last().is_some_and(|item| item.is_empty()) {
        items.pop();
    }
    items
}

/// The text before and after the first match of `\s*[,\n]\s*`.
fn split_at_separator(text: &str) -> Option<(&str, &str)> {
    let first = text.find([',', '\n'])?;
    let item = text[..first].trim_end_matches(is_space);
    let from_space = text[item.len()..].trim_start_matches(is_space);
    // The greedy `\s*` matches newlines too, so a comma after it is the separator.
    let after = from_space.strip_prefix(',').unwrap_or(from_space);
    Some((item, after.trim_start_matches(is_space)))
}

/// Java's `\s`.
fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t'..='\r')
}

/// Java's `String.trim`, which removes everything up to and including the space.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(|character| character <= ' ')
}
