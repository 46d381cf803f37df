//! Logs each change between passes once, and keeps the most recent ones for the status.

use domain::findings::{Finding, Severity};
use domain::status::RecentEvent;
use domain::status::events::{Event, Snapshot, between};

use super::Agent;

/// How many events the status keeps.
const RECENT: usize = 20;

/// What has been logged so far.
#[derive(Debug, Default)]
pub(super) struct Logged {
    last: Option<Snapshot>,
    was_ready: bool,
}

impl Agent {
    /// Logs what changed since the previous pass, and adds it to the status.
    pub(super) fn log_events(&mut self) {
        let now = self.world.now();
        let snapshot = Snapshot::new(self.state.status(&self.settings), now);
        let events = between(self.logged.last.as_ref(), &snapshot);
        self.logged.last = Some(snapshot);
        for event in &events {
            log(event);
            self.state.recent_events.push_front(RecentEvent::new(event, now.wall));
        }
        self.state.recent_events.truncate(RECENT);
        if events.contains(&Event::Ready) && !self.logged.was_ready {
            self.logged.was_ready = true;
            let after_boot = self.world.since_boot();
            tracing::info!(
                seconds_after_start = now.uptime.as_secs_f64(),
                seconds_after_boot = after_boot.as_secs_f64(),
                "ready for the first time"
            );
            self.metrics.set_first_ready(after_boot);
        }
        if !events.is_empty() {
            self.publish_status();
        }
    }
}

/// Fields may quote files written by others; their control characters are escaped.
fn log(event: &Event) {
    let name = event.name();
    match event {
        Event::Ready | Event::SettingsAccepted => tracing::info!("{name}"),
        Event::CheckFailed { name: check, why, .. } => tracing::warn!(check, why, "{name}"),
        Event::CheckPassed { name: check, .. } => tracing::info!(check, "{name}"),
        Event::TokenRefreshed { registry, expires_at } => tracing::info!(%registry, %expires_at, "{name}"),
        Event::TokenAdopted { registry, expires_at, proven } => {
            tracing::info!(%registry, %expires_at, proven, "{name}");
        }
        Event::TokenFailed { registry, failures, error } => {
            tracing::warn!(%registry, failures, error, "{name}");
        }
        Event::LockWaited { registry, holder, until } => tracing::info!(%registry, holder, %until, "{name}"),
        // Expected on a new node, where Hadoop arrives after the agent.
        Event::SinkFailed { sink, waits_for: Some(waits_for), error } => {
            tracing::info!(sink, waits_for, error, "{name}");
        }
        Event::SinkFailed { sink, waits_for: None, error } => tracing::warn!(sink, error, "{name}"),
        Event::SinkRecovered { sink } => tracing::info!(sink, "{name}"),
        Event::StaticCredentialsFailed { path, error } => tracing::warn!(path, error, "{name}"),
        Event::FindingAppeared(finding) => log_finding(finding, name),
        Event::FindingResolved(finding) => {
            tracing::info!(code = finding.code.name, location = location(finding), "{name}");
        }
        Event::SettingsRefused { error } => tracing::error!(error, "{name}"),
    }
}

fn log_finding(finding: &Finding, name: &str) {
    let (code, effect, location) = (finding.code.name, finding.effect.as_str(), location(finding));
    let detail = finding.message.as_str();
    match finding.severity() {
        Severity::Error | Severity::Warning => tracing::warn!(code, effect, location, detail, "{name}"),
        Severity::Info => tracing::info!(code, effect, location, detail, "{name}"),
    }
}

/// The file, with the line if known.
fn location(finding: &Finding) -> Option<String> {
    let file = finding.file.as_ref()?;
    Some(finding.line.map_or_else(|| file.clone(), |line| format!("{file}:{line}")))
}
