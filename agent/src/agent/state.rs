//! The agent's state between passes, and the status derived from it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use domain::check::{AwsOutcome, DockerEngine};
use domain::cluster::Notes;
use domain::credentials::{EntryName, Renewal, StaticCredentials, TokenScope};
use domain::findings::Finding;
use domain::problem::Problem;
use domain::refresh::schedule::{Coordination, jitter_fraction};
use domain::refresh::{Knowledge, Probes, Tokens};
use domain::registry::{EcrRegistry, HostName};
use domain::settings::{RegistrySettings, Settings};
use domain::status::{ExecutorCfg, RecentEvent, RegistryStatus, SinkStatus, StaticStatus, Status, Trust};
use domain::time::{Moment, ServerClock};

use super::sinks::{SinkState, SinkStates};

/// Added to the time that a pass may wait for others, before the main loop counts as stuck.
const PROGRESS_SLACK: Duration = Duration::from_secs(30);

pub(super) struct State {
    pub node: String,
    pub sinks: SinkStates,
    pub executor_cfg: ExecutorCfg,
    pub findings: Vec<Finding>,
    pub launch_faults: Vec<Finding>,
    /// Set if everyone can replace the published file.
    pub open_directory: Option<Finding>,
    /// Uptime at the last such check.
    pub directory_checked_at: Option<Duration>,
    /// The ECR registries that the last sound container-executor.cfg trusted.
    pub trusted: Vec<EcrRegistry>,
    /// Which images container-executor.cfg trusts now, by registry.
    pub trust: BTreeMap<HostName, Trust>,
    /// The registries to serve: those in the settings and the trusted ones.
    pub registries: Vec<RegistrySettings>,
    pub tokens: Tokens,
    pub probes: Probes,
    /// The last AWS outcome of each scope.
    pub answers: BTreeMap<TokenScope, AwsOutcome>,
    /// The file's last valid content.
    pub static_credentials: Option<StaticCredentials>,
    pub static_credentials_error: Option<Problem>,
    /// Consecutive requests that the Docker engine did not answer.
    pub docker_misses: u32,
    /// Its last answer.
    pub docker: Option<DockerEngine>,
    pub server_clock: ServerClock,
    /// Uptime at the last check of the AWS principals.
    pub principals_checked_at: Duration,
    /// Why the last reload was rejected.
    pub settings_error: Option<String>,
    /// Newest first.
    pub recent_events: VecDeque<RecentEvent>,
    /// The notes that this node has left next to the published file.
    pub notes: Notes,
    /// Uptime when the last step of a pass began, or the pass ended.
    pub progress: Duration,
}

impl State {
    /// The state before the first pass.
    pub(super) fn new(node: String, sinks: SinkStates) -> Self {
        Self {
            node,
            sinks,
            executor_cfg: ExecutorCfg::Absent(Problem::waiting("the first pass", "not read yet")),
            findings: Vec::new(),
            launch_faults: Vec::new(),
            open_directory: None,
            directory_checked_at: None,
            trusted: Vec::new(),
            trust: BTreeMap::new(),
            registries: Vec::new(),
            tokens: Tokens::default(),
            probes: Probes::default(),
            answers: BTreeMap::new(),
            static_credentials: None,
            static_credentials_error: None,
            docker_misses: 0,
            docker: None,
            server_clock: ServerClock::default(),
            principals_checked_at: Duration::ZERO,
            settings_error: None,
            recent_events: VecDeque::new(),
            notes: Notes::default(),
            progress: Duration::ZERO,
        }
    }

    /// The status that the endpoints, systemd, the commands and the log show.
    pub(super) fn status(&self, settings: &Settings) -> Status {
        Status {
            node: self.node.clone(),
            minimum_validity: settings.refresh.minimum_validity,
            pass_interval: settings.refresh.pass_interval,
            registries: self.registries.iter().map(|wanted| self.registry_status(wanted, settings)).collect(),
            static_credentials: settings.static_credentials.as_ref().map(|path| StaticStatus {
                path: path.display().to_string(),
                names: self.static_credentials.iter().flat_map(|file| file.names().cloned()).collect(),
                error: self.static_credentials_error.clone(),
            }),
            sinks: self.sinks.iter().map(|sink| self.sink_status(sink)).collect(),
            executor_cfg: self.executor_cfg.clone(),
            findings: self.findings.iter().chain(&self.open_directory).cloned().collect(),
            launch_faults: self.launch_faults.clone(),
            server_clock: self.server_clock,
            settings_error: self.settings_error.clone(),
            recent_events: self.recent_events.iter().cloned().collect(),
            heartbeat: self.progress,
            progress: self.progress,
            progress_bound: settings.refresh.pass_interval
                + settings.deadlines.ecr
                + settings.deadlines.hdfs
                + settings.deadlines.files
                + PROGRESS_SLACK,
        }
    }

    fn registry_status(&self, wanted: &RegistrySettings, settings: &Settings) -> RegistryStatus {
        let renewal = self.renewal(settings);
        let attempts = self.tokens.get(&wanted.scope).cloned().unwrap_or_default();
        let token = attempts.token.as_ref();
        let probe = token.and_then(|token| self.probes.result(wanted.registry.host(), &token.auth));
        let coordination = self.coordination(settings);
        RegistryStatus {
            asks_after: attempts.asks_after(renewal, coordination),
            lock_wait: attempts.lock_wait.clone(),
            registry: wanted.registry.clone(),
            aliases: wanted.aliases.clone(),
            scope: wanted.scope.clone(),
            expires_at: token.map(|token| token.expires_at),
            refresh_at: attempts.refresh_at(renewal),
            last_success_at: attempts.last_success_at,
            last_attempt_at: attempts.last_attempt_at,
            consecutive_failures: attempts.consecutive_failures,
            probe: probe.cloned(),
            trust: self.trust.get(wanted.registry.host()).copied(),
            proof: attempts.proof,
            last_error: attempts.last_error,
        }
    }

    /// Adds the registries' probe results for the credentials in the file, including those written by others.
    fn sink_status(&self, sink: &SinkState) -> SinkStatus {
        let probe = |wanted: &RegistrySettings, name: &HostName| {
            let auth = sink.auths.get(&name.into())?;
            let decisive = self.knowledge().decisive_probe(&wanted.scope, auth);
            let result = decisive.filter(|result| result.is_rejected()).or(self.probes.result(name, auth))?;
            Some((EntryName::from(name), result.clone()))
        };
        let probes = self.registries.iter().flat_map(|r| r.names().filter_map(move |name| probe(r, name)));
        SinkStatus { probes: probes.collect(), ..sink.status.clone() }
    }

    /// What is known about the tokens.
    pub(super) fn knowledge(&self) -> Knowledge<'_> {
        Knowledge { registries: &self.registries, tokens: &self.tokens, probes: &self.probes }
    }

    /// Time until a rejected token that is still valid must be probed again; `None` if there is none.
    pub(super) fn probe_in(&self, now: Moment) -> Option<Duration> {
        let server_now = self.server_clock.at(now);
        let waits = self.registries.iter().flat_map(|wanted| {
            let token = self.tokens.get(&wanted.scope).and_then(|attempts| attempts.token.as_ref());
            let token = token.filter(|token| token.expires_at > server_now);
            let wait = move |name: &HostName| {
                let auth = &token?.auth;
                self.probes.wait(name, auth, now).filter(|_| self.probes.rejects(name, auth))
            };
            wanted.names().filter_map(wait)
        });
        waits.min()
    }

    pub(super) fn renewal(&self, settings: &Settings) -> Renewal {
        let refresh = &settings.refresh;
        let jitter_fraction = jitter_fraction(&self.node);
        Renewal { renew_at: refresh.renew_at, jitter: refresh.jitter, jitter_fraction }
    }

    /// Coordinated if the published copy was reachable at its last reconciliation.
    pub(super) fn coordination(&self, settings: &Settings) -> Coordination {
        if self.sinks.published.is_in_order() {
            Coordination::Coordinated
        } else {
            Coordination::Isolated { jitter: settings.refresh.isolated_jitter }
        }
    }
}
