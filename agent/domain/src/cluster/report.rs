//! What `cluster` prints, as data: each node as YARN and its agent report it, the worst first, and whether the
//! cluster is ready.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{NodeNote, YarnNode};
use crate::credentials::EntryName;
use crate::documents::{Document, PublishedDocument};
use crate::status::capped;

/// What was collected.
#[derive(Debug)]
pub struct Found {
    /// The ResourceManager that answered, and its nodes; or why none did.
    pub yarn: Result<(String, Vec<YarnNode>), String>,
    /// Where the published file is.
    pub path: String,
    pub published: Seen,
    /// Each node's own report, or why there is none.
    pub words: BTreeMap<String, Result<Word, String>>,
}

/// The outcome of reading the published file.
#[derive(Debug)]
pub enum Seen {
    /// HDFS did not answer.
    Unknown(String),
    /// No job gets credentials from it.
    Unusable(String),
    /// YARN reads it.
    File(Document),
}

/// A node's own report.
#[derive(Debug, Clone, PartialEq)]
pub struct Word {
    pub note: NodeNote,
    pub source: Source,
    /// When its file was written, by the NameNode's clock.
    pub written_at: Option<Timestamp>,
}

/// How a node's own report arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The agent answered.
    Status,
    /// It left a file, which anyone who can write there can forge.
    File,
}

/// The whole report.
#[derive(Debug, Serialize)]
pub struct ClusterReport {
    pub version: &'static str,
    pub time: Timestamp,
    /// Null if it cannot be checked.
    pub ready: Option<bool>,
    pub summary: String,
    pub resource_manager: YarnReport,
    pub published: PublishedReport,
    /// The worst first.
    pub nodes: Vec<NodeReport>,
    /// Nodes that no longer take containers, and so do not count.
    pub gone: Vec<GoneNode>,
}

#[derive(Debug, Serialize)]
pub struct YarnReport {
    pub url: Option<String>,
    pub error: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct PublishedReport {
    pub path: String,
    /// Whether a job gets credentials from it; null if HDFS did not answer.
    pub usable: Option<bool>,
    pub error: Option<String>,
    /// As the file states; anyone may have written it.
    pub publisher: Option<String>,
    pub published_at: Option<Timestamp>,
    pub registries: Vec<EntryLeft>,
}

/// One credential in the published file.
#[derive(Debug, Serialize)]
pub struct EntryLeft {
    pub registry: String,
    /// Null if it does not expire.
    pub expires_at: Option<Timestamp>,
    pub seconds_left: Option<i64>,
}

#[derive(Debug, Serialize)]
pub struct NodeReport {
    pub node: String,
    /// YARN's state, such as `RUNNING`.
    pub state: String,
    /// Null if the node did not report.
    pub ready: Option<bool>,
    pub source: Option<Source>,
    /// When its file was written.
    pub written_at: Option<Timestamp>,
    pub age_seconds: Option<i64>,
    pub version: Option<String>,
    /// The ids of failing checks.
    pub failing: Vec<String>,
    /// The codes of findings that are errors.
    pub findings: Vec<String>,
    /// The fault that YARN reports, or why the node did not report.
    pub error: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct GoneNode {
    pub node: String,
    pub state: String,
}

impl ClusterReport {
    pub fn new(found: Found, now: Timestamp) -> Self {
        let Found { yarn, path, published, mut words } = found;
        let published = PublishedReport::new(path, published, now);
        let (resource_manager, known) = match yarn {
            Ok((url, nodes)) => (YarnReport { url: Some(url), error: None }, nodes),
            Err(error) => (YarnReport { url: None, error: Some(error) }, Vec::new()),
        };
        let (gone, known): (Vec<_>, Vec<_>) = known.into_iter().partition(YarnNode::is_gone);
        let mut nodes: Vec<NodeReport> =
            known.into_iter().map(|node| NodeReport::new(&node, words.remove(&node.host), now)).collect();
        nodes.sort_by(|a, b| (Reverse(a.badness()), &a.node).cmp(&(Reverse(b.badness()), &b.node)));
        let gone = gone.into_iter().map(|node| GoneNode { node: node.host, state: node.state }).collect();
        let mut report = Self {
            version: env!("CARGO_PKG_VERSION"),
            time: now,
            ready: None,
            summary: String::new(),
            resource_manager,
            published,
            nodes,
            gone,
        };
        (report.ready, report.summary) = report.verdict();
        report
    }

    fn verdict(&self) -> (Option<bool>, String) {
        let unknown = |why: &str| (None, format!("The cluster's state is unknown: {why}."));
        if let Some(error) = &self.resource_manager.error {
            return unknown(error);
        }
        if let (None, Some(error)) = (self.published.usable, &self.published.error) {
            return unknown(error);
        }
        let all = self.nodes.len();
        let bad: Vec<&NodeReport> = self.nodes.iter().filter(|node| node.badness() > 0).collect();
        let nodes = match (bad.as_slice(), all) {
            ([], 0) => "YARN has no node".to_owned(),
            ([], 1) => "The only node is ready".to_owned(),
            ([], _) => format!("All {all} nodes are ready"),
            ([one], 1) => format!("The only node is not ready: {}: {}", one.node, one.why()),
            ([one], _) => format!("1 of {all} nodes is not ready: {}: {}", one.node, one.why()),
            ([one, ..], _) => {
                format!("{} of {all} nodes are not ready, first {}: {}", bad.len(), one.node, one.why())
            }
        };
        let file = match &self.published.error {
            Some(error) => format!("; no job gets credentials from the published file: {error}"),
            None => String::new(),
        };
        let ready = bad.is_empty() && all > 0 && self.published.usable == Some(true);
        (Some(ready), format!("{nodes}{file}."))
    }
}

impl PublishedReport {
    fn new(path: String, seen: Seen, now: Timestamp) -> Self {
        let nothing = Self {
            path,
            usable: None,
            error: None,
            publisher: None,
            published_at: None,
            registries: Vec::new(),
        };
        let document = match seen {
            Seen::Unknown(error) => return Self { error: Some(error), ..nothing },
            Seen::Unusable(error) => return Self { usable: Some(false), error: Some(error), ..nothing },
            Seen::File(document) => document,
        };
        let (read, _) = PublishedDocument::read(&document);
        let entry = |name: &str| {
            let expires_at = EntryName::parse(name).and_then(|name| read.expires_at(&name));
            let seconds_left = expires_at.map(|at| at.duration_since(now).as_secs());
            EntryLeft { registry: capped(name), expires_at, seconds_left }
        };
        let registries: Vec<EntryLeft> = read.names().map(entry).collect();
        let has_ended = |entry: &EntryLeft| entry.seconds_left.is_some_and(|left| left <= 0);
        let error = if read.is_poisonous() {
            Some("Docker rejects one of its entries, and so the whole file")
        } else if registries.is_empty() {
            Some("it has no credential")
        } else if registries.iter().all(has_ended) {
            Some("all of its credentials have expired")
        } else {
            None
        };
        let publication = read.publication();
        Self {
            usable: Some(error.is_none()),
            error: error.map(str::to_owned),
            publisher: publication.map(|publication| capped(&publication.publisher)),
            published_at: publication.map(|publication| publication.published_at),
            registries,
            ..nothing
        }
    }
}

impl NodeReport {
    fn new(node: &YarnNode, word: Option<Result<Word, String>>, now: Timestamp) -> Self {
        let (word, silence) = match word {
            Some(Ok(word)) => (Some(word), None),
            Some(Err(why)) => (None, Some(why)),
            None => (None, Some("it was not queried".to_owned())),
        };
        let ill = (!node.is_running()).then(|| match &node.health {
            Some(report) => format!("{}: {report}", node.state),
            None => node.state.clone(),
        });
        let written_at = word.as_ref().and_then(|word| word.written_at);
        let age = written_at.map(|at| now.duration_since(at).max(SignedDuration::ZERO).as_secs());
        let source = word.as_ref().map(|word| word.source);
        let note = word.map(|word| word.note);
        Self {
            node: node.host.clone(),
            state: node.state.clone(),
            ready: note.as_ref().map(|note| note.ready && ill.is_none()),
            source,
            written_at,
            age_seconds: age,
            version: note.as_ref().map(|note| note.version.clone()),
            failing: note.as_ref().map_or_else(Vec::new, |note| note.failing.clone()),
            findings: note.map_or_else(Vec::new, |note| note.findings),
            error: ill.or(silence),
        }
    }

    /// How far from ready it is.
    fn badness(&self) -> u8 {
        match (self.ready, self.state.as_str()) {
            (Some(true), _) => 0,
            (None, "RUNNING") => 1,
            (Some(false), "RUNNING") => 2,
            _ => 3,
        }
    }

    /// Why it is not ready.
    pub fn why(&self) -> String {
        let words = self.failing.iter().chain(&self.findings).cloned();
        self.error.iter().cloned().chain(words).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::{SignedDuration, Timestamp};
    use serde_json::json;

    use super::{ClusterReport, Found, Seen, Source, Word};
    use crate::cluster::{NodeNote, YarnNode};
    use crate::documents::Document;

    const NOW: Timestamp = Timestamp::constant(1_700_000_000, 0);

    fn yarn(nodes: &[(&str, &str)]) -> Result<(String, Vec<YarnNode>), String> {
        let node = |(host, state): &(&str, &str)| YarnNode {
            host: (*host).to_owned(),
            state: (*state).to_owned(),
            health: None,
        };
        Ok(("http://rm:8088".to_owned(), nodes.iter().map(node).collect()))
    }

    fn word(failing: &[&str]) -> Result<Word, String> {
        let note = NodeNote {
            version: "0.1.0".to_owned(),
            ready: failing.is_empty(),
            since: NOW,
            failing: failing.iter().map(|id| (*id).to_owned()).collect(),
            findings: Vec::new(),
        };
        Ok(Word { note, source: Source::File, written_at: Some(NOW - SignedDuration::from_secs(90)) })
    }

    fn file(left: i64) -> Seen {
        let text = json!({
            "auths": { "a.example": { "auth": "dTpw" } },
            "emr-ecr-agent": { "expires_at": { "a.example": NOW + SignedDuration::from_secs(left) } },
        });
        Seen::File(Document::new(text.to_string().into_bytes()))
    }

    type Words<'a> = &'a [(&'a str, Result<Word, String>)];

    fn report(
        yarn: Result<(String, Vec<YarnNode>), String>,
        published: Seen,
        words: Words<'_>,
    ) -> ClusterReport {
        let words: BTreeMap<_, _> =
            words.iter().map(|(host, word)| ((*host).to_owned(), word.clone())).collect();
        ClusterReport::new(Found { yarn, path: "/config.json".to_owned(), published, words }, NOW)
    }

    #[test]
    fn the_worst_comes_first_and_is_named() {
        let nodes = [("d", "RUNNING"), ("b", "RUNNING"), ("a", "RUNNING"), ("c", "UNHEALTHY"), ("e", "LOST")];
        let words =
            [("a", word(&[])), ("b", word(&["token", "launches"])), ("c", word(&[])), ("d", word(&[]))];
        let all = report(yarn(&nodes), file(60), &words);
        let order: Vec<_> = all.nodes.iter().map(|node| (node.node.as_str(), node.ready)).collect();
        let expected = [("c", Some(false)), ("b", Some(false)), ("a", Some(true)), ("d", Some(true))];
        assert_eq!(order, expected);
        assert_eq!((all.ready, all.gone.len()), (Some(false), 1));
        assert_eq!(all.summary, "2 of 4 nodes are not ready, first c: UNHEALTHY.");
        assert_eq!((all.nodes[1].why().as_str(), all.nodes[1].age_seconds), ("token, launches", Some(90)));
        assert_eq!(all.published.registries[0].seconds_left, Some(60));
    }

    #[test]
    fn silence_is_not_readiness() {
        let silent = Err("no answer".to_owned());
        let words = [("a", word(&[])), ("b", silent)];
        let all = report(yarn(&[("a", "RUNNING"), ("b", "RUNNING")]), file(60), &words);
        assert_eq!((all.ready, all.nodes[0].ready), (Some(false), None));
        assert_eq!(all.summary, "1 of 2 nodes is not ready: b: no answer.");
    }

    #[test]
    fn the_file_and_yarn_count_too() {
        let one = || yarn(&[("a", "RUNNING")]);
        let words = [("a", word(&[]))];
        let check = |yarn, seen, ready: Option<bool>, summary: &str| {
            let report = report(yarn, seen, &words);
            assert_eq!((report.ready, report.summary.as_str()), (ready, summary));
        };
        check(one(), file(60), Some(true), "The only node is ready.");
        check(yarn(&[]), file(60), Some(false), "YARN has no node.");
        check(
            one(),
            file(0),
            Some(false),
            "The only node is ready; no job gets credentials from the published file: all of its credentials have expired.",
        );
        check(
            one(),
            Seen::Unusable("it does not exist".to_owned()),
            Some(false),
            "The only node is ready; no job gets credentials from the published file: it does not exist.",
        );
        check(
            one(),
            Seen::Unknown("no NameNode".to_owned()),
            None,
            "The cluster's state is unknown: no NameNode.",
        );
        check(Err("no answer".to_owned()), file(60), None, "The cluster's state is unknown: no answer.");
    }
}
