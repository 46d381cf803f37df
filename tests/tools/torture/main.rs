//! `make torture`: tests that no reader of the published file ever sees a bad one, and that, if an attacker can
//! write its directory, no reader sees one for long.
//!
//! `TORTURE_SECONDS` is the duration of each half (180); `--json` prints one line of JSON.

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use emr_ecr_agent_tests::torture::{self, Bar, Plan};
use jiff::SignedDuration;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some((length, json)) = arguments() else {
        eprintln!("usage: [TORTURE_SECONDS=N] torture [--json]");
        return ExitCode::from(64);
    };
    let plan = Plan {
        length,
        bar: Bar::for_length(length),
        token_life: SignedDuration::from_secs(30),
        comparison: (length / 4).max(Duration::from_secs(5)),
        agents: 4,
        readers: 8,
    };
    eprintln!("{} readers and {} agents for {} s", plan.readers, plan.agents, length.as_secs());
    let report = match torture::run(plan).await {
        Ok(report) => report,
        Err(error) => {
            eprintln!("torture: {error}");
            return ExitCode::FAILURE;
        }
    };
    eprintln!("{ATTACKED} agents and mallory for {} s", length.as_secs());
    let attack = match torture::attack(length, ATTACKED).await {
        Ok(attack) => attack,
        Err(error) => {
            eprintln!("torture: {error}");
            return ExitCode::FAILURE;
        }
    };
    if json {
        println!("{}", serde_json::json!({ "readers": report.json(), "attack": attack.json() }));
    } else {
        println!("{report}\n\n{attack}");
    }
    let faults: Vec<String> = report.faults(plan.bar).into_iter().chain(attack.faults()).collect();
    for fault in &faults {
        eprintln!("torture: {fault}");
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The number of agents under attack.
const ATTACKED: usize = 3;

/// The duration, and whether to print JSON.
fn arguments() -> Option<(Duration, bool)> {
    let seconds = match env::var("TORTURE_SECONDS").as_deref() {
        Err(_) | Ok("") => 180,
        Ok(text) => text.parse().ok()?,
    };
    let json = match env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [only] if only == "--json" => true,
        _ => return None,
    };
    Some((Duration::from_secs(seconds), json))
}
