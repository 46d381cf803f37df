//! `make demo`: the agent's main job from start to end, on real parts. Three tokens arrive, are published, reach docker
//! through YARN's own class, pull an image, and are rejected once the next one has arrived.
//!
//! Everything is on loopback and in temporary directories. With KEEP=1 in the environment it keeps running until
//! Ctrl-C.

mod sandbox;
mod steps;

use std::env;
use std::process::ExitCode;

use emr_ecr_agent_tests::screen::{Failure, Screen};
use tokio::signal;

// On the main thread: the kernel kills the servers when the thread that started them ends.
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
        // If it cannot wait for signals, it ends at once.
        let _ = signal::ctrl_c().await;
    }
    steps::end(screen, sandbox).await?;
    Ok(ExitCode::SUCCESS)
}
