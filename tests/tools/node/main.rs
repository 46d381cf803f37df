//! `make node-test`: installs, breaks, upgrades and uninstalls the packages on a node with real systemd, laid out
//! like an EMR node during bootstrap actions.
//!
//! systemd-nspawn boots the node from the part "node", with an overlay in memory. HDFS, YARN, Docker and the
//! registry are real; ECR and the instance metadata are stand-ins; all share this machine's loopback.

mod emr;
mod faults;
mod kerberos;
mod launches;
mod lifecycle;
mod machine;
mod other_arch;
mod packages;
mod rpm;
mod services;
mod units;

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use emr_ecr_agent_tests::parts::{self, Part};
use emr_ecr_agent_tests::screen::{Failure, Screen};

use machine::Machine;
use packages::Packages;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

// On the main thread: the kernel kills the servers when the thread that started them ends.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let screen = Screen::new();
    let Some(dist) = env::args_os().nth(1).map(PathBuf::from) else {
        screen.warn("usage: node-test DIRECTORY   (with the output of `make package`)");
        return ExitCode::from(64);
    };
    let parts =
        [Part::hadoop(), Part::kerberos(), Part::node(), Part::package(), Part::registry(), Part::docker()];
    if let Some(missing) = parts::missing(parts) {
        screen.warn(&format!("SKIPPED: {missing}"));
        return if parts::in_ci() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    match all(&screen, &dist).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            screen.failed(&failure);
            ExitCode::FAILURE
        }
    }
}

async fn all(screen: &Screen, dist: &Path) -> Result<(), Failure> {
    screen.title("The packages");
    let packages =
        screen.step("prepare a previous package and broken ones", async { Packages::of(dist) }).await?;
    screen.note(packages.describe());
    other_arch::architecture(screen, &packages).await?;
    match Machine::can_boot().await {
        Ok(()) => on_nodes(screen, &packages).await?,
        Err(why) => screen.warn(&format!("SKIPPED: cannot boot a node on this machine: {why}")),
    }
    screen.line("\nEverything that could run has passed.");
    Ok(())
}

async fn on_nodes(screen: &Screen, packages: &Packages) -> Result<(), Failure> {
    lifecycle::on_a_core_node(screen, packages).await?;
    launches::of_private_images(screen, packages).await?;
    kerberos::inside_the_sandbox(screen, packages).await?;
    faults::of_installing(screen, packages).await?;
    rpm::by_rpm(screen, packages).await
}

/// Returns an error if `condition` does not hold.
fn ensure(condition: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    if condition {
        return Ok(());
    }
    Err(otherwise().into())
}
