//! The loop, where concepts and outside things meet: each pass looks at the world, fetches the tokens
//! that are due, brings every place in order, and leaves a status behind.
//!
//! A pass cannot fail: whatever goes wrong becomes part of the status, and the next pass mends it.

mod holders;
mod parts;
mod pass;
mod places;
mod renewal;
mod statics;

use std::collections::BTreeMap;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::time::Duration;

use domain::check::AwsOutcome;
use domain::credentials::{Issuer, StaticCredentials};
use domain::refresh::{Tokens, Trials};
use domain::registry::EcrRegistry;
use domain::settings::{RegistrySettings, Settings};
use domain::status::Status;
use tokio::sync::{mpsc, watch};

use crate::io::metrics::Metrics;
use crate::place::{Change, Intent};
pub use parts::{Fetched, Parts, RegistryProbe, TokenSource, World};
use places::Memories;

/// Longest that a stop waits for the pass under way, so that it leaves no temporary file.
const STOP_DEADLINE: Duration = Duration::from_secs(4);
/// How long after a change its pass begins: who writes one file often writes more, and two writers at odds
/// over a file must not spin.
const CHANGE_REST: Duration = Duration::from_millis(250);
/// On top of what a pass may wait for others, before the loop counts as stuck.
const HEARTBEAT_SLACK: Duration = Duration::from_secs(30);

/// What made the loop go round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    Start,
    /// The pass interval ended, or something became due.
    Timer,
    /// A watched file changed.
    Changed,
    /// SIGHUP: the settings were read anew.
    Reload,
}

/// The agent's whole state between passes.
pub struct Agent {
    settings: Settings,
    world: Box<dyn World>,
    parts: Parts,
    memories: Memories,
    /// The trusted ECR registries, as of the last time that container-executor.cfg could be read.
    trusted: Vec<EcrRegistry>,
    tokens: Tokens,
    trials: Trials,
    /// What the file of static credentials said when it was last good.
    statics: Option<StaticCredentials>,
    /// How each issuer last answered.
    answers: BTreeMap<Issuer, AwsOutcome>,
    /// The uptime when the holders of the tokens were last looked at.
    holders_seen_at: Duration,
    status: watch::Sender<Status>,
    metrics: Metrics,
}

/// Why the process has to end, so that another one can do better.
#[derive(Debug, thiserror::Error)]
#[error("this process cannot recover: {problem}")]
pub struct Fatal {
    problem: String,
}

/// What one pass did, for the log and for `once`.
#[derive(Debug, Default)]
pub struct PassReport {
    /// Changes by place, as `kind:path`.
    pub changes: Vec<(String, Change)>,
    /// Issuers of which a new token arrived.
    pub refreshed: Vec<String>,
    /// Issuers whose tokens are taken anew, and who stands behind the AWS credentials now.
    pub superseded: Vec<String>,
    /// Issuers whose token was taken over from the published copy.
    pub adopted: Vec<String>,
    /// Errors, each named by its object.
    pub errors: Vec<String>,
    /// Something is due, but another node has the turn to renew it.
    pub yields: bool,
    has_turn: bool,
    failed_calls: usize,
}

/// What stays the same during one pass.
#[derive(Clone, Copy)]
struct Round<'r> {
    wake: Wake,
    intent: Intent,
    /// The uptime when it began.
    began: Duration,
    registries: &'r [RegistrySettings],
}

impl Agent {
    pub fn new(settings: Settings, world: Box<dyn World>, metrics: Metrics) -> Self {
        let parts = world.parts(&settings);
        let status = Status::new(
            world.node_name(),
            settings.refresh.minimum_validity,
            settings.refresh.pass_interval,
            heartbeat_bound(&settings),
        );
        let memories = Memories::of(&parts);
        Self {
            settings,
            world,
            parts,
            memories,
            trusted: Vec::new(),
            tokens: Tokens::default(),
            trials: Trials::default(),
            statics: None,
            answers: BTreeMap::new(),
            holders_seen_at: Duration::ZERO,
            status: watch::Sender::new(status),
            metrics,
        }
    }

    /// The status as passes leave it.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Makes passes until `stop`, or until only another process can go on. Each of `hangups` asks for the
    /// settings to be read again; refused ones leave those before in force, and the reason is shown until the next
    /// reading.
    pub async fn run(
        mut self,
        mut hangups: mpsc::Receiver<()>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), Fatal> {
        tokio::pin!(stop);
        let mut wake = Wake::Start;
        loop {
            if self.round_until(wake, stop.as_mut()).await.is_break() {
                return Ok(());
            }
            if let Some(problem) = self.memories.fatal() {
                return Err(Fatal { problem: problem.message.clone() });
            }
            // Every arm is cancel-safe: a timer, a watch, a channel, a signal.
            wake = tokio::select! {
                () = &mut stop => return Ok(()),
                () = tokio::time::sleep(self.quiet_for()) => Wake::Timer,
                () = self.settled_change() => Wake::Changed,
                Some(()) = hangups.recv() => Wake::Reload,
            };
            if wake != Wake::Timer {
                self.reload(wake);
            }
        }
    }

    /// Returns once a watched file changed and had a moment to come to rest.
    async fn settled_change(&mut self) {
        self.world.changed().await;
        tokio::time::sleep(CHANGE_REST).await;
    }

    /// Makes one round; once stopped, ends what was begun and breaks.
    async fn round_until(&mut self, wake: Wake, stop: Pin<&mut impl Future<Output = ()>>) -> ControlFlow<()> {
        let round = self.round(wake);
        tokio::pin!(round);
        tokio::select! {
            () = &mut round => ControlFlow::Continue(()),
            () = stop => {
                // A visit cut off in the middle would leave a temporary file.
                let _ = tokio::time::timeout(STOP_DEADLINE, round).await;
                ControlFlow::Break(())
            }
        }
    }

    async fn round(&mut self, wake: Wake) {
        self.metrics.count_pass(wake.as_str());
        // Before the pass: what changes while it looks wakes the next one. Its own writes do so too, and
        // that pass then sees them kept.
        self.world.settle(&self.settings);
        let report = self.pass(wake, Intent::CarryOut).await;
        report.log(wake, &self.status.borrow());
    }

    /// Reads the settings again; after a mere change of files, says so only if they differ.
    fn reload(&mut self, wake: Wake) {
        let read = self.world.read_settings();
        if wake == Wake::Changed && self.is_in_force(&read) {
            return;
        }
        match read {
            Ok(settings) => self.take_settings(settings),
            Err(why) => {
                tracing::error!(why, "settings not reloaded; those before stay in force");
                self.status.send_modify(|status| status.settings_error = Some(why));
            }
        }
    }

    fn is_in_force(&self, read: &Result<Settings, String>) -> bool {
        match (read, &self.status.borrow().settings_error) {
            (Ok(settings), None) => *settings == self.settings,
            (Err(why), Some(shown)) => why == shown,
            _ => false,
        }
    }

    fn take_settings(&mut self, settings: Settings) {
        if (settings.listen, &settings.log) != (self.settings.listen, &self.settings.log) {
            tracing::warn!("health.listen and [log] take effect at the next start");
        }
        self.parts = self.world.parts(&settings);
        let nothing = Memories::of(&self.parts);
        let before = std::mem::replace(&mut self.memories, nothing);
        self.memories = Memories::carried_over(&self.parts, before);
        self.status.send_modify(|status| {
            status.minimum_validity = settings.refresh.minimum_validity;
            status.pass_interval = settings.refresh.pass_interval;
            status.heartbeat_bound = heartbeat_bound(&settings);
            status.settings_error = None;
        });
        self.settings = settings;
        tracing::info!("settings reloaded");
    }

    /// How long until the next pass, if nothing changes.
    pub fn quiet_for(&self) -> Duration {
        let now = self.world.now();
        let interval = self.settings.refresh.pass_interval;
        // A wake between two visits, such as a retry with ECR, must not put the next visit off.
        self.memories.quiet_for(now, interval).min(self.renewal_in().unwrap_or(interval))
    }

    /// How long no token is to be asked for or tried; `None` if none is wanted.
    pub fn renewal_in(&self) -> Option<Duration> {
        let now = self.world.now();
        let tokens = self.tokens.quiet_for(self.renewal(), self.company(), now, self.server_now());
        [tokens, self.trials.quiet_for(now)].into_iter().flatten().min()
    }
}

impl Wake {
    /// The word that the log and the metrics use.
    pub fn as_str(self) -> &'static str {
        match self {
            Wake::Start => "start",
            Wake::Timer => "timer",
            Wake::Changed => "changed",
            Wake::Reload => "reload",
        }
    }
}

impl PassReport {
    /// One line, which counts as an operator's only if something changed or failed.
    fn log(&self, wake: Wake, status: &Status) {
        let wake = wake.as_str();
        let changes: Vec<String> =
            self.changes.iter().map(|(place, change)| format!("{place} {change}")).collect();
        let soonest = status.registries.iter().filter_map(|registry| registry.expires_at).min();
        let soonest_expiry = soonest.map(tracing::field::display);
        let (refreshed, adopted) = (in_one(&self.refreshed), in_one(&self.adopted));
        let changes = in_one(&changes);
        if let Some(superseded) = in_one(&self.superseded) {
            tracing::info!(superseded, "the AWS credentials are somebody else's: tokens are taken anew");
        }
        if let Some(errors) = in_one(&self.errors) {
            let waiting_for = in_one(&status.waiting_for());
            tracing::warn!(wake, refreshed, adopted, changes, soonest_expiry, waiting_for, errors, "pass");
        } else if changes.is_some() || refreshed.is_some() || adopted.is_some() {
            tracing::info!(wake, refreshed, adopted, changes, soonest_expiry, "pass");
        } else {
            tracing::debug!(wake, soonest_expiry, "pass");
        }
    }
}

/// A field of the log; none if there is nothing to say.
fn in_one(words: &[String]) -> Option<String> {
    (!words.is_empty()).then(|| words.join("; "))
}

fn heartbeat_bound(settings: &Settings) -> Duration {
    let deadlines = settings.deadlines.ecr + settings.deadlines.hdfs;
    settings.refresh.pass_interval + deadlines + HEARTBEAT_SLACK
}

#[cfg(test)]
mod tests;
