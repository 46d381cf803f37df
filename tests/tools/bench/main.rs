//! `make bench`: measures the agent on real parts against the tools it replaces. Prints the figures as a table, writes
//! them as JSON, and updates the table in docs/performance.md.
//!
//! Targets are medians and ratios within one run, since absolute times depend on the machine. A missed target is
//! reported and fails the run only with BENCH_STRICT=1.

mod check;
mod clients;
mod document;
mod figures;
mod meter;
mod plan;
mod process;
mod refresh;
mod rest;
mod scale;
mod setup;
mod size;
mod start;

use std::env;
use std::error::Error;
use std::process::ExitCode;

use tokio::runtime::Builder;
use tokio::task::LocalSet;

use figures::{Results, Section};
use plan::{Measure, Plan};
use setup::Setup;

/// The result of a measurement. An error ends the run.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["measure", command @ ..] => meter::measure(command),
        ["clients", config, count, interval, length] => clients::Load::parse(config, count, interval, length)
            .and_then(|load| run_here(clients::run(load))),
        [] => Plan::from_environment().and_then(|plan| run_here(bench(plan))),
        _ => {
            eprintln!("usage: bench   (settings come from the environment: see docs/performance.md)");
            return ExitCode::from(64);
        }
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("bench: {}", chain(error.as_ref()));
        ExitCode::FAILURE
    })
}

// On the main thread: the kernel kills the servers when the thread that started them ends.
fn run_here<T>(future: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, future)
}

async fn bench(plan: Plan) -> Outcome<ExitCode> {
    let mut setup = Setup::build().await?;
    let mut sections = Vec::new();
    for measure in plan.measures() {
        eprintln!("bench: {}", measure.title());
        let section = measured(measure, &mut setup, &plan).await?;
        eprintln!("{section}");
        sections.push(section);
    }
    let results = Results::new(sections);
    println!("{}", results.markdown());
    document::write(&results, &plan)?;
    let missed = results.missed();
    eprintln!("bench: {missed} targets missed");
    Ok(if plan.strict && missed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn measured(measure: Measure, setup: &mut Setup, plan: &Plan) -> Outcome<Section> {
    match measure {
        Measure::Refresh => refresh::measure(setup, plan).await,
        Measure::Rest => rest::measure(setup, plan).await,
        Measure::Start => start::measure(setup, plan).await,
        Measure::Scale => scale::measure(setup, plan).await,
        Measure::Check => check::measure(setup, plan).await,
        Measure::Size => size::measure(plan),
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
