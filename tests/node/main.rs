//! `make node-test`: a node with real systemd, laid out as EMR lays out a node while bootstrap actions run, and on it
//! what a user of the package does, as EMR does it: install, live through faults, upgrade, uninstall.
//!
//! The node is booted by systemd-nspawn from the part "node", with an overlay in memory that vanishes with it. HDFS is
//! real; ECR and the instance metadata are stand-ins; all share this machine's loopback.

mod emr;
mod faults;
mod foreign;
mod life;
mod machine;
mod packages;
mod rpm;
#[path = "../src/bin/demo/screen.rs"]
mod screen;
mod world;

use std::env;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use machine::Machine;
use packages::Packages;
use screen::{Failure, Screen};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

// One thread, and the main one: the kernel ends the servers when the thread that started them ends.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let screen = Screen::new();
    let Some(dist) = env::args_os().nth(1).map(PathBuf::from) else {
        screen.failed("usage: node-test FOLDER   (what `make package` has built)");
        return ExitCode::from(64);
    };
    if let Err(why) = Machine::can_boot().await {
        screen.failed(&format!("SKIPPED: no node can be booted on this machine: {why}"));
        return ExitCode::SUCCESS;
    }
    match all(&screen, dist).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            screen.failed(&chain(&failure));
            ExitCode::FAILURE
        }
    }
}

async fn all(screen: &Screen, dist: PathBuf) -> Result<(), Failure> {
    screen.title("The packages");
    let packages = screen.step("a previous package, and broken ones", async { Packages::of(&dist) }).await?;
    screen.note(packages.describe());
    life::on_a_core_node(screen, &packages).await?;
    faults::of_installing(screen, &packages).await?;
    rpm::by_rpm(screen, &packages).await?;
    foreign::architecture(screen, &packages).await?;
    screen.line("\nAll steps passed.");
    Ok(())
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!("\n  because: {error}"));
        cause = error.source();
    }
    text
}

/// An error if `condition` does not hold.
fn ensure(condition: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    if condition {
        return Ok(());
    }
    Err(otherwise().into())
}
