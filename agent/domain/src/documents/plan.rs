//! What to change at one sink, given what was found there and what is wanted. A second plan after the first was
//! applied keeps everything.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::credentials::{Credential, Credentials, EntryName, Secret, stated_expiry};
use crate::documents::{DockerConfig, Document, Judgement, NotDockerConfig, Publication, PublishedDocument};
use crate::status::SinkKind;

/// What is at a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    Absent,
    File {
        document: Document,
        /// Whether mode and owner are as set.
        attributes: Attributes,
    },
    /// There, and no reader gets its content any more.
    Unreadable {
        /// The content, if it was read before.
        last_known: Option<Document>,
    },
}

/// Whether a file's mode and owner are as set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    pub mode: bool,
    pub owner: bool,
}

impl Attributes {
    pub const AS_SET: Self = Self { mode: true, owner: true };
}

/// How a file differs from what was left there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drift {
    Missing,
    Content,
    Mode,
    Owner,
}

/// When the credentials at a sink expire, by name; `None` for those that do not.
pub type Held = BTreeMap<EntryName, Option<Timestamp>>;

/// What to do at a sink.
#[derive(Debug)]
pub enum Plan {
    Keep,
    /// The content is right, mode or owner are not.
    SetAttributes,
    /// Write this, with the right mode and owner from the first moment on.
    Replace {
        document: Document,
        /// First keep a copy of what is there beside it.
        set_aside: bool,
    },
    /// Not ours to fix: leave it untouched and report.
    Leave(NotDockerConfig),
}

/// Plans for a node's own Docker config.
pub fn local(found: &Found, wanted: &Credentials) -> Plan {
    let (mut config, attributes) = match found {
        Found::Absent | Found::Unreadable { .. } if wanted.is_empty() => return Plan::Keep,
        Found::Absent | Found::Unreadable { .. } => (DockerConfig::default(), Attributes::AS_SET),
        Found::File { document, attributes } => match DockerConfig::parse(document) {
            Ok(config) => (config, *attributes),
            Err(error) => return Plan::Leave(error),
        },
    };
    let stale: Vec<_> =
        wanted.iter().filter(|(name, wanted)| config.auth(name) != Some(wanted.auth().expose())).collect();
    if stale.is_empty() {
        return keep_with(attributes);
    }
    for (name, wanted) in stale {
        config.set(name, wanted.auth());
    }
    Plan::Replace { document: config.render(), set_aside: false }
}

/// Plans for the published copy, as `node` would publish it.
pub fn published(found: &Found, wanted: &Credentials, node: &str, by: &Judgement) -> Plan {
    let publish = |document: PublishedDocument, set_aside| {
        let publication = Publication { publisher: node.to_owned(), published_at: by.now };
        Plan::Replace { document: document.signed(publication).render(), set_aside }
    };
    match found {
        Found::Absent => match PublishedDocument::default().merged(wanted, by) {
            Some(document) => publish(document, false),
            None => Plan::Keep,
        },
        Found::Unreadable { last_known } => {
            let known = last_known.as_ref().map(|document| PublishedDocument::read(document).0);
            let (known, _) = known.unwrap_or_default().without_poison();
            let (known, _) = known.without_strangers(&by.keep);
            match known.merged(wanted, by) {
                Some(merged) => publish(merged, false),
                None if known == PublishedDocument::default() => Plan::Keep,
                None => publish(known, false),
            }
        }
        Found::File { document, attributes } => {
            let (in_place, error) = PublishedDocument::read(document);
            let (in_place, docker_rejects) = in_place.without_poison();
            let (in_place, had_strangers) = in_place.without_strangers(&by.keep);
            let is_poisonous = error.is_some() || docker_rejects;
            match in_place.merged(wanted, by) {
                Some(merged) => publish(merged, is_poisonous),
                None if is_poisonous || had_strangers => publish(in_place, is_poisonous),
                None => keep_with(*attributes),
            }
        }
    }
}

/// What others changed at a sink between `before`, as it was left, and `found`.
pub fn drifts(before: &Found, found: &Found) -> Vec<Drift> {
    let Found::File { document: left, attributes: as_left } = before else { return Vec::new() };
    let Found::File { document, attributes } = found else { return vec![Drift::Missing] };
    let differs = [
        (document != left, Drift::Content),
        (as_left.mode && !attributes.mode, Drift::Mode),
        (as_left.owner && !attributes.owner, Drift::Owner),
    ];
    differs.into_iter().filter_map(|(differs, drift)| differs.then_some(drift)).collect()
}

/// When the credentials end that a local Docker config holds under `names`; ours by what we know,
/// others by their own word. `None` stands for a credential that does not end.
pub fn held_locally(found: &Found, names: &[EntryName], ours: &Credentials) -> Held {
    let Some(config) = document_of(found).and_then(|document| DockerConfig::parse(document).ok()) else {
        return BTreeMap::new();
    };
    let expiry = |name: &EntryName| {
        let auth = config.auth(name)?;
        match ours.get(name) {
            Some(ours) if ours.auth().expose() == auth => Some(ours.expires_at()),
            _ => stated_expiry(auth).map(Some),
        }
    };
    names.iter().filter_map(|name| Some((name.clone(), expiry(name)?))).collect()
}

/// The same for the published copy; nothing if it is poisonous, since then no launch gets anything.
pub fn held_published(found: &Found, names: &[EntryName], ours: &Credentials) -> Held {
    let Some((document, None)) = document_of(found).map(PublishedDocument::read) else {
        return BTreeMap::new();
    };
    let (document, false) = document.without_poison() else { return BTreeMap::new() };
    let expiry = |name: &EntryName| match ours.get(name) {
        // Another node's file may be newer than ours: any will do.
        Some(Credential::Static(_)) => document.holds(name).then_some(None),
        _ => document.expires_at(name).map(Some),
    };
    names.iter().filter_map(|name| Some((name.clone(), expiry(name)?))).collect()
}

/// Names of the entries that are handed to jobs along with `names`, whoever put them there.
pub fn strangers(found: &Found, names: &[EntryName]) -> Vec<String> {
    let Some(document) = document_of(found) else { return Vec::new() };
    let (document, _) = PublishedDocument::read(document);
    let is_ours = |name: &&str| names.iter().any(|ours| ours.as_str() == *name);
    document.names().filter(|name| !is_ours(name)).map(str::to_owned).collect()
}

/// The credentials under `names`, as they lie there.
pub fn auths(found: &Found, kind: SinkKind, names: &[EntryName]) -> BTreeMap<EntryName, Secret> {
    let Some(document) = document_of(found) else { return BTreeMap::new() };
    let of_all = |auth: &dyn Fn(&EntryName) -> Option<Secret>| {
        names.iter().filter_map(|name| Some((name.clone(), auth(name)?))).collect()
    };
    match kind {
        SinkKind::Local => DockerConfig::parse(document)
            .map_or_else(|_| BTreeMap::new(), |config| of_all(&|name| config.auth(name).map(Secret::new))),
        SinkKind::Hdfs => {
            let (document, _) = PublishedDocument::read(document);
            of_all(&|name| document.auth(name).cloned())
        }
    }
}

fn document_of(found: &Found) -> Option<&Document> {
    match found {
        Found::Absent | Found::Unreadable { .. } => None,
        Found::File { document, .. } => Some(document),
    }
}

fn keep_with(attributes: Attributes) -> Plan {
    if attributes == Attributes::AS_SET { Plan::Keep } else { Plan::SetAttributes }
}

impl Drift {
    /// The word that the metrics use.
    pub fn as_str(self) -> &'static str {
        match self {
            Drift::Missing => "missing",
            Drift::Content => "content",
            Drift::Mode => "mode",
            Drift::Owner => "owner",
        }
    }
}

#[cfg(test)]
mod tests;
