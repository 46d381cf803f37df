//! Comma-separated values as container-executor splits them.

use super::Rules;

/// A list, split lazily: a file of 16 MiB may hold millions of items.
///
/// Runs of commas count as one, and items are not trimmed. A value without any item is an empty
/// list under the 3.2 rules, and a list of one item, the value itself, under the 3.3 rules.
#[derive(Clone, Copy, Debug)]
pub struct List<'a> {
    value: &'a [u8],
    rules: Rules,
}

impl<'a> List<'a> {
    /// Splits the value of an entry.
    pub fn split(value: &'a [u8], rules: Rules) -> Self {
        Self { value, rules }
    }

    /// The items in order, whitespace included.
    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        let without_items = self.value.iter().all(|byte| *byte == b',');
        let itself = (without_items && self.rules != Rules::V3_2).then_some(self.value);
        let items = self.value.split(|byte| *byte == b',').filter(|item| !item.is_empty());
        itself.into_iter().chain(items)
    }

    /// Whether an item is equal to `wanted`, byte for byte.
    pub fn contains(self, wanted: &[u8]) -> bool {
        self.iter().any(|item| item == wanted)
    }
}
