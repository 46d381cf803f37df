//! systemd, by its notification socket: readiness, the line that `systemctl status` shows, and the
//! watchdog, which the loop's heartbeat alone feeds. Without a service manager all of it is silence.
//!
//! Only what systemd 219 knows is said. Nothing here decides anything, and a manager that does not
//! listen holds up nobody.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use domain::status::{Report, Status};
use sd_notify::NotifyState;
use tokio::sync::{Notify, watch};

/// How often the line is looked at anew where no watchdog asks for more: it changes by time alone, too.
const LOOK_PERIOD: Duration = Duration::from_secs(15);
/// A shorter one would be a busy loop, and none at all a panic.
const SHORTEST_PERIOD: Duration = Duration::from_millis(100);
/// Longest that the last word may take.
const FAREWELL_DEADLINE: Duration = Duration::from_secs(1);

/// Says that a reload was asked for. The next round of the loop says that it is over.
#[derive(Debug, Clone, Default)]
pub struct ReloadBell(Arc<Notify>);

impl ReloadBell {
    pub fn ring(&self) {
        self.0.notify_one();
    }
}

/// Tells systemd that the service runs, and from then on how it fares, until dropped. `report` reads
/// the clock and the status anew; `status` says when that is worth it.
pub async fn tell(
    report: impl Fn() -> Report,
    mut status: watch::Receiver<Status>,
    reloads: ReloadBell,
) -> Infallible {
    let watchdog = sd_notify::watchdog_enabled();
    let period = watchdog.map_or(LOOK_PERIOD, |period| period / 2).max(SHORTEST_PERIOD);
    let mut looks = tokio::time::interval(period);
    // One look makes up for those that a busy machine missed.
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut told = Told::default();
    loop {
        // Every arm is cancel-safe: a timer, a notification, a watch.
        let reloading = tokio::select! {
            _ = looks.tick() => false,
            () = reloads.0.notified() => true,
            Ok(()) = status.changed() => false,
        };
        let heartbeat = status.borrow_and_update().heartbeat;
        let words = told.words(&report(), heartbeat, reloading, watchdog.is_some());
        say(words).await;
    }
}

/// Tells systemd that the service ends by intent.
pub async fn tell_stopping() {
    // Past the deadline systemd sees the end of the process all the same.
    let _ = tokio::time::timeout(FAREWELL_DEADLINE, say(vec![Word::Stopping])).await;
}

/// What systemd was told last.
#[derive(Debug, Default)]
struct Told {
    line: Option<String>,
    /// The heartbeat at which a reload was asked for.
    reloading_since: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Ready,
    Reloading,
    Stopping,
    Line(String),
    Alive,
}

impl Told {
    /// What is to be said now, in order. A reload is over with the first heartbeat after it; readiness
    /// in systemd's sense comes with the first word of all.
    fn words(&mut self, report: &Report, heartbeat: Duration, reloading: bool, watched: bool) -> Vec<Word> {
        let mut words = Vec::new();
        if reloading {
            self.reloading_since = Some(heartbeat);
            words.push(Word::Reloading);
        } else if self.line.is_none() || self.reloading_since.is_some_and(|since| since != heartbeat) {
            self.reloading_since = None;
            words.push(Word::Ready);
        }
        let line = line(report);
        if self.line.as_ref() != Some(&line) {
            self.line = Some(line.clone());
            words.push(Word::Line(line));
        }
        if watched && report.live {
            words.push(Word::Alive);
        }
        words
    }
}

/// The state in one line: `ready; REGISTRIES; soonest expiry TIME`, or what it waits for and what fails.
fn line(report: &Report) -> String {
    let hosts: Vec<&str> = report.registries.iter().map(|registry| registry.host.as_str()).collect();
    let failing = report.checks.iter().filter(|check| !check.ok).map(|check| check.name.as_str());
    let failing: Vec<&str> = failing.collect();
    let soonest = report.registries.iter().filter_map(|registry| registry.expires_at).min();

    let mut parts = vec![if report.ready { "ready" } else { "not ready" }.to_owned()];
    if !report.live {
        parts.push("the loop does not go round".to_owned());
    }
    parts.push(match hosts.as_slice() {
        [] => "no registry yet".to_owned(),
        hosts => hosts.join(", "),
    });
    parts.extend(soonest.map(|at| format!("soonest expiry {at:.0}")));
    if !report.waiting_for.is_empty() {
        parts.push(format!("waiting for {}", report.waiting_for.join(", ")));
    } else if !failing.is_empty() {
        parts.push(format!("failing: {}", failing.join(", ")));
    }
    parts.extend(report.settings_error.as_ref().map(|_| "the last settings were refused".to_owned()));
    parts.join("; ").replace(['\n', '\r'], " ")
}

/// Sends the words in one message, off the loop's thread: a send waits while systemd's queue is full.
async fn say(words: Vec<Word>) {
    if words.is_empty() {
        return;
    }
    let sent = tokio::task::spawn_blocking(move || {
        let states: Vec<NotifyState> = words.iter().map(Word::as_state).collect();
        sd_notify::notify(&states)
    });
    if let Ok(Err(error)) = sent.await {
        tracing::debug!(%error, "cannot notify systemd");
    }
}

impl Word {
    fn as_state(&self) -> NotifyState<'_> {
        match self {
            Word::Ready => NotifyState::Ready,
            Word::Reloading => NotifyState::Reloading,
            Word::Stopping => NotifyState::Stopping,
            Word::Line(line) => NotifyState::Status(line),
            Word::Alive => NotifyState::Watchdog,
        }
    }
}

#[cfg(test)]
mod tests;
