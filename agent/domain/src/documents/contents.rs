//! The content of a sink, parsed once.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::credentials::{Credential, Credentials, EntryName, Secret, stated_expiry};
use crate::documents::plan::Found;
use crate::documents::{DockerConfig, Publication, PublishedDocument, SinkKind};

/// The expiry of the credentials at a sink, by name; `None` for those that never expire.
pub type Held = BTreeMap<EntryName, Option<Timestamp>>;

/// The content of a sink; unusable content counts as nothing.
pub enum Contents {
    Nothing,
    Local(DockerConfig),
    Published {
        document: PublishedDocument,
        /// Launches get nothing from it.
        is_poisonous: bool,
    },
}

impl Contents {
    pub fn read(found: &Found, kind: SinkKind) -> Self {
        let Found::File { document, .. } = found else { return Contents::Nothing };
        match kind {
            SinkKind::Local => DockerConfig::parse(document).map_or(Contents::Nothing, Contents::Local),
            SinkKind::Hdfs => {
                let (document, error) = PublishedDocument::read(document);
                let is_poisonous = error.is_some() || document.is_poisonous();
                Contents::Published { document, is_poisonous }
            }
        }
    }

    /// The expiry of the credentials under `names`: for `ours` the known one, for others the one they state. Empty
    /// if the document is poisonous.
    pub fn held(&self, names: &[EntryName], ours: &Credentials) -> Held {
        let expiry = |name: &EntryName| match self {
            Contents::Nothing | Contents::Published { is_poisonous: true, .. } => None,
            Contents::Local(config) => {
                let auth = config.auth(name)?;
                match ours.get(name) {
                    Some(ours) if ours.auth().expose() == auth => Some(ours.expires_at()),
                    _ => stated_expiry(auth).map(Some),
                }
            }
            Contents::Published { document, .. } => match ours.get(name) {
                // Another node's file may be newer than ours, so any entry counts.
                Some(Credential::Static(_)) => document.holds(name).then_some(None),
                _ => document.expires_at(name).map(Some),
            },
        };
        names.iter().filter_map(|name| Some((name.clone(), expiry(name)?))).collect()
    }

    /// Names of the entries that jobs get in addition to `names`, from any source.
    pub fn strangers(&self, names: &[EntryName]) -> Vec<String> {
        let Contents::Published { document, .. } = self else { return Vec::new() };
        let is_ours = |name: &&str| names.iter().any(|ours| ours.as_str() == *name);
        document.names().filter(|name| !is_ours(name)).map(str::to_owned).collect()
    }

    /// The credentials under `names`, as found.
    pub fn auths(&self, names: &[EntryName]) -> BTreeMap<EntryName, Secret> {
        let auth = |name: &EntryName| match self {
            Contents::Nothing => None,
            Contents::Local(config) => config.auth(name).map(Secret::new),
            Contents::Published { document, .. } => document.auth(name).cloned(),
        };
        names.iter().filter_map(|name| Some((name.clone(), auth(name)?))).collect()
    }

    /// Who published it, and when.
    pub fn publication(&self) -> Option<&Publication> {
        match self {
            Contents::Published { document, .. } => document.publication(),
            Contents::Nothing | Contents::Local(_) => None,
        }
    }

    /// The published document, to get tokens from.
    pub fn into_published(self) -> PublishedDocument {
        match self {
            Contents::Published { document, .. } => document,
            Contents::Nothing | Contents::Local(_) => PublishedDocument::default(),
        }
    }
}
