//! `once`: one pass in the foreground, for scripts and for trying things out.

use std::process::ExitCode;

use clap::Args;
use domain::status::StatusReport;
use serde::Serialize;

use super::{ConfigOption, Exit, FAILURE, output, runtime};
use crate::agent::{Agent, PassReport};
use crate::io::clock::Clock;
use crate::io::log;
use crate::io::metrics::Metrics;
use crate::sink::Intent;
use crate::wiring::Node;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigOption,
    /// Show what would change without writing; still fetches tokens
    #[arg(long)]
    dry_run: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// What `once --json` prints.
#[derive(Serialize)]
struct Outcome<'a> {
    dry_run: bool,
    /// Whether every sink is fresh now.
    fresh: bool,
    changes: Vec<ChangeLine<'a>>,
    errors: &'a [String],
    status: StatusReport,
}

#[derive(Serialize)]
struct ChangeLine<'a> {
    sink: &'a str,
    change: String,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Exit> {
    let settings = options.config.read()?;
    // Errors are part of the result: the log would only repeat them.
    let _log = log::start(&options.config.log(&log::ERRORS_ALONE))?;
    log::redact_panics();
    crate::io::process::forbid_core_dumps()?;
    let intent = if options.dry_run { Intent::DryRun } else { Intent::Apply };
    let clock = Clock::start();
    let world = Box::new(Node::unwatched(clock, options.config.file()));
    let mut agent = Agent::new(settings, world, Metrics::new()?);
    let runtime = runtime()?;
    let pass = runtime.block_on(agent.once(intent));
    runtime.shutdown_background();
    let status = StatusReport::new(&agent.status().borrow(), clock.now());
    let outcome = Outcome::new(options.dry_run, &pass, status);
    if options.json {
        output::print_json(&outcome)?;
    } else {
        outcome.print()?;
    }
    Ok(if outcome.fresh { ExitCode::SUCCESS } else { ExitCode::from(FAILURE) })
}

impl<'a> Outcome<'a> {
    fn new(dry_run: bool, pass: &'a PassReport, status: StatusReport) -> Self {
        let changes =
            pass.changes.iter().map(|(sink, change)| ChangeLine { sink, change: change.to_string() });
        Self {
            dry_run,
            fresh: !status.registries.is_empty() && status.sinks.iter().all(|sink| sink.fresh),
            changes: changes.collect(),
            errors: &pass.errors,
            status,
        }
    }

    fn print(&self) -> std::io::Result<()> {
        let would = if self.dry_run { "would be " } else { "" };
        let mut text = String::new();
        for line in &self.changes {
            text += &format!("{} {would}{}\n", line.sink, line.change);
        }
        for sink in &self.status.sinks {
            let fresh = if sink.fresh { "fresh" } else { "not fresh" };
            let until = sink.expires_at.map_or_else(String::new, |at| format!(", earliest expiry {at}"));
            text += &format!("{}:{} {fresh}{until}\n", sink.kind.as_str(), sink.path);
        }
        output::print(&text)?;
        for error in self.errors {
            output::message(&format!("error: {error}"));
        }
        if self.status.registries.is_empty() {
            output::message("error: no ECR registry is configured, and container-executor.cfg trusts none");
        }
        Ok(())
    }
}
