//! Many agents in one process. Each runs the passes of the real loop and uses HDFS as the daemon does, but reads no
//! files of a node, writes no local Docker config, and has a registry that accepts every token.

use std::future::{Future, ready};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use domain::check::{self, DockerEngine, HadoopVersion, Inputs};
use domain::credentials::{Credentials, StaticCredentials, Token};
use domain::problem::Problem;
use domain::refresh::{Probe, ProbeResult};
use domain::registry::HostName;
use domain::settings::Settings;
use domain::time::Moment;
use emr_ecr_agent::agent::{Agent, Call, Parts, PassReport, RegistryProbe, Wake, World};
use emr_ecr_agent::io::clock::Clock;
use emr_ecr_agent::io::ecr::Ecr;
use emr_ecr_agent::io::hdfs::{AbandonedThreads, PublishedSink};
use emr_ecr_agent::io::metrics::Metrics;
use emr_ecr_agent::io::node::ThisMachine;
use emr_ecr_agent::io::settings_file::SettingsFile;
use emr_ecr_agent::sink::Intent;
use hadoop_rules::Rules;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::Outcome;

/// `count` agents with these settings, each with one pass per interval.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub config: PathBuf,
    pub count: u32,
    pub interval: Duration,
    pub length: Duration,
}

/// The sums over all agents.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Totals {
    pub passes: u64,
    pub writes: u64,
    pub refreshes: u64,
    pub errors: u64,
    pub first_error: Option<String>,
}

impl Load {
    pub(crate) fn parse(config: &str, count: &str, interval: &str, length: &str) -> Outcome<Self> {
        Ok(Self {
            config: config.into(),
            count: count.parse()?,
            interval: Duration::from_secs(interval.parse()?),
            length: Duration::from_secs(length.parse()?),
        })
    }

    /// The arguments for [`Load::parse`].
    pub(crate) fn args(&self) -> [String; 4] {
        let (interval, length) = (self.interval.as_secs(), self.length.as_secs());
        [self.config.display().to_string(), self.count.to_string(), interval.to_string(), length.to_string()]
    }
}

/// Runs the agents and prints the totals as JSON.
pub(crate) async fn run(load: Load) -> Outcome<ExitCode> {
    let mut settings = SettingsFile::new(Some(load.config.clone())).read()?;
    // A pass that starts a little early must still read HDFS.
    settings.refresh.pass_interval = load.interval.saturating_sub(Duration::from_secs(1));
    let started = Instant::now();
    let mut agents = JoinSet::new();
    for index in 0..load.count {
        // Offset by a quarter of the gap between agents, so that no pass starts while the counters are read.
        let first = started + load.interval * (4 * index + 1) / (4 * load.count);
        let node =
            LightNode { name: format!("ip-10-0-{}-{}", index / 256, index % 256), clock: Clock::start() };
        let agent = Agent::new(settings.clone(), Box::new(node), Metrics::new()?);
        agents.spawn_local(live(agent, first, started + load.length, load.interval));
    }
    let mut all = Totals::default();
    while let Some(totals) = agents.join_next().await {
        all.add(totals?);
    }
    println!("{}", serde_json::to_string(&all)?);
    Ok(ExitCode::SUCCESS)
}

async fn live(mut agent: Agent, first: Instant, end: Instant, interval: Duration) -> Totals {
    let mut ticks = interval_at(first, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut totals = Totals::default();
    let mut wake = Wake::Start;
    while ticks.tick().await < end {
        totals.note(agent.pass(wake, Intent::Apply).await);
        wake = Wake::Timer;
    }
    totals
}

impl Totals {
    fn note(&mut self, report: PassReport) {
        self.passes += 1;
        self.writes += report.changes.len() as u64;
        self.refreshes += report.refreshed.len() as u64;
        self.errors += report.errors.len() as u64;
        self.first_error = self.first_error.take().or(report.errors.into_iter().next());
    }

    fn add(&mut self, other: Self) {
        self.passes += other.passes;
        self.writes += other.writes;
        self.refreshes += other.refreshes;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
    }
}

struct LightNode {
    name: String,
    clock: Clock,
}

impl World for LightNode {
    fn now(&self) -> Moment {
        self.clock.now()
    }

    fn random(&self) -> f64 {
        fastrand::f64()
    }

    fn node_name(&self) -> String {
        self.name.clone()
    }

    fn read_settings(&self) -> Call<'_, Result<Settings, String>> {
        Box::pin(ready(Err("settings are not reloaded".to_owned())))
    }

    fn static_credentials(&self, path: &Path, _: Duration) -> Call<'_, Result<StaticCredentials, Problem>> {
        Box::pin(ready(Err(Problem::new(format!("{} is not read", path.display())))))
    }

    fn parts(&self, settings: &Settings) -> Parts {
        let conf_dir = settings.hadoop_conf_dir.clone();
        let published = PublishedSink::new(
            settings.published.clone(),
            conf_dir,
            self.name.clone(),
            &settings.deadlines,
            AbandonedThreads::default(),
        );
        Parts {
            tokens: Box::new(Ecr::new(settings.deadlines.ecr)),
            registries: Box::new(AcceptsAll),
            local: Vec::new(),
            published: Box::new(published),
        }
    }

    fn inputs(&self, settings: &Settings) -> Call<'_, Result<Inputs<'static>, Problem>> {
        let inputs = Inputs {
            registries: settings.registries.iter().map(|settings| settings.registry.clone()).collect(),
            machine: &ThisMachine,
            ..Inputs::nothing(HadoopVersion::named(Rules::V3_3), self.clock.now().wall)
        };
        Box::pin(ready(Ok(inputs)))
    }

    fn docker(&self, _: &Settings, _: Vec<String>) -> Call<'_, Option<DockerEngine>> {
        Box::pin(ready(None))
    }

    fn check(&self, _: &Settings, inputs: Inputs<'static>) -> Call<'_, Result<check::Report, Problem>> {
        Box::pin(ready(Ok(check::run(&inputs))))
    }

    fn warm(&self, _: &Settings, _: Credentials) {}

    fn settle(&self, _: &Settings) -> Call<'_, ()> {
        Box::pin(ready(()))
    }

    fn changed(&self) -> Call<'_, ()> {
        Box::pin(std::future::pending())
    }
}

struct AcceptsAll;

impl RegistryProbe for AcceptsAll {
    fn probe(&self, _: HostName, _: Token) -> Pin<Box<dyn Future<Output = Probe> + Send>> {
        Box::pin(async { Probe { result: ProbeResult::Accepted, clock_skew: Some(SignedDuration::ZERO) } })
    }
}
