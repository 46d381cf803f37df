//! `make demo`: the agent's main job as users see it, on real parts. A NodeManager launches containers of a private
//! image while the token is replaced, a copy is published by hand, and container-executor.cfg gets an extra space.
//!
//! Everything is on loopback and in temporary directories. With KEEP=1 in the environment the demo keeps running
//! until Ctrl-C. Without root or a working Docker engine, it shows how tokens reach docker through YARN's own class.
//! `demo launch` launches a container on the cluster of a demo that keeps running.

mod launching;
mod launching_sandbox;
mod reading;
mod reading_sandbox;

use std::env;
use std::error::Error;
use std::net::AddrParseError;
use std::process::ExitCode;

use emr_ecr_agent_tests::parts;
use emr_ecr_agent_tests::screen::{Failure, Screen};
use emr_ecr_agent_tests::yarn_cluster::{self, Launch, Rest};
use tokio::signal;

// On the main thread: the kernel kills the servers when the thread that started them ends.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let screen = Screen::new();
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let shown = match words.as_slice() {
        [] => demonstrate(&screen).await,
        ["launch", address, partition, image, client_config, command] => {
            let rest = address.parse().map(|address| Rest::at(address, (*partition).to_owned()));
            launch(&screen, rest, &Launch::docker(image, command).client_config(client_config)).await
        }
        _ => {
            eprintln!(
                "usage: demo\n       demo launch RESOURCEMANAGER PARTITION IMAGE CLIENT_CONFIG COMMAND"
            );
            return ExitCode::from(64);
        }
    };
    shown.unwrap_or_else(|failure| {
        screen.failed(failure.as_ref());
        ExitCode::FAILURE
    })
}

async fn demonstrate(screen: &Screen) -> Result<ExitCode, Box<dyn Error>> {
    let keep = env::var("KEEP").is_ok_and(|value| !value.is_empty() && value != "0");
    if let Some(obstacle) = yarn_cluster::obstacle() {
        return Ok(show_less(screen, keep, &obstacle).await?);
    }
    match launching::show(screen, keep).await {
        Err(failure) if is_no_engine(&failure) => {
            screen.failed(&failure);
            Ok(show_less(screen, keep, "no Docker engine runs here").await?)
        }
        shown => Ok(shown?),
    }
}

async fn show_less(screen: &Screen, keep: bool, obstacle: &str) -> Result<ExitCode, Failure> {
    let warn = || {
        screen.warn(&format!("LEFT OUT: NodeManagers and containers of Docker: {obstacle}"));
    };
    warn();
    let code = reading::show(screen, keep).await?;
    warn();
    // CI would not notice the warning.
    Ok(if parts::in_ci() { ExitCode::FAILURE } else { code })
}

fn is_no_engine(failure: &Failure) -> bool {
    let cause = failure.source().and_then(|cause| cause.downcast_ref::<yarn_cluster::Error>());
    matches!(cause, Some(yarn_cluster::Error::NoEngine { .. }))
}

async fn launch(
    screen: &Screen,
    rest: Result<Rest, AddrParseError>,
    launch: &Launch,
) -> Result<ExitCode, Box<dyn Error>> {
    let launched = rest?.launch(launch).await?;
    screen.line(&launched.diagnostics);
    let exit_code = launched.exit_code.map_or("none".to_owned(), |code| code.to_string());
    screen.line(&format!("{} on {}: exit code {exit_code}", launched.application, launched.host));
    Ok(ExitCode::SUCCESS)
}

/// Runs a story. Optionally keeps its world until Ctrl-C, and then ends it.
async fn play<W>(
    screen: &Screen,
    story: impl Future<Output = Result<W, Failure>>,
    keep: Option<impl FnOnce(&W)>,
    end: impl AsyncFnOnce(W) -> Result<(), Failure>,
) -> Result<ExitCode, Failure> {
    let world = tokio::select! {
        world = story => world?,
        _interrupt = signal::ctrl_c() => {
            screen.line("\ninterrupted; everything is stopped");
            return Ok(ExitCode::from(130));
        }
    };
    if let Some(show_commands) = keep {
        show_commands(&world);
        // If waiting for the signal fails, end at once.
        let _ = signal::ctrl_c().await;
    }
    end(world).await?;
    screen.line("\nEverything is stopped and removed.");
    Ok(ExitCode::SUCCESS)
}
