//! Scale: what clusters of growing size ask of one NameNode, while nothing changes and when a token is renewed.
//!
//! Intervals are shorter than a daemon's, so figures are told per agent and interval, which does not depend on it.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use emr_ecr_agent_tests::node::TRUSTED_REGISTRY;
use emr_ecr_agent_tests::process;
use emr_ecr_agent_tests::testbed::TWELVE_HOURS;
use jiff::SignedDuration;
use tokio::time::sleep;

use crate::Outcome;
use crate::clients::{Deeds, Load};
use crate::figures::{Bar, Figure, Section, Unit};
use crate::plan::{Measure, Plan};
use crate::process::Look;
use crate::setup::Stage;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the NameNode has ended")]
    NoNameNode,
    #[error("the clients failed: {message}")]
    Clients { message: String },
    #[error("the clients' report cannot be read")]
    Report(#[from] serde_json::Error),
}

/// What a cluster of one size asked for.
struct Asked {
    count: f64,
    /// While nothing changed.
    rpcs_per_visit: f64,
    /// Seconds, without what the NameNode takes when nobody asks.
    cpu_per_visit: f64,
    /// When the token was renewed.
    writes: f64,
    calls_to_ecr: f64,
    deeds: Deeds,
}

pub async fn measure(stage: &Stage, plan: &Plan) -> Outcome<Section> {
    let mut section = Section::new(Measure::Scale.title());
    let idle = idle_share(stage).await?;
    section.note(format!(
        "The NameNode takes {:.2} % of a core when nobody asks; that is taken off.",
        idle * 100.0
    ));
    for count in &plan.agents {
        let asked = cluster(stage, u32::try_from(*count)?, idle).await;
        stage.scene.ecr.set_token_life(TWELVE_HOURS);
        add(&asked?, &mut section);
    }
    section.note(
        "A visit is one agent's look in one interval. Agents look once a minute, so a NameNode gets a sixtieth of as \
         many RPCs a second as there are agents.",
    );
    Ok(section)
}

fn add(asked: &Asked, section: &mut Section) {
    let Asked { count, rpcs_per_visit, cpu_per_visit, writes, calls_to_ecr, deeds } = asked;
    let mut figure = |what: &str, unit, value, bar| {
        let figure = Figure::new(format!("{count} agents: {what}"), unit, value);
        section.add(match bar {
            Some(most) => figure.bar(Bar::AtMost(most)),
            None => figure,
        });
    };
    // The ends of the window cut off a visit, or take one in.
    figure("RPCs per visit", Unit::Plain, *rpcs_per_visit, Some(1.05));
    figure("RPCs per second at one visit a minute", Unit::Plain, count * rpcs_per_visit / 60.0, None);
    figure("NameNode's CPU per visit", Unit::Seconds, *cpu_per_visit, None);
    figure(
        "NameNode's CPU per second at one visit a minute",
        Unit::Seconds,
        count * cpu_per_visit / 60.0,
        None,
    );
    figure("published files written per renewal", Unit::Plain, *writes, Some(1.0));
    figure("calls to ECR per renewal", Unit::Plain, *calls_to_ecr, Some(1.0));
    if deeds.errors > 0 {
        let first = deeds.first_error.as_deref().unwrap_or_default();
        section.note(format!(
            "{count} agents: {} errors in {} passes, first: {first}",
            deeds.errors, deeds.passes
        ));
    }
}

async fn cluster(stage: &Stage, count: u32, idle: f64) -> Outcome<Asked> {
    stage.clear().await?;
    let interval = Duration::from_secs(u64::from(count / 50).max(10));
    let life = interval * 10;
    stage.scene.ecr.set_token_life(SignedDuration::try_from(life)?);
    let load = Load { config: settings(stage)?, count, interval, length: interval * 8 };
    let program = command(stage, &load)?;
    let clients = tokio::process::Command::from(program).kill_on_drop(true).spawn()?;

    // All have begun after one interval; the token is due after five, and half of one is spared on both sides.
    sleep(interval * 3 / 2).await;
    let first = Sight::of(stage)?;
    sleep(interval * 3).await;
    let second = Sight::of(stage)?;
    let output = clients.wait_with_output().await?;
    let third = Sight::of(stage)?;
    if !output.status.success() {
        return Err(Error::Clients { message: String::from_utf8_lossy(&output.stderr).into_owned() }.into());
    }
    let deeds = serde_json::from_slice(&output.stdout).map_err(Error::Report)?;
    let visits = f64::from(count) * 3.0;
    let watched = interval.as_secs_f64() * 3.0;
    Ok(Asked {
        count: f64::from(count),
        rpcs_per_visit: (second.rpcs - first.rpcs) / visits,
        cpu_per_visit: (second.cpu - first.cpu - idle * watched).max(0.0) / visits,
        writes: third.writes - second.writes,
        calls_to_ecr: third.calls_to_ecr - second.calls_to_ecr,
        deeds,
    })
}

/// What has been asked for so far.
struct Sight {
    rpcs: f64,
    cpu: f64,
    writes: f64,
    calls_to_ecr: f64,
}

impl Sight {
    fn of(stage: &Stage) -> Outcome<Self> {
        let process = stage.hdfs.namenode_process().ok_or(Error::NoNameNode)?;
        Ok(Self {
            rpcs: stage.namenode.calls().values().sum::<u64>() as f64,
            cpu: Look::at(process)?.cpu,
            writes: stage.calls_of("rename2") as f64,
            calls_to_ecr: stage.scene.ecr.calls().len() as f64,
        })
    }
}

/// The share of a core that the NameNode takes without clients.
async fn idle_share(stage: &Stage) -> Outcome<f64> {
    let before = Sight::of(stage)?;
    sleep(IDLE).await;
    Ok((Sight::of(stage)?.cpu - before.cpu) / IDLE.as_secs_f64())
}

const IDLE: Duration = Duration::from_secs(10);

fn settings(stage: &Stage) -> Outcome<PathBuf> {
    let mut settings = stage.scene.settings.clone();
    settings.set("discover_registries", false).registry(TRUSTED_REGISTRY, &[]);
    stage.scene.node.write("clients.toml", &settings.to_string())?;
    Ok(stage.scene.node.path("clients.toml"))
}

fn command(stage: &Stage, load: &Load) -> Outcome<Command> {
    let mut command = process::bound_to_parent(&env::current_exe()?);
    command.arg("clients").args(load.args()).env_clear().env("HOME", stage.scene.node.home_dir());
    command.envs(stage.scene.environment.iter().cloned());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command)
}
