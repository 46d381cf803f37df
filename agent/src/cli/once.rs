//! `once`: one pass in the foreground, for scripts and for trying things out.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use domain::settings::{LibraryLogLevel, LogFormat, LogLevel, LogSettings};
use domain::status::Report;
use serde::Serialize;

use super::{ConfigOption, Exit, FAILURE, runtime};
use crate::agent::{Agent, PassReport, Wake};
use crate::io::clock::Clock;
use crate::io::log;
use crate::io::metrics::Metrics;
use crate::place::Intent;
use crate::wiring::Node;

/// How often it is looked whether another node's turn has ended.
const TURN_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigOption,
    /// Say what would be written, and write nothing; tokens are fetched all the same
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
    /// Whether every place is fresh now.
    fresh: bool,
    changes: Vec<ChangeLine<'a>>,
    errors: &'a [String],
    status: Report,
}

#[derive(Serialize)]
struct ChangeLine<'a> {
    place: &'a str,
    change: String,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Exit> {
    let mut settings = options.config.read()?;
    // Whoever asks for one pass wants it now.
    settings.refresh.lone_spread = Duration::ZERO;
    // Errors are part of the result: the log would only say them twice.
    log::start(&LogSettings {
        level: LogLevel::Error,
        libraries: LibraryLogLevel::Error,
        format: LogFormat::Text,
        file: None,
    })?;
    log::redact_panics();
    crate::io::process::forbid_core_dumps()?;
    let intent = if options.dry_run { Intent::Tell } else { Intent::CarryOut };
    let clock = Clock::start();
    let mut agent = Agent::new(
        settings.clone(),
        Box::new(Node::unwatched(clock, options.config.file())),
        Metrics::new()?,
    );
    let runtime = runtime()?;
    // A turn whose holder died is taken over after this time.
    let patience = settings.deadlines.turn() + 2 * TURN_PAUSE;
    let pass = runtime.block_on(async {
        let began = clock.now().uptime;
        let mut pass = agent.pass(Wake::Start, intent).await;
        while pass.yields && clock.now().uptime.saturating_sub(began) < patience {
            tokio::time::sleep(TURN_PAUSE).await;
            let mut changes = pass.changes;
            pass = agent.pass(Wake::Start, intent).await;
            changes.append(&mut pass.changes);
            pass.changes = changes;
        }
        pass
    });
    runtime.shutdown_background();
    let status = Report::new(&agent.status().borrow(), clock.now());
    let outcome = Outcome::new(options.dry_run, &pass, status);
    if options.json {
        println!("{}", serde_json::to_string_pretty(&outcome)?);
    } else {
        outcome.print();
    }
    Ok(if outcome.fresh { ExitCode::SUCCESS } else { ExitCode::from(FAILURE) })
}

impl<'a> Outcome<'a> {
    fn new(dry_run: bool, pass: &'a PassReport, status: Report) -> Self {
        let changes =
            pass.changes.iter().map(|(place, change)| ChangeLine { place, change: change.to_string() });
        Self {
            dry_run,
            fresh: !status.registries.is_empty() && status.places.iter().all(|place| place.fresh),
            changes: changes.collect(),
            errors: &pass.errors,
            status,
        }
    }

    fn print(&self) {
        let would = if self.dry_run { "would be " } else { "" };
        for line in &self.changes {
            println!("{} {would}{}", line.place, line.change);
        }
        for place in &self.status.places {
            let fresh = if place.fresh { "fresh" } else { "not fresh" };
            let until =
                place.expires_at.map_or_else(String::new, |at| format!(", soonest credential ends {at}"));
            println!("{}:{} {fresh}{until}", place.kind.as_str(), place.path);
        }
        for error in self.errors {
            eprintln!("error: {error}");
        }
        if self.status.registries.is_empty() {
            eprintln!("error: no ECR registry is set, and container-executor.cfg trusts none");
        }
    }
}
