//! `make demo`: the agent's main job, start to end, on real parts: three tokens arrive, are published, are handed to
//! docker by YARN's own class, pull an image, and are refused once the next has come.
//!
//! Everything is on loopback and in fresh directories. With KEEP=1 in the environment it then goes on until Ctrl-C.

mod sandbox;
mod steps;

use std::env;
use std::process::ExitCode;

use emr_ecr_agent_tests::screen::{Failure, Screen};
use tokio::signal;

// One thread, and the main one: the kernel ends the servers when the thread that started them ends.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let keep = env::var("KEEP").is_ok_and(|value| !value.is_empty() && value != "0");
    let screen = Screen::new();
    match demonstrate(&screen, keep).await {
        Ok(code) => code,
        Err(failure) => {
            screen.failed(&failure);
            ExitCode::FAILURE
        }
    }
}

async fn demonstrate(screen: &Screen, keep: bool) -> Result<ExitCode, Failure> {
    let sandbox = tokio::select! {
        sandbox = steps::main_job(screen) => sandbox?,
        _interrupt = signal::ctrl_c() => {
            screen.line("\ninterrupted; everything is stopped");
            return Ok(ExitCode::from(130));
        }
    };
    if keep {
        steps::show_addresses(screen, &sandbox);
        // If signals cannot be waited for, it ends at once.
        let _ = signal::ctrl_c().await;
    }
    steps::end(screen, sandbox).await?;
    Ok(ExitCode::SUCCESS)
}
