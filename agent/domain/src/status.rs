//! The agent's state as plain data, and what follows from it at a given moment. HTTP, systemd, the command line and
//! the log all report from it.

pub mod events;
mod report;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp, Unit};

use crate::credentials::{EntryName, TokenScope};
use crate::documents::{Held, Publication, SinkKind};
use crate::findings::Finding;
use crate::problem::Problem;
use crate::refresh::{LockWait, ProbeResult, Proof};
use crate::registry::{EcrRegistry, HostName};
use crate::time::{Moment, ServerClock, saturating_add};
pub use events::RecentEvent;
pub(crate) use report::capped;
pub use report::{Check, CheckId, EntryReport, RegistryReport, SinkReport, StaticReport, StatusReport};

/// Everything that passes have found so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    pub node: String,
    pub minimum_validity: Duration,
    pub pass_interval: Duration,
    pub registries: Vec<RegistryStatus>,
    /// `None` if no file of static credentials is set.
    pub static_credentials: Option<StaticStatus>,
    pub sinks: Vec<SinkStatus>,
    pub executor_cfg: ExecutorCfg,
    pub findings: Vec<Finding>,
    /// The findings that make launches fail on this node.
    pub launch_faults: Vec<Finding>,
    pub server_clock: ServerClock,
    /// Why the last reload of the settings was refused.
    pub settings_error: Option<String>,
    /// The latest state changes, newest first.
    pub recent_events: Vec<RecentEvent>,
    /// The uptime at which the main loop last showed that its thread is not blocked.
    pub heartbeat: Duration,
    /// The uptime at which it last made progress.
    pub progress: Duration,
    /// The longest it may go without progress.
    pub progress_bound: Duration,
}

/// The longest time without a heartbeat of the main loop, however long a pass takes.
const HEARTBEAT_BOUND: Duration = Duration::from_secs(30);

/// The state of one registry's credential.
#[derive(Debug, Clone, PartialEq)]
pub struct RegistryStatus {
    pub registry: EcrRegistry,
    pub aliases: Vec<HostName>,
    pub scope: TokenScope,
    pub expires_at: Option<Timestamp>,
    pub refresh_at: Option<Timestamp>,
    /// The uptime before which ECR is not called.
    pub asks_after: Duration,
    /// Set while another node holds the refresh lock.
    pub lock_wait: Option<LockWait>,
    pub last_success_at: Option<Timestamp>,
    pub last_attempt_at: Option<Timestamp>,
    pub consecutive_failures: u32,
    pub last_error: Option<Problem>,
    /// Why the token is trusted.
    pub proof: Proof,
    /// The registry's own response to the token, if this node probed it.
    pub probe: Option<ProbeResult>,
    /// `None` without a container-executor.cfg.
    pub trust: Option<Trust>,
}

/// The state of the static credentials file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticStatus {
    pub path: String,
    /// The entries in use, from the last successful read.
    pub names: Vec<EntryName>,
    /// Why the last read failed.
    pub error: Option<Problem>,
}

/// Whether container-executor trusts images directly in a registry, by kind of container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Trust {
    pub normal: bool,
    pub privileged: bool,
}

/// The state of one sink: a file that credentials are written to.
#[derive(Debug, Clone, PartialEq)]
pub struct SinkStatus {
    pub kind: SinkKind,
    pub path: String,
    /// When the sink was last found to be right, or made so.
    pub verified_at: Option<Moment>,
    pub error: Option<Problem>,
    /// Why the NodeManager's user cannot read it, if known.
    pub closed: Option<String>,
    /// The expiry of the credentials last found there.
    pub held: Held,
    /// How registries answered those credentials, if this node probed them.
    pub probes: BTreeMap<EntryName, ProbeResult>,
    /// Names of other entries, as others wrote them.
    pub strangers: Vec<String>,
    pub publication: Option<Publication>,
}

/// Whether Hadoop accepts container-executor.cfg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecutorCfg {
    Sound,
    Absent(Problem),
    Fatal(String),
}

impl Status {
    /// The state before the first pass.
    pub fn new(
        node: String,
        minimum_validity: Duration,
        pass_interval: Duration,
        progress_bound: Duration,
    ) -> Self {
        Self {
            node,
            minimum_validity,
            pass_interval,
            registries: Vec::new(),
            static_credentials: None,
            sinks: Vec::new(),
            executor_cfg: ExecutorCfg::Absent(Problem::waiting("the first pass", "not read yet")),
            findings: Vec::new(),
            launch_faults: Vec::new(),
            server_clock: ServerClock::default(),
            settings_error: None,
            recent_events: Vec::new(),
            heartbeat: Duration::ZERO,
            progress: Duration::ZERO,
            progress_bound,
        }
    }

    /// The server's time, which alone decides what has expired.
    pub fn server_time(&self, now: Moment) -> Timestamp {
        self.server_clock.at(now)
    }

    /// Whether the main loop makes progress.
    pub fn live(&self, now: Moment) -> bool {
        now.uptime.saturating_sub(self.heartbeat) <= HEARTBEAT_BOUND
            && now.uptime.saturating_sub(self.progress) <= self.progress_bound
    }

    /// Whether submissions can rely on this node's credentials.
    pub fn ready(&self, now: Moment) -> bool {
        self.checks(now).iter().all(|check| check.ok)
    }

    /// Whether a sink is in order and its credentials have enough lifetime left.
    pub fn fresh(&self, sink: &SinkStatus, now: Moment) -> bool {
        self.sink_fault(sink, now).is_none()
    }

    /// All readiness checks.
    pub fn checks(&self, now: Moment) -> Vec<Check> {
        let some = (self.registries.is_empty())
            .then(|| "no ECR registry is configured, and container-executor.cfg trusts none".to_owned());
        let mut checks = vec![Check::new(CheckId::Registries, "registries", some)];
        checks.extend(self.registries.iter().map(|registry| {
            Check::new(CheckId::Token, registry.check_name(), self.token_fault(registry, now))
        }));
        checks.extend(self.static_credentials.iter().map(|known| {
            Check::new(CheckId::StaticCredentials, CheckId::StaticCredentials.of(&known.path), known.fault())
        }));
        checks.extend(
            self.sinks.iter().map(|sink| Check::new(CheckId::Sink, sink.name(), self.sink_fault(sink, now))),
        );
        checks.push(Check::new(CheckId::ExecutorConfig, "container-executor.cfg", self.executor_cfg_fault()));
        checks.push(Check::new(CheckId::Launches, "launches", self.launch_fault()));
        checks
    }

    /// What has to appear, or end, before the node can be ready.
    pub fn waiting_for(&self, now: Moment) -> Vec<String> {
        let executor_cfg = match &self.executor_cfg {
            ExecutorCfg::Absent(problem) => Some(problem),
            ExecutorCfg::Sound | ExecutorCfg::Fatal(_) => None,
        };
        let registries = self.registries.iter().filter_map(|registry| registry.last_error.as_ref());
        let sinks = self.sinks.iter().filter_map(|sink| sink.error.as_ref());
        let others = self.static_credentials.iter().filter_map(|known| known.error.as_ref());
        let mut waiting: Vec<String> = executor_cfg
            .into_iter()
            .chain(registries)
            .chain(sinks)
            .chain(others)
            .filter_map(|p| p.waits_for.clone())
            .collect();
        let locks = self.registries.iter().filter_map(|registry| registry.lock_wait.as_ref());
        waiting.extend(locks.map(|wait| self.lock_text(wait, now)));
        waiting.sort();
        waiting.dedup();
        waiting
    }

    fn lock_text(&self, wait: &LockWait, now: Moment) -> String {
        let whose = wait.holder.node.as_ref().map_or_else(String::new, |node| format!(" of {node}"));
        let since = wait.holder.since.map_or_else(String::new, |at| format!(", held since {at}"));
        let until = self.server_time_at(wait.deadline, now);
        format!("the refresh lock{whose}{since}, until {until} at the latest")
    }

    /// The server's time at a later uptime, or at `now` if that has passed.
    pub(crate) fn server_time_at(&self, uptime: Duration, now: Moment) -> Timestamp {
        let left = SignedDuration::try_from(uptime.saturating_sub(now.uptime)).unwrap_or(SignedDuration::MAX);
        let at = saturating_add(self.server_time(now), left);
        at.round(Unit::Second).unwrap_or(at)
    }

    fn token_fault(&self, registry: &RegistryStatus, now: Moment) -> Option<String> {
        let because =
            || registry.last_error.as_ref().map_or_else(String::new, |error| format!(": {}", error.message));
        match registry.expires_at {
            None => Some(format!("no token yet{}", because())),
            Some(_) if matches!(registry.probe, Some(ProbeResult::Rejected(_))) => {
                Some("the registry rejects the token".to_owned())
            }
            Some(_) if registry.proof == Proof::Unproven => {
                let unproven = "another node published the token, and no registry could confirm it";
                Some(format!("{unproven}{}", because()))
            }
            Some(at) if self.outlives_minimum(at, now) => None,
            Some(at) => Some(format!("the token expires at {at}{}", because())),
        }
    }

    fn sink_fault(&self, sink: &SinkStatus, now: Moment) -> Option<String> {
        let because = || sink.error.as_ref().map_or_else(String::new, |error| format!(": {}", error.message));
        let Some(verified_at) = sink.verified_at else {
            return Some(format!("never verified{}", because()));
        };
        if now.uptime.saturating_sub(verified_at.uptime) > self.pass_interval * 2 {
            return Some(format!("not verified since {}{}", verified_at.wall, because()));
        }
        if let Some(closed) = &sink.closed {
            return Some(closed.clone());
        }
        let hosts = self.registries.iter().flat_map(|r| r.aliases.iter().chain([r.registry.host()]));
        let others = self.static_credentials.iter().flat_map(|known| known.names.clone());
        let mut names = hosts.map(EntryName::from).chain(others);
        names.find_map(|name| match sink.held.get(&name) {
            None => Some(format!("holds no credential for {name}{}", because())),
            Some(_) if matches!(sink.probes.get(&name), Some(ProbeResult::Rejected(_))) => {
                Some(format!("the registry rejects its credential for {name}"))
            }
            Some(None) => None,
            Some(Some(at)) if self.outlives_minimum(*at, now) => None,
            Some(Some(at)) => Some(format!("its credential for {name} expires at {at}")),
        })
    }

    fn executor_cfg_fault(&self) -> Option<String> {
        match &self.executor_cfg {
            ExecutorCfg::Sound => None,
            ExecutorCfg::Absent(problem) => Some(problem.message.clone()),
            ExecutorCfg::Fatal(why) => Some(why.clone()),
        }
    }

    fn launch_fault(&self) -> Option<String> {
        let (first, others) = self.launch_faults.split_first()?;
        let more = if others.is_empty() { String::new() } else { format!(" (and {} more)", others.len()) };
        Some(format!("{}{}{more}", first.location_prefix(), first.message))
    }

    fn outlives_minimum(&self, expires_at: Timestamp, now: Moment) -> bool {
        let left = expires_at.duration_since(self.server_time(now));
        Duration::try_from(left).is_ok_and(|left| left >= self.minimum_validity)
    }
}

impl RegistryStatus {
    /// The name of its token's check.
    pub(crate) fn check_name(&self) -> String {
        CheckId::Token.of(self.registry.host())
    }
}

impl SinkStatus {
    /// Its name in checks, the log and `once`.
    pub fn name(&self) -> String {
        report::sink_name(self.kind, &self.path)
    }
}

impl StaticStatus {
    /// Previously read entries stay in use while the file is broken; without them, jobs lack credentials.
    fn fault(&self) -> Option<String> {
        let error = self.error.as_ref().filter(|_| self.names.is_empty());
        error.map(|error| error.message.clone())
    }
}

#[cfg(test)]
pub(crate) mod tests;
