//! State changes from one pass to the next, for the log, `/status` and the page. Each is one event.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Check, CheckId, RegistryStatus, SinkStatus, Status};
use crate::findings::Finding;
use crate::problem::Problem;
use crate::refresh::{LockWait, Proof};
use crate::registry::HostName;
use crate::time::Moment;

/// A state change.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// All checks pass: submissions can rely on this node.
    Ready,
    /// A check starts to fail: submissions cannot rely on this node.
    CheckFailed {
        check: CheckId,
        name: String,
        why: String,
    },
    /// A check passes again.
    CheckPassed {
        check: CheckId,
        name: String,
    },
    /// ECR issued this node a token.
    TokenRefreshed {
        registry: HostName,
        expires_at: Timestamp,
    },
    /// This node adopted a token that another node published, proven by its registry or not.
    TokenAdopted {
        registry: HostName,
        expires_at: Timestamp,
        proven: bool,
    },
    TokenFailed {
        registry: HostName,
        failures: u32,
        error: String,
    },
    /// Another node renews the token, or claims to.
    LockWaited {
        registry: HostName,
        holder: Option<String>,
        until: Timestamp,
    },
    /// A local or published document could not be read or replaced.
    SinkFailed {
        sink: String,
        waits_for: Option<String>,
        error: String,
    },
    SinkRecovered {
        sink: String,
    },
    StaticCredentialsFailed {
        path: String,
        error: String,
    },
    FindingAppeared(Finding),
    FindingResolved(Finding),
    /// The previous settings stay in use.
    SettingsRefused {
        error: String,
    },
    SettingsAccepted,
}

/// What is compared: a status, and its checks at that moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    status: Status,
    checks: Vec<Check>,
    now: Moment,
}

impl Snapshot {
    pub fn new(status: Status, now: Moment) -> Self {
        Self { checks: status.checks(now), status, now }
    }

    fn is_ready(&self) -> bool {
        self.checks.iter().all(|check| check.ok)
    }

    fn failing(&self, name: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name && !check.ok)
    }
}

/// What changed between two passes; `before` is `None` for the first.
pub fn between(before: Option<&Snapshot>, after: &Snapshot) -> Vec<Event> {
    let mut events = Vec::new();
    settings(before, after, &mut events);
    findings(before, after, &mut events);
    // The newly failing check already gives the reason.
    let newly_failing = |name: &str| {
        after.failing(name).is_some() && before.is_none_or(|before| before.failing(name).is_none())
    };
    for registry in &after.status.registries {
        let host = registry.registry.host();
        let known = before.and_then(|b| b.status.registries.iter().find(|r| r.registry.host() == host));
        token(known, registry, &mut events);
        lock(known, registry, after, &mut events);
        let error = new_problem(known.and_then(|known| known.last_error.as_ref()), &registry.last_error);
        if let Some(problem) = error.filter(|_| !newly_failing(&registry.check_name())) {
            events.push(Event::TokenFailed {
                registry: host.clone(),
                failures: registry.consecutive_failures,
                error: problem.message.clone(),
            });
        }
    }
    for sink in &after.status.sinks {
        let known =
            before.and_then(|before| before.status.sinks.iter().find(|known| known.name() == sink.name()));
        failed_sink(known, sink, newly_failing(&sink.name()), &mut events);
    }
    if let Some(now) = &after.status.static_credentials {
        let known = before.and_then(|before| before.status.static_credentials.as_ref());
        if let Some(problem) = new_problem(known.and_then(|known| known.error.as_ref()), &now.error) {
            let error = problem.message.clone();
            events.push(Event::StaticCredentialsFailed { path: now.path.clone(), error });
        }
    }
    readiness(before, after, &mut events);
    events
}

fn settings(before: Option<&Snapshot>, after: &Snapshot, events: &mut Vec<Event>) {
    let known = before.and_then(|before| before.status.settings_error.as_ref());
    match &after.status.settings_error {
        Some(error) if known != Some(error) => {
            events.push(Event::SettingsRefused { error: error.clone() });
        }
        None if known.is_some() => events.push(Event::SettingsAccepted),
        _ => {}
    }
}

fn findings(before: Option<&Snapshot>, after: &Snapshot, events: &mut Vec<Event>) {
    // Excerpts are ignored: they follow from the rest.
    let is_same = |one: &Finding, other: &Finding| {
        (one.code, &one.file, one.line, &one.message) == (other.code, &other.file, other.line, &other.message)
    };
    let is_in = |finding: &Finding, list: &[Finding]| list.iter().any(|other| is_same(finding, other));
    let known = before.map_or(&[][..], |before| &before.status.findings);
    let now = &after.status.findings;
    events.extend(now.iter().filter(|f| !is_in(f, known)).cloned().map(Event::FindingAppeared));
    events.extend(known.iter().filter(|f| !is_in(f, now)).cloned().map(Event::FindingResolved));
}

fn token(known: Option<&RegistryStatus>, now: &RegistryStatus, events: &mut Vec<Event>) {
    let same = |known: &RegistryStatus| (known.expires_at, known.proof) == (now.expires_at, now.proof);
    let Some(expires_at) = now.expires_at.filter(|_| !known.is_some_and(same)) else { return };
    let registry = now.registry.host().clone();
    events.push(match now.proof {
        Proof::Issued => Event::TokenRefreshed { registry, expires_at },
        Proof::Accepted => Event::TokenAdopted { registry, expires_at, proven: true },
        Proof::Unproven => Event::TokenAdopted { registry, expires_at, proven: false },
    });
}

fn lock(known: Option<&RegistryStatus>, now: &RegistryStatus, after: &Snapshot, events: &mut Vec<Event>) {
    // Another touch of the lock is the same wait.
    let deadline = |wait: &LockWait| wait.deadline;
    let before = known.and_then(|known| known.lock_wait.as_ref()).map(deadline);
    if let Some(wait) = now.lock_wait.as_ref().filter(|wait| Some(wait.deadline) != before) {
        events.push(Event::LockWaited {
            registry: now.registry.host().clone(),
            holder: wait.holder.node.clone(),
            until: after.status.server_time_at(wait.deadline, after.now),
        });
    }
}

fn failed_sink(known: Option<&SinkStatus>, now: &SinkStatus, is_reported: bool, events: &mut Vec<Event>) {
    let before = known.and_then(|known| known.error.as_ref());
    match (new_problem(before, &now.error), &now.error) {
        (Some(problem), _) if !is_reported => events.push(Event::SinkFailed {
            sink: now.name(),
            waits_for: problem.waits_for.clone(),
            error: problem.message.clone(),
        }),
        (None, None) if before.is_some() => events.push(Event::SinkRecovered { sink: now.name() }),
        _ => {}
    }
}

/// The problem, if it is new.
fn new_problem<'p>(before: Option<&Problem>, now: &'p Option<Problem>) -> Option<&'p Problem> {
    now.as_ref().filter(|now| before.is_none_or(|before| before.message != now.message))
}

fn readiness(before: Option<&Snapshot>, after: &Snapshot, events: &mut Vec<Event>) {
    for check in &after.checks {
        let failed_before = before.is_some_and(|before| before.failing(&check.name).is_some());
        match &check.why {
            Some(why) if !failed_before => events.push(Event::CheckFailed {
                check: check.id,
                name: check.name.clone(),
                why: why.clone(),
            }),
            None if failed_before => {
                events.push(Event::CheckPassed { check: check.id, name: check.name.clone() });
            }
            _ => {}
        }
    }
    if after.is_ready() && !before.is_some_and(Snapshot::is_ready) {
        events.push(Event::Ready);
    }
}

impl Event {
    /// The event's name in the log and `/status`.
    pub fn name(&self) -> &'static str {
        match self {
            Event::Ready => "ready",
            Event::CheckFailed { .. } => "check failed",
            Event::CheckPassed { .. } => "check passed",
            Event::TokenRefreshed { .. } => "token refreshed",
            Event::TokenAdopted { .. } => "token adopted",
            Event::TokenFailed { .. } => "token not refreshed",
            Event::LockWaited { .. } => "waiting for the refresh lock",
            Event::SinkFailed { .. } => "sink failed",
            Event::SinkRecovered { .. } => "sink recovered",
            Event::StaticCredentialsFailed { .. } => "static credentials not read",
            Event::FindingAppeared(_) => "finding",
            Event::FindingResolved(_) => "finding resolved",
            Event::SettingsRefused { .. } => "reload failed; keeping previous settings",
            Event::SettingsAccepted => "settings accepted",
        }
    }
}

/// The fields for display; empty if there are none.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Ready | Event::SettingsAccepted => Ok(()),
            Event::CheckFailed { name, why, .. } => write!(f, "{name}: {why}"),
            Event::CheckPassed { name, .. } => f.write_str(name),
            Event::TokenRefreshed { registry, expires_at } => {
                write!(f, "{registry}, expires at {expires_at:.0}")
            }
            Event::TokenAdopted { registry, expires_at, proven } => {
                let unproven = if *proven { "" } else { ", unproven" };
                write!(f, "{registry}, expires at {expires_at:.0}{unproven}")
            }
            Event::TokenFailed { registry, error, .. } => write!(f, "{registry}: {error}"),
            Event::LockWaited { registry, holder, until } => {
                let holder = holder.as_deref().unwrap_or("another node");
                write!(f, "{registry}: held by {holder} until {until} at the latest")
            }
            Event::SinkFailed { sink, error, .. } => write!(f, "{sink}: {error}"),
            Event::SinkRecovered { sink } => f.write_str(sink),
            Event::StaticCredentialsFailed { path, error } => write!(f, "{path}: {error}"),
            Event::FindingAppeared(finding) | Event::FindingResolved(finding) => {
                write!(f, "{}: {}{}", finding.code.name, finding.location_prefix(), finding.message)
            }
            Event::SettingsRefused { error } => f.write_str(error),
        }
    }
}

/// An event in `/status` and on the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentEvent {
    /// The local clock.
    pub at: Timestamp,
    pub event: String,
    /// Its fields in one line; empty if it has none.
    pub text: String,
}

impl RecentEvent {
    pub fn new(event: &Event, at: Timestamp) -> Self {
        Self { at, event: event.name().to_owned(), text: event.to_string() }
    }
}

#[cfg(test)]
mod tests;
