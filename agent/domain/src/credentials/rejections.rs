//! Credentials that registries reject.

use std::collections::BTreeMap;

use super::{EntryName, Secret};

/// Entries that registries rejected when this node probed them. Any other credential may replace them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rejections(BTreeMap<EntryName, Vec<Secret>>);

impl Rejections {
    pub fn add(&mut self, name: EntryName, auth: Secret) {
        self.0.entry(name).or_default().push(auth);
    }

    pub fn contain(&self, name: &EntryName, auth: &Secret) -> bool {
        self.0.get(name).is_some_and(|rejected| rejected.contains(auth))
    }
}
