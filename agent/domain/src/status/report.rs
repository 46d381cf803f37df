//! The status in `/status` and `status --json`. Fields are stable; times are RFC 3339 UTC.

use std::collections::BTreeMap;
use std::fmt::Display;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{RecentEvent, RegistryStatus, SinkKind, SinkStatus, StaticStatus, Status, Trust};
use crate::credentials::EntryName;
use crate::documents::Publication;
use crate::findings::Finding;
use crate::refresh::Proof;
use crate::time::Moment;

/// The whole report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusReport {
    pub version: String,
    pub node: String,
    /// The local clock.
    pub now: Timestamp,
    /// Seconds by which the server's clock is ahead of the local one.
    pub clock_skew_seconds: f64,
    pub live: bool,
    pub ready: bool,
    pub checks: Vec<Check>,
    pub waiting_for: Vec<String>,
    pub registries: Vec<RegistryReport>,
    /// `None` if no file of static credentials is set.
    pub static_credentials: Option<StaticReport>,
    pub sinks: Vec<SinkReport>,
    /// Why the last reload of agent.toml was refused; the previous settings stay in use.
    pub settings_error: Option<String>,
    pub findings: Vec<Finding>,
    /// The latest state changes, newest first.
    pub recent_events: Vec<RecentEvent>,
}

/// One condition of readiness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    pub id: CheckId,
    /// The id with the host or path it is about, for display.
    pub name: String,
    pub ok: bool,
    /// What is wrong, unless `ok`.
    pub why: Option<String>,
}

/// The subject of a readiness or liveness condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckId {
    /// The main loop makes progress; a liveness condition only.
    Loop,
    /// There is a registry to serve.
    Registries,
    /// A registry's token.
    Token,
    StaticCredentials,
    /// A local or published document.
    Sink,
    ExecutorConfig,
    /// Whether the node's files make launches fail.
    Launches,
}

impl CheckId {
    /// The name in JSON and `/readyz/CHECK`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loop => "loop",
            Self::Registries => "registries",
            Self::Token => "token",
            Self::StaticCredentials => "static_credentials",
            Self::Sink => "sink",
            Self::ExecutorConfig => "executor_config",
            Self::Launches => "launches",
        }
    }

    /// The name of the check with this id that is about `object`.
    pub(super) fn of(self, object: impl Display) -> String {
        format!("{}:{object}", self.as_str())
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegistryReport {
    pub host: String,
    pub aliases: Vec<String>,
    /// The Region that tokens are requested in.
    pub region: String,
    /// `None` for ECR Public.
    pub account: Option<String>,
    /// The role to assume, if one is set.
    pub role_arn: Option<String>,
    /// The AWS profile, if one is set.
    pub profile: Option<String>,
    /// The API's URL, if one is set.
    pub endpoint: Option<String>,
    /// By the server's clock.
    pub expires_at: Option<Timestamp>,
    pub refresh_at: Option<Timestamp>,
    /// When ECR is called next, unless another node is faster.
    pub next_attempt_at: Timestamp,
    pub last_success_at: Option<Timestamp>,
    pub last_attempt_at: Option<Timestamp>,
    pub consecutive_failures: u32,
    pub last_error: Option<String>,
    /// `ecr`, `published` if another node fetched the token and its registry accepted it here, or `unproven` if no
    /// registry gave a clear answer; null without a token.
    pub source: Option<String>,
    /// How the registry answered the token: `accepted`, `rejected` or `unknown`; null if this node did not probe
    /// it.
    pub probe: Option<String>,
    /// Whether container-executor.cfg trusts the registry's images, for the metrics only: `/status` has a finding
    /// for it.
    #[serde(skip)]
    pub trusted: Option<Trust>,
}

/// The entries that never expire, from an operator's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaticReport {
    pub path: String,
    /// Names of the entries in use.
    pub names: Vec<String>,
    /// Why the last read of the file failed; its previous entries stay in use.
    pub error: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SinkReport {
    pub kind: SinkKind,
    pub path: String,
    pub fresh: bool,
    pub verified_at: Option<Timestamp>,
    pub error: Option<String>,
    /// The earliest expiry of the credentials found there.
    pub expires_at: Option<Timestamp>,
    /// The credentials found there for the served registries, by name.
    pub entries: BTreeMap<String, EntryReport>,
    #[serde(flatten)]
    pub published: Option<PublicationReport>,
}

/// One credential found in a document, from any source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryReport {
    /// Null if it never expires, as for static credentials.
    pub expires_at: Option<Timestamp>,
    /// How its registry answered it: `accepted`, `rejected` or `unknown`; null if this node did not probe it.
    pub probe: Option<String>,
}

/// Fields of the published file only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicationReport {
    /// According to the file; anyone may have written it.
    pub publisher: Option<String>,
    pub published_at: Option<Timestamp>,
    /// Names of entries of registries that are not served, up to a limit.
    pub other_entries: Vec<String>,
    pub other_entries_count: usize,
}

/// Limits on what is shown of text that others wrote.
const MOST_SHOWN: usize = 20;
const LONGEST_SHOWN: usize = 128;

/// Text that others wrote, shortened and on one line.
pub(crate) fn capped(text: &str) -> String {
    let shown: String = text.chars().filter(|c| !c.is_control()).take(LONGEST_SHOWN).collect();
    if shown.len() < text.len() { shown + "..." } else { shown }
}

impl StatusReport {
    /// The report on `status` at `now`.
    pub fn new(status: &Status, now: Moment) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: status.node.clone(),
            now: now.wall,
            clock_skew_seconds: status.server_clock.skew(now).as_secs_f64(),
            live: status.live(now),
            ready: status.ready(now),
            checks: status.checks(now),
            waiting_for: status.waiting_for(now),
            registries: status
                .registries
                .iter()
                .map(|registry| RegistryReport::new(status, registry, now))
                .collect(),
            static_credentials: status.static_credentials.as_ref().map(StaticReport::new),
            sinks: status.sinks.iter().map(|sink| SinkReport::new(sink, status.fresh(sink, now))).collect(),
            settings_error: status.settings_error.clone(),
            findings: status.findings.clone(),
            recent_events: status.recent_events.clone(),
        }
    }
}

impl Check {
    pub(super) fn new(id: CheckId, name: impl Into<String>, fault: Option<String>) -> Self {
        Self { id, name: name.into(), ok: fault.is_none(), why: fault }
    }
}

impl RegistryReport {
    /// The name of its token's check.
    pub fn check_name(&self) -> String {
        CheckId::Token.of(&self.host)
    }

    fn new(all: &Status, status: &RegistryStatus, now: Moment) -> Self {
        let scope = &status.scope;
        let allowed_at = all.server_time_at(status.asks_after, now);
        Self {
            host: status.registry.host().to_string(),
            aliases: status.aliases.iter().map(ToString::to_string).collect(),
            region: scope.region.to_string(),
            account: status.registry.account().map(str::to_owned),
            role_arn: scope.identity.role.as_ref().map(|role| role.arn.to_string()),
            profile: scope.identity.profile.as_ref().map(ToString::to_string),
            endpoint: scope.endpoint.as_ref().map(ToString::to_string),
            expires_at: status.expires_at,
            refresh_at: status.refresh_at,
            next_attempt_at: status.refresh_at.map_or(allowed_at, |at| at.max(allowed_at)),
            last_success_at: status.last_success_at,
            last_attempt_at: status.last_attempt_at,
            consecutive_failures: status.consecutive_failures,
            last_error: status.last_error.as_ref().map(|error| error.message.clone()),
            source: status.expires_at.map(|_| source(status.proof).to_owned()),
            probe: status.probe.as_ref().map(|probe| probe.as_str().to_owned()),
            trusted: status.trust,
        }
    }
}

fn source(proof: Proof) -> &'static str {
    match proof {
        Proof::Issued => "ecr",
        Proof::Accepted => "published",
        Proof::Unproven => "unproven",
    }
}

impl StaticReport {
    pub fn check_name(&self) -> String {
        CheckId::StaticCredentials.of(&self.path)
    }

    fn new(status: &StaticStatus) -> Self {
        Self {
            path: status.path.clone(),
            names: status.names.iter().map(ToString::to_string).collect(),
            error: status.error.as_ref().map(|error| error.message.clone()),
        }
    }
}

impl SinkReport {
    pub fn check_name(&self) -> String {
        sink_name(self.kind, &self.path)
    }

    fn new(sink: &SinkStatus, fresh: bool) -> Self {
        let publication = |publication: Option<&Publication>| PublicationReport {
            publisher: publication.map(|p| capped(&p.publisher)),
            published_at: publication.map(|p| p.published_at),
            other_entries: sink.strangers.iter().take(MOST_SHOWN).map(|name| capped(name)).collect(),
            other_entries_count: sink.strangers.len(),
        };
        let entry = |name: &EntryName, expires_at| {
            let probe = sink.probes.get(name).map(|probe| probe.as_str().to_owned());
            (name.to_string(), EntryReport { expires_at, probe })
        };
        Self {
            kind: sink.kind,
            path: sink.path.clone(),
            fresh,
            verified_at: sink.verified_at.map(|at| at.wall),
            error: sink.error.as_ref().map(|error| error.message.clone()),
            expires_at: sink.held.values().flatten().min().copied(),
            entries: sink.held.iter().map(|(name, expires_at)| entry(name, *expires_at)).collect(),
            published: (sink.kind == SinkKind::Hdfs).then(|| publication(sink.publication.as_ref())),
        }
    }
}

/// The name of a sink's check, and of the sink in logs.
pub(super) fn sink_name(kind: SinkKind, path: &str) -> String {
    format!("{}:{path}", kind.as_str())
}
