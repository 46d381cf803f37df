//! All that the agent knows from one pass to the next, and the status that follows from it.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::check::AwsOutcome;
use domain::credentials::{StaticCredentials, TokenScope};
use domain::findings::Finding;
use domain::problem::Problem;
use domain::refresh::schedule::{Coordination, Renewal, jitter_fraction};
use domain::refresh::{Probes, Tokens};
use domain::registry::{EcrRegistry, HostName};
use domain::settings::{RegistrySettings, Settings};
use domain::status::{ExecutorCfg, RegistryStatus, StaticStatus, Status, Trust};
use domain::time::ServerClock;

use super::sinks::SinkStates;

/// On top of what a pass may wait for others, before the main loop counts as stuck.
const HEARTBEAT_SLACK: Duration = Duration::from_secs(30);

pub(super) struct State {
    pub node: String,
    pub sinks: SinkStates,
    pub executor_cfg: ExecutorCfg,
    pub findings: Vec<Finding>,
    /// The trusted ECR registries by the last sound container-executor.cfg.
    pub trusted: Vec<EcrRegistry>,
    /// Which images container-executor.cfg trusts now, by registry.
    pub trust: BTreeMap<HostName, Trust>,
    /// The registries to serve, by the settings and what is trusted.
    pub registries: Vec<RegistrySettings>,
    pub tokens: Tokens,
    pub probes: Probes,
    /// How each scope was last answered.
    pub answers: BTreeMap<TokenScope, AwsOutcome>,
    /// The content of the file when it was last good.
    pub static_credentials: Option<StaticCredentials>,
    pub static_credentials_error: Option<Problem>,
    pub server_clock: ServerClock,
    /// The uptime of the last check who the AWS principals are.
    pub principals_checked_at: Duration,
    /// Why the last reload was refused.
    pub settings_error: Option<String>,
    /// The uptime when the main loop last made progress.
    pub heartbeat: Duration,
}

impl State {
    /// Before the first pass.
    pub(super) fn new(node: String, sinks: SinkStates) -> Self {
        Self {
            node,
            sinks,
            executor_cfg: ExecutorCfg::Absent(Problem::waiting("the first pass", "not read yet")),
            findings: Vec::new(),
            trusted: Vec::new(),
            trust: BTreeMap::new(),
            registries: Vec::new(),
            tokens: Tokens::default(),
            probes: Probes::default(),
            answers: BTreeMap::new(),
            static_credentials: None,
            static_credentials_error: None,
            server_clock: ServerClock::default(),
            principals_checked_at: Duration::ZERO,
            settings_error: None,
            heartbeat: Duration::ZERO,
        }
    }

    /// What the endpoints, systemd, the commands and the log show.
    pub(super) fn status(&self, settings: &Settings) -> Status {
        let renewal = self.renewal(settings);
        Status {
            node: self.node.clone(),
            minimum_validity: settings.refresh.minimum_validity,
            pass_interval: settings.refresh.pass_interval,
            registries: self.registries.iter().map(|wanted| self.registry_status(wanted, renewal)).collect(),
            static_credentials: settings.static_credentials.as_ref().map(|path| StaticStatus {
                path: path.display().to_string(),
                names: self.static_credentials.iter().flat_map(|file| file.names().cloned()).collect(),
                error: self.static_credentials_error.clone(),
            }),
            sinks: self.sinks.iter().map(|sink| sink.status.clone()).collect(),
            executor_cfg: self.executor_cfg.clone(),
            findings: self.findings.clone(),
            server_clock: self.server_clock,
            settings_error: self.settings_error.clone(),
            heartbeat: self.heartbeat,
            heartbeat_bound: settings.refresh.pass_interval
                + settings.deadlines.ecr
                + settings.deadlines.hdfs
                + HEARTBEAT_SLACK,
        }
    }

    fn registry_status(&self, wanted: &RegistrySettings, renewal: Renewal) -> RegistryStatus {
        let attempts = self.tokens.get(&wanted.scope).cloned().unwrap_or_default();
        let token = attempts.token.as_ref();
        let probe = token.and_then(|token| self.probes.result(wanted.registry.host(), token));
        RegistryStatus {
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
            adopted: attempts.adopted,
            last_error: attempts.last_error,
        }
    }

    pub(super) fn renewal(&self, settings: &Settings) -> Renewal {
        let refresh = &settings.refresh;
        let jitter_fraction = jitter_fraction(&self.node);
        Renewal { renew_at: refresh.renew_at, jitter: refresh.jitter, jitter_fraction }
    }

    /// Whether the published copy could be reached, the last time.
    pub(super) fn coordination(&self, settings: &Settings) -> Coordination {
        if self.sinks.published.is_in_order() {
            Coordination::Coordinated
        } else {
            Coordination::Isolated { jitter: settings.refresh.isolated_jitter }
        }
    }
}
