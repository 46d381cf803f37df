//! Scale: the load that growing clusters put on one NameNode, while nothing changes and when a token is renewed.
//!
//! Intervals are shorter than a daemon's; figures per agent and interval do not depend on that.

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
use crate::clients::{Load, Totals};
use crate::figures::{Bar, Figure, Section, Unit};
use crate::plan::{Measure, Plan};
use crate::process::Snapshot;
use crate::setup::Setup;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the NameNode has ended")]
    NoNameNode,
    #[error("the clients failed: {message}")]
    Clients { message: String },
    #[error("cannot parse the clients' report")]
    Report(#[from] serde_json::Error),
}

/// The load from a cluster of one size.
struct Cost {
    count: f64,
    /// While nothing changed.
    rpcs_per_pass: f64,
    /// Seconds, without the NameNode's idle load.
    cpu_per_pass: f64,
    /// When the token was renewed.
    writes: f64,
    calls_to_ecr: f64,
    totals: Totals,
}

pub(crate) async fn measure(setup: &Setup, plan: &Plan) -> Outcome<Section> {
    let mut section = Section::new(Measure::Scale.title());
    let idle = idle_share(setup).await?;
    section
        .note(format!("The NameNode uses {:.2} % of a core when idle, which is subtracted.", idle * 100.0));
    for count in &plan.agents {
        let cost = cluster(setup, u32::try_from(*count)?, idle).await;
        setup.testbed.ecr.set_token_life(TWELVE_HOURS);
        add(&cost?, &mut section);
    }
    section.note(
        "With one pass a minute, a NameNode receives a sixtieth as many RPCs a second as there are agents.",
    );
    Ok(section)
}

fn add(cost: &Cost, section: &mut Section) {
    let Cost { count, rpcs_per_pass, cpu_per_pass, writes, calls_to_ecr, totals } = cost;
    let mut figure = |what: &str, unit, value, bar| {
        let figure = Figure::new(format!("{count} agents: {what}"), unit, value);
        section.add(match bar {
            Some(most) => figure.bar(Bar::AtMost(most)),
            None => figure,
        });
    };
    // Passes drift across the window's boundaries.
    figure("RPCs per pass", Unit::Plain, *rpcs_per_pass, Some(1.05));
    figure("RPCs per second at one pass a minute", Unit::Plain, count * rpcs_per_pass / 60.0, None);
    figure("NameNode's CPU per pass", Unit::Seconds, *cpu_per_pass, None);
    figure(
        "NameNode's CPU per second at one pass a minute",
        Unit::Seconds,
        count * cpu_per_pass / 60.0,
        None,
    );
    figure("published files written per renewal", Unit::Plain, *writes, Some(1.0));
    figure("calls to ECR per renewal", Unit::Plain, *calls_to_ecr, Some(1.0));
    if totals.errors > 0 {
        let first = totals.first_error.as_deref().unwrap_or_default();
        section.note(format!(
            "{count} agents: {} errors in {} passes, first: {first}",
            totals.errors, totals.passes
        ));
    }
}

async fn cluster(setup: &Setup, count: u32, idle: f64) -> Outcome<Cost> {
    setup.clear().await?;
    let interval = Duration::from_secs(u64::from(count / 50).max(10));
    let life = interval * 14;
    setup.testbed.ecr.set_token_life(SignedDuration::try_from(life)?);
    let load = Load { config: settings(setup)?, count, interval, length: interval * 10 };
    let program = command(setup, &load)?;
    let clients = tokio::process::Command::from(program).kill_on_drop(true).spawn()?;

    // All clients have fetched the server's defaults after three intervals, and the token is due after seven; stay
    // half an interval away from both.
    sleep(interval * 7 / 2).await;
    let first = Reading::of(setup)?;
    sleep(interval * 3).await;
    let second = Reading::of(setup)?;
    let output = clients.wait_with_output().await?;
    let third = Reading::of(setup)?;
    if !output.status.success() {
        return Err(Error::Clients { message: String::from_utf8_lossy(&output.stderr).into_owned() }.into());
    }
    let totals = serde_json::from_slice(&output.stdout).map_err(Error::Report)?;
    let passes = f64::from(count) * 3.0;
    let watched = interval.as_secs_f64() * 3.0;
    Ok(Cost {
        count: f64::from(count),
        rpcs_per_pass: (second.rpcs - first.rpcs) / passes,
        cpu_per_pass: (second.cpu - first.cpu - idle * watched).max(0.0) / passes,
        writes: third.writes - second.writes,
        calls_to_ecr: third.calls_to_ecr - second.calls_to_ecr,
        totals,
    })
}

/// The counters at one moment.
struct Reading {
    rpcs: f64,
    cpu: f64,
    writes: f64,
    calls_to_ecr: f64,
}

impl Reading {
    fn of(setup: &Setup) -> Outcome<Self> {
        let process = setup.hdfs.namenode_process().ok_or(Error::NoNameNode)?;
        Ok(Self {
            rpcs: setup.namenode.calls().values().sum::<u64>() as f64,
            cpu: Snapshot::at(process)?.cpu,
            writes: setup.calls_of("rename2") as f64,
            calls_to_ecr: setup.testbed.ecr.calls().len() as f64,
        })
    }
}

/// The share of a core that an idle NameNode uses.
async fn idle_share(setup: &Setup) -> Outcome<f64> {
    let before = Reading::of(setup)?;
    sleep(IDLE).await;
    Ok((Reading::of(setup)?.cpu - before.cpu) / IDLE.as_secs_f64())
}

const IDLE: Duration = Duration::from_secs(10);

fn settings(setup: &Setup) -> Outcome<PathBuf> {
    let mut settings = setup.testbed.settings.clone();
    settings.set("discover_registries", false).registry(TRUSTED_REGISTRY, &[]);
    setup.testbed.node.write("clients.toml", &settings.to_string())?;
    Ok(setup.testbed.node.path("clients.toml"))
}

fn command(setup: &Setup, load: &Load) -> Outcome<Command> {
    let mut command = process::bound_to_parent(&env::current_exe()?);
    command.arg("clients").args(load.args()).env_clear().env("HOME", setup.testbed.node.home_dir());
    command.envs(setup.testbed.environment.iter().cloned());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command)
}
