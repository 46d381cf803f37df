//! Measures the resources of a program and all its descendants until the last of them has ended.
//!
//! A small separate process starts the program and becomes the parent of every orphaned descendant, so the kernel's
//! usage of its ended children covers exactly the whole tree.

use std::env;
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use nix::sys::wait::wait;
use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::figures::median;

/// The resources of one run.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// User and system time of all processes, in seconds.
    pub cpu: f64,
    /// Time from start to end, in seconds.
    pub wall: f64,
    /// The largest resident size of any process in the tree, in bytes.
    pub peak: f64,
    succeeded: bool,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("no program to measure")]
    NoProgram,
    #[error("{program} failed: {message}")]
    Failed { program: String, message: String },
    #[error("cannot parse the meter's output")]
    Output(#[from] serde_json::Error),
}

/// A program to measure, with its environment.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    pub args: Vec<String>,
    pub environment: Vec<(&'static str, String)>,
}

impl Measured {
    pub(crate) fn new<'a>(program: &Path, args: impl IntoIterator<Item = &'a str>) -> Self {
        let args = args.into_iter().map(str::to_owned);
        Self {
            args: [program.display().to_string()].into_iter().chain(args).collect(),
            environment: Vec::new(),
        }
    }

    pub(crate) fn env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// Runs the program to completion. A failure of the program is an error.
    pub(crate) async fn run(&self) -> Outcome<Usage> {
        let mut command = Command::new(env::current_exe()?);
        command.arg("measure").args(&self.args).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.envs(self.environment.iter().map(|(name, value)| (name, value))).stdin(Stdio::null());
        let output = tokio::process::Command::from(command).kill_on_drop(true).output().await?;
        let usage: Usage = serde_json::from_slice(&output.stdout).map_err(Error::Output)?;
        if usage.succeeded {
            return Ok(usage);
        }
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Error::Failed { program: self.args[0].clone(), message }.into())
    }
}

/// The median of each figure.
pub(crate) fn medians(usages: &[Usage]) -> Usage {
    let of = |figure: fn(&Usage) -> f64| median(usages.iter().map(figure).collect());
    Usage { cpu: of(|u| u.cpu), wall: of(|u| u.wall), peak: of(|u| u.peak), succeeded: true }
}

/// Runs a program to completion and prints its usage as JSON.
pub(crate) fn measure(command: &[&str]) -> Outcome<ExitCode> {
    let Some((program, args)) = command.split_first() else { return Err(Error::NoProgram.into()) };
    set_child_subreaper(true)?;
    let started = Instant::now();
    let status = Command::new(program).args(args).stdout(Stdio::null()).status()?;
    wait_for_orphans()?;
    let wall = started.elapsed();
    let spent = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let usage = Usage {
        cpu: (seconds(spent.user_time()) + seconds(spent.system_time())).as_secs_f64(),
        wall: wall.as_secs_f64(),
        // The kernel reports KiB.
        peak: spent.max_rss() as f64 * 1024.0,
        succeeded: status.success(),
    };
    println!("{}", serde_json::to_string(&usage)?);
    Ok(ExitCode::SUCCESS)
}

fn wait_for_orphans() -> io::Result<()> {
    loop {
        match wait() {
            Ok(_) => {}
            Err(Errno::ECHILD) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn seconds(time: TimeVal) -> Duration {
    let (seconds, micros) = (u64::try_from(time.tv_sec()), u64::try_from(time.tv_usec()));
    Duration::from_secs(seconds.unwrap_or_default()) + Duration::from_micros(micros.unwrap_or_default())
}
