//! Java's notions of trimming and of comma-separated lists.

use std::sync::LazyLock;

use regex_lite::Regex;

static SEPARATOR: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\s*[,\n]\s*").expect("the pattern is a constant that the tests compile"));

/// A list separated by commas or line ends, items trimmed. Empty items stay, except at the end.
pub fn trimmed_strings(text: &str) -> Vec<&str> {
    let mut items: Vec<_> = SEPARATOR.split(trim(text)).collect();
    while items.last().is_some_and(|item| item.is_empty()) {
        items.pop();
    }
    items
}

/// Java's `String.trim`: everything up to and including the blank goes.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(|character| character <= ' ')
}
