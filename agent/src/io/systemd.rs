//! systemd's notification socket: readiness, the status line that `systemctl status` shows, and the watchdog,
//! which only the main loop's heartbeat feeds. Without a service manager it does nothing.
//!
//! It sends only what systemd 219 supports. It makes no decisions, and a manager that does not read blocks nothing.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use domain::status::{Status, StatusReport};
use sd_notify::NotifyState;
use tokio::sync::{Notify, watch};

use crate::io::log::detail;

/// How often to feed the watchdog, unless it needs more, and to update the status line, which changes with time.
const UPDATE_PERIOD: Duration = Duration::from_secs(15);
/// A shorter period would be a busy loop, and zero a panic.
const SHORTEST_PERIOD: Duration = Duration::from_millis(100);
/// Deadline for the last notification.
const STOPPING_DEADLINE: Duration = Duration::from_secs(1);

/// Announces a reload, which ends with the next progress of the main loop.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReloadBell(Arc<Notify>);

impl ReloadBell {
    pub(crate) fn ring(&self) {
        self.0.notify_one();
    }
}

/// Notifies systemd that the service runs, then of its state, until dropped. `report` returns the current state;
/// `status` signals changes.
pub(crate) async fn notify(
    report: impl Fn() -> StatusReport,
    mut status: watch::Receiver<Status>,
    reloads: ReloadBell,
) -> Infallible {
    let watchdog = sd_notify::watchdog_enabled();
    let period = watchdog.map_or(UPDATE_PERIOD, |period| UPDATE_PERIOD.min(period / 3)).max(SHORTEST_PERIOD);
    let mut ticks = tokio::time::interval(period);
    // One update replaces those that a busy machine missed.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut notified = Notified::default();
    loop {
        // Every arm is cancel-safe: a timer, a notification, a watch.
        let reloading = tokio::select! {
            _ = ticks.tick() => false,
            () = reloads.0.notified() => true,
            Ok(()) = status.changed() => false,
        };
        let progress = status.borrow_and_update().progress;
        let states = notified.next(&report(), progress, reloading, watchdog.is_some());
        send(states).await;
    }
}

/// Notifies systemd that the service is stopping on purpose.
pub(crate) async fn notify_stopping() {
    // After the deadline, systemd still sees the process end.
    let _ = tokio::time::timeout(STOPPING_DEADLINE, send(vec![State::Stopping])).await;
}

/// What systemd already knows.
#[derive(Debug, Default)]
struct Notified {
    line: Option<String>,
    /// The progress when a reload was requested.
    reloading_since: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Ready,
    Reloading,
    Stopping,
    Line(String),
    Alive,
}

impl Notified {
    /// What to send now, in order. A reload ends with the first progress after it; the first notification reports
    /// readiness in systemd's sense.
    fn next(
        &mut self,
        report: &StatusReport,
        progress: Duration,
        reloading: bool,
        watched: bool,
    ) -> Vec<State> {
        let mut states = Vec::new();
        if reloading {
            self.reloading_since = Some(progress);
            states.push(State::Reloading);
        } else if self.line.is_none() || self.reloading_since.is_some_and(|since| since != progress) {
            self.reloading_since = None;
            states.push(State::Ready);
        }
        let line = line(report);
        if self.line.as_ref() != Some(&line) {
            self.line = Some(line.clone());
            states.push(State::Line(line));
        }
        if watched && report.live {
            states.push(State::Alive);
        }
        states
    }
}

/// The state on one line: `ready; REGISTRIES; earliest expiry TIME`, or what the agent waits for and what fails.
fn line(report: &StatusReport) -> String {
    let hosts: Vec<&str> = report.registries.iter().map(|registry| registry.host.as_str()).collect();
    let failing = report.checks.iter().filter(|check| !check.ok).map(|check| check.name.as_str());
    let failing: Vec<&str> = failing.collect();
    let soonest = report.registries.iter().filter_map(|registry| registry.expires_at).min();

    let mut parts = vec![if report.ready { "ready" } else { "not ready" }.to_owned()];
    if !report.live {
        parts.push("the main loop is stuck".to_owned());
    }
    parts.push(match hosts.as_slice() {
        [] => "no registry yet".to_owned(),
        hosts => hosts.join(", "),
    });
    parts.extend(soonest.map(|at| format!("earliest expiry {at:.0}")));
    if !report.waiting_for.is_empty() {
        parts.push(format!("waiting for {}", report.waiting_for.join(", ")));
    } else if !failing.is_empty() {
        parts.push(format!("failing: {}", failing.join(", ")));
    }
    parts.extend(report.settings_error.as_ref().map(|_| "the last reload failed".to_owned()));
    parts.join("; ").replace(['\n', '\r'], " ")
}

/// Sends all states in one message, off the main loop's thread: a send blocks while systemd's queue is full.
async fn send(states: Vec<State>) {
    if states.is_empty() {
        return;
    }
    let sent = tokio::task::spawn_blocking(move || {
        let states: Vec<NotifyState> = states.iter().map(State::as_notify_state).collect();
        sd_notify::notify(&states)
    });
    if let Ok(Err(error)) = sent.await {
        detail!(%error, "cannot notify systemd");
    }
}

impl State {
    fn as_notify_state(&self) -> NotifyState<'_> {
        match self {
            State::Ready => NotifyState::Ready,
            State::Reloading => NotifyState::Reloading,
            State::Stopping => NotifyState::Stopping,
            State::Line(line) => NotifyState::Status(line),
            State::Alive => NotifyState::Watchdog,
        }
    }
}

#[cfg(test)]
mod tests;
