//! What to change at one sink, given what was found there and what is wanted. Once a plan is applied, the next plan
//! keeps everything.

use crate::credentials::Credentials;
use crate::documents::{
    DockerConfig, Document, MergeContext, NotDockerConfig, Publication, PublishedDocument,
};

/// What was found at a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    Absent {
        /// What the file contained when it was last read, if it was.
        last_known: Option<Document>,
    },
    File {
        document: Document,
        /// Whether mode and owner match the settings.
        attributes: Attributes,
    },
    /// The file exists, but its content can no longer be read.
    Unreadable {
        /// The error with its causes.
        why: String,
        /// The content, if it was read before.
        last_known: Option<Document>,
    },
}

impl Found {
    /// No file, and none was read before.
    pub const NOTHING: Self = Self::Absent { last_known: None };
}

/// Whether a file's mode and owner match the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    pub mode: bool,
    pub owner: bool,
}

impl Attributes {
    pub const AS_SET: Self = Self { mode: true, owner: true };
}

/// How a file differs from how the agent left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drift {
    Missing,
    Content,
    Mode,
    Owner,
}

/// What to do at a sink.
#[derive(Debug)]
pub enum Plan {
    Keep,
    /// The content is right, but mode or owner is not.
    SetAttributes,
    /// Write this, with the right mode and owner from the start.
    Replace {
        document: Document,
        /// First copy the existing file to another name beside it.
        set_aside: bool,
    },
    /// Not ours to fix: leave it untouched and report.
    Leave(NotDockerConfig),
}

/// Plans the change to a node's own Docker config.
pub fn local(found: &Found, wanted: &Credentials) -> Plan {
    let (mut config, attributes) = match found {
        Found::Absent { .. } | Found::Unreadable { .. } if wanted.is_empty() => return Plan::Keep,
        Found::Absent { .. } | Found::Unreadable { .. } => (DockerConfig::default(), Attributes::AS_SET),
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

/// Plans the change to the published file, with `node` as its publisher.
pub fn published(found: &Found, wanted: &Credentials, node: &str, by: &MergeContext) -> Plan {
    let publish = |document: PublishedDocument, set_aside| {
        let publication = Publication { publisher: node.to_owned(), published_at: by.now };
        Plan::Replace { document: document.signed(publication).render(), set_aside }
    };
    match found {
        // `hadoop fs -put -f` deletes the file before it renames the new one.
        Found::Absent { last_known } | Found::Unreadable { last_known, .. } => {
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

/// What others changed at a sink since the agent left it as `before`.
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

fn keep_with(attributes: Attributes) -> Plan {
    if attributes == Attributes::AS_SET { Plan::Keep } else { Plan::SetAttributes }
}

impl Drift {
    /// The name in metrics.
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
