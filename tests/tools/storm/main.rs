//! `make storm`: launches private images on two nodes without a pause, with tokens of 20 seconds, published by
//! agents, and by a script with `hadoop fs -put -f`.
//!
//! `STORM_LAUNCHES` is the number of launches with each publisher (300). The exit code is 0 only if every launch
//! with the agents' file ran; it is 77 if root or a part is missing.

use std::env;
use std::process::ExitCode;

use emr_ecr_agent_tests::storm::{self, HEAD, Publisher, Report, Storm};
use emr_ecr_agent_tests::yarn_cluster;
use jiff::SignedDuration;

const TOKEN_LIFE: SignedDuration = SignedDuration::from_secs(20);
const LAUNCHES: usize = 300;
const NO_ROOT: u8 = 77;

// On the main thread: the kernel kills the servers when the thread that started them ends.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let launches = match env::var("STORM_LAUNCHES").as_deref() {
        Err(_) | Ok("") => Some(LAUNCHES),
        Ok(text) => text.parse().ok(),
    };
    let Some(launches) = launches else {
        eprintln!("usage: [STORM_LAUNCHES=N] storm");
        return ExitCode::from(64);
    };
    if let Some(obstacle) = yarn_cluster::obstacle() {
        eprintln!("storm: NOTHING TRIED: {obstacle}");
        return ExitCode::from(NO_ROOT);
    }
    match run(launches).await {
        Ok(agents) if agents.is_calm() => ExitCode::SUCCESS,
        Ok(_) => {
            eprintln!("storm: a launch with the agents' file failed");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("storm: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the agents' report.
async fn run(launches: usize) -> Result<Report, storm::Error> {
    eprintln!("{launches} launches with each publisher, tokens of {} s", TOKEN_LIFE.as_secs());
    let storm = Storm::start(TOKEN_LIFE).await?;
    let agents = storm.launch(Publisher::Agents, launches).await?;
    println!("{HEAD}\n{agents}");
    let script = storm.launch(Publisher::Script, launches).await?;
    println!("{script}");
    for report in [&agents, &script] {
        report
            .failures()
            .for_each(|text| println!("\nA launch that failed ({:?}):\n{text}", report.publisher));
    }
    Ok(agents)
}
