//! The main loop, where decisions and I/O meet: each pass observes the world, fetches the tokens that are due,
//! reconciles every sink, and updates the status.
//!
//! A pass cannot fail: errors become part of the status, and the next pass tries again.

mod events;
mod note;
mod parts;
mod pass;
mod principal;
mod renewal;
mod sinks;
mod state;
mod static_credentials;

use std::convert::Infallible;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use domain::cluster::Notes;
use domain::settings::{RegistrySettings, Settings};
use domain::status::Status;
use tokio::sync::{mpsc, watch};

use crate::io::log::detail;
use crate::io::metrics::Metrics;
use crate::sink::{Change, Intent};
use events::Logged;
pub use parts::{Call, Fetched, Parts, RegistryProbe, TokenSource, World};
use sinks::{SinkStates, Which};
use state::State;

/// How long a stop waits for the current pass, so that it leaves no temporary file.
const STOP_DEADLINE: Duration = Duration::from_secs(4);
/// Delay between a file change and its pass: changes often come in batches, and two writers at odds over a file must
/// not cause a busy loop.
const CHANGE_REST: Duration = Duration::from_millis(250);

/// How often the loop updates its heartbeat: a third of the bound after which the status reports it as stuck.
const HEARTBEAT_PERIOD: Duration = Duration::from_secs(10);
/// Delay before querying the Docker engine again after one miss, since only a second miss counts.
const DOCKER_RETRY: Duration = Duration::from_secs(5);

/// Minimum pause between two passes, whatever is due.
const SHORTEST_REST: Duration = Duration::from_millis(250);

/// Why a pass starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    Start,
    /// The pass interval ended, or something became due.
    Timer,
    /// A watched file changed.
    Changed,
    /// SIGHUP: reload the settings.
    Reload,
    /// SIGUSR1: fetch new tokens, however long the current ones remain valid.
    Renew,
}

/// An operator's request to a running agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    Reload,
    Renew,
}

/// The main loop and its state.
pub struct Agent {
    settings: Settings,
    world: Rc<dyn World>,
    parts: Parts,
    state: State,
    /// Derived from the state whenever it changes; the loop never reads it back.
    status: watch::Sender<Status>,
    metrics: Metrics,
    logged: Logged,
}

/// An error that only a new process can recover from.
#[derive(Debug, thiserror::Error)]
#[error("this process cannot recover: {problem}")]
pub struct Fatal {
    problem: String,
}

/// What one pass did, for the log and for `once`.
#[derive(Debug, Default)]
pub struct PassReport {
    /// Changes, with the name of their sink.
    pub changes: Vec<(String, Change)>,
    /// Scopes that got a new token.
    pub refreshed: Vec<String>,
    /// Scopes whose tokens are refetched because the AWS identity changed, with the change.
    pub superseded: Vec<String>,
    /// Scopes whose token was adopted from the published copy.
    pub adopted: Vec<String>,
    /// Errors, each naming the object concerned.
    pub errors: Vec<String>,
    /// Something is due, but another node holds the refresh lock.
    pub waits_for_lock: bool,
    holds_lock: bool,
    failed_calls: usize,
}

/// Values that stay constant during one pass.
#[derive(Clone, Copy)]
struct PassContext<'r> {
    wake: Wake,
    intent: Intent,
    /// Uptime at the start of the pass.
    began: Duration,
    registries: &'r [RegistrySettings],
}

impl Agent {
    pub fn new(settings: Settings, world: Box<dyn World>, metrics: Metrics) -> Self {
        let parts = world.parts(&settings);
        let state = State::new(world.node_name(), SinkStates::of(&parts));
        let status = watch::Sender::new(state.status(&settings));
        Self { settings, world: Rc::from(world), parts, state, status, metrics, logged: Logged::default() }
    }

    /// The status, updated whenever the state changes.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Runs passes until `stop` completes or only a new process can continue. If a reload rejects the settings, the
    /// previous ones stay in use, and the status reports the error until the next reload.
    pub async fn run(
        mut self,
        requests: mpsc::Receiver<Request>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), Fatal> {
        tokio::pin!(stop);
        let heart = Heart { world: Rc::clone(&self.world), status: self.status.clone() };
        let ended = tokio::select! {
            ended = self.make_passes(requests, stop) => ended,
            never = heart.beat_on() => match never {},
        };
        let _ = tokio::time::timeout(STOP_DEADLINE, self.leave()).await;
        ended
    }

    /// Releases the refresh lock, which would delay other nodes, and removes the note, which would mislead readers.
    async fn leave(&mut self) {
        self.parts.published.release().await;
        if self.state.notes.is_left() {
            self.parts.published.remove_note().await;
        }
    }

    async fn make_passes(
        &mut self,
        mut requests: mpsc::Receiver<Request>,
        mut stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<(), Fatal> {
        let mut wake = Wake::Start;
        loop {
            if self.pass_until(wake, stop.as_mut()).await.is_break() {
                return Ok(());
            }
            if let Some(problem) = self.state.sinks.fatal() {
                return Err(Fatal { problem: problem.message.clone() });
            }
            // Every arm is cancel-safe: a timer, a watch, a channel, a signal.
            wake = tokio::select! {
                () = &mut stop => return Ok(()),
                () = tokio::time::sleep(self.quiet_for().max(SHORTEST_REST)) => Wake::Timer,
                () = self.settled_change() => Wake::Changed,
                Some(request) = requests.recv() => request.into(),
            };
        }
    }

    /// Completes once a watched file has changed and had a moment to settle.
    async fn settled_change(&mut self) {
        self.world.changed().await;
        tokio::time::sleep(CHANGE_REST).await;
    }

    /// Runs one pass; on `stop`, lets it finish and breaks.
    async fn pass_until(&mut self, wake: Wake, stop: Pin<&mut impl Future<Output = ()>>) -> ControlFlow<()> {
        let pass = self.logged_pass(wake);
        tokio::pin!(pass);
        tokio::select! {
            () = &mut pass => ControlFlow::Continue(()),
            () = stop => {
                // An interrupted sink would leave a temporary file.
                let _ = tokio::time::timeout(STOP_DEADLINE, pass).await;
                ControlFlow::Break(())
            }
        }
    }

    async fn logged_pass(&mut self, wake: Wake) {
        self.read_settings(wake).await;
        self.metrics.count_pass(wake.as_str());
        let report = self.pass(wake, Intent::Apply).await;
        report.log(wake);
        self.log_events();
        self.world.warm(&self.settings, self.living_credentials(Which::Local(0)));
        self.leave_note().await;
    }

    /// Publishes the current state as the status.
    fn publish_status(&self) {
        let heartbeat = self.world.now().uptime;
        self.status.send_replace(Status { heartbeat, ..self.state.status(&self.settings) });
    }

    /// Takes the settings that are in the file now. Watched files that change from here on wake the next pass; its own
    /// writes do too, and the next pass then finds nothing to do.
    async fn read_settings(&mut self, wake: Wake) {
        let mut forced = wake == Wake::Reload;
        loop {
            // Before reading, or a change between the two would go unnoticed.
            self.world.settle(&self.settings).await;
            if !self.reload(forced).await {
                return;
            }
            // New settings can name other files to watch.
            forced = false;
        }
    }

    /// Rereads the settings, and takes them if they differ or if `forced`. Returns whether it took anything.
    async fn reload(&mut self, forced: bool) -> bool {
        let read = self.world.read_settings().await;
        if !forced {
            if self.is_in_force(&read) {
                return false;
            }
            // An editor may be halfway through. Its next write wakes the next pass.
            tokio::time::sleep(CHANGE_REST).await;
            if self.world.read_settings().await != read {
                return false;
            }
        }
        match read {
            Ok(settings) => self.take_settings(settings),
            Err(error) => self.state.settings_error = Some(error),
        }
        self.publish_status();
        true
    }

    fn is_in_force(&self, read: &Result<Settings, String>) -> bool {
        match (read, &self.state.settings_error) {
            (Ok(settings), None) => *settings == self.settings,
            (Err(error), Some(shown)) => error == shown,
            _ => false,
        }
    }

    fn take_settings(&mut self, settings: Settings) {
        let fixed = |settings: &Settings| {
            let Settings { listen, health_socket, health_hosts, log, .. } = settings.clone();
            (listen, health_socket, health_hosts, log)
        };
        if fixed(&settings) != fixed(&self.settings) {
            tracing::warn!("[health] and [log] take effect at the next start");
        }
        let moves = settings.hadoop_conf_dir != self.settings.hadoop_conf_dir;
        if moves || settings.published != self.settings.published {
            self.state.notes = Notes::default();
        }
        if settings.static_credentials != self.settings.static_credentials {
            self.state.static_credentials = None;
        }
        self.parts = self.world.parts(&settings);
        (self.state.open_directory, self.state.directory_checked_at) = (None, None);
        let new = SinkStates::of(&self.parts);
        let before = std::mem::replace(&mut self.state.sinks, new);
        self.state.sinks.carry_over(before, moves);
        self.state.settings_error = None;
        self.settings = settings;
        tracing::info!("settings reloaded");
    }

    /// Time until the next pass, if nothing changes.
    pub fn quiet_for(&self) -> Duration {
        let now = self.world.now();
        let interval = self.settings.refresh.pass_interval;
        // An early wake, such as an ECR retry, must not postpone the sinks.
        let docker = if self.state.docker_misses == 1 { DOCKER_RETRY } else { interval };
        self.state.sinks.quiet_for(now, interval).min(self.renewal_in().unwrap_or(interval)).min(docker)
    }

    /// Time until a token is to be requested or probed; `None` if none is wanted.
    pub fn renewal_in(&self) -> Option<Duration> {
        let now = self.world.now();
        let tokens = self.state.tokens.quiet_for(self.renewal(), self.coordination(), now, self.server_now());
        [tokens, self.state.probe_in(now)].into_iter().flatten().min()
    }
}

/// Updates the heartbeat while a pass waits, as proof that the loop's thread is not blocked.
struct Heart {
    world: Rc<dyn World>,
    status: watch::Sender<Status>,
}

impl Heart {
    async fn beat_on(&self) -> Infallible {
        loop {
            tokio::time::sleep(HEARTBEAT_PERIOD).await;
            self.status.send_modify(|status| status.heartbeat = self.world.now().uptime);
        }
    }
}

impl Wake {
    /// Its name in the log and the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Wake::Start => "start",
            Wake::Timer => "timer",
            Wake::Changed => "changed",
            Wake::Reload => "reload",
            Wake::Renew => "renew",
        }
    }
}

impl From<Request> for Wake {
    fn from(request: Request) -> Self {
        match request {
            Request::Reload => Wake::Reload,
            Request::Renew => Wake::Renew,
        }
    }
}

impl PassReport {
    /// Logs the changes and, at level debug, the errors and the wake; the events report the effect on the state.
    fn log(&self, wake: Wake) {
        for superseded in &self.superseded {
            tracing::info!(superseded, "AWS identity changed; fetching new tokens");
        }
        for (sink, change) in &self.changes {
            tracing::info!(sink, %change, "sink changed");
        }
        for error in &self.errors {
            detail!(error, "pass partially failed");
        }
        detail!(wake = wake.as_str(), "pass");
    }
}

#[cfg(test)]
mod tests;
