//! `submit`: submits a Spark job to Docker containers, if they would launch.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use clap::Args;
use domain::check::Report;
use domain::emr::spark_submit::SparkSubmit;
use domain::findings::codes;
use jiff::Timestamp;

use super::check::online;
use super::job::{self, Job, JobOptions};
use super::{ConfigOption, Exit, FAILURE, USAGE, output};
use crate::io::log;
use crate::wiring::node_inputs;

/// The exit codes of shells.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigOption,
    #[command(flatten)]
    job: JobOptions,
    /// Do not contact AWS or the registries; skip the checks that need them
    #[arg(long)]
    offline: bool,
    /// The command, as in -- spark-submit --deploy-mode cluster main.py
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Exit> {
    let settings = options.config.read()?;
    let command =
        SparkSubmit::of_words(options.command.clone()).map_err(|error| Exit::Usage(error.into()))?;
    let submission = options.job.submission(&settings);
    let properties = submission.properties();
    let conflicts = command.conflicts(&properties);
    for (key, theirs, ours) in &conflicts {
        output::message(&format!(
            "error: the command sets {key}={theirs}, but the options of submit require {ours}"
        ));
    }
    if !conflicts.is_empty() {
        return Ok(nothing_runs(FAILURE));
    }
    let _log = log::start(&options.config.log(&log::ERRORS_ALONE))?;
    let mut inputs = node_inputs(&settings, Timestamp::now());
    let words = command.with(&properties);
    let checked = SparkSubmit::of_words(words.clone()).map_err(|error| Exit::Usage(error.into()))?;
    let of_command = Job::of_command(&checked, None, true).map_err(|error| Exit::Usage(error.into()))?;
    of_command.join(&mut inputs);
    inputs.request.images = vec![submission.image.clone().into_bytes()];
    let is_node = job::is_node(&inputs);
    if !is_node {
        job::leave_node_out(&mut inputs);
    }
    let report = online::check(&settings, inputs, None, options.offline)?;
    job::warn(&report);
    if report.failed() {
        return Ok(nothing_runs(FAILURE));
    }
    let left_open = left_open(&report, is_node && !options.offline);
    if !left_open.is_empty() {
        output::message(&format!(
            "error: cannot determine whether the containers would launch: {}",
            left_open.join("; ")
        ));
        return Ok(nothing_runs(USAGE));
    }
    Ok(replaced_by(&words))
}

/// What the result depends on but is unknown. If the node or the registries were skipped, which is reported, only
/// unanswered queries count.
fn left_open(report: &Report, is_whole: bool) -> Vec<String> {
    let unanswered = [codes::CLIENT_CONFIG_UNKNOWN, codes::REGISTRY_UNREACHABLE];
    let findings = report.findings.iter().filter(|finding| unanswered.contains(&finding.code));
    let mut open: Vec<String> = findings.map(|finding| finding.message.clone()).collect();
    if is_whole {
        let images = report.images.iter().filter(|image| image.would_launch.is_none());
        open.extend(images.flat_map(|image| image.unknown.iter().map(ToString::to_string)));
    }
    open.dedup();
    open
}

fn nothing_runs(code: u8) -> ExitCode {
    output::message("emr-ecr-agent: the command was not run");
    ExitCode::from(code)
}

/// Replaces this process with the command, so that it has its own exit code and signals. Returns only if it cannot be
/// run.
fn replaced_by(words: &[String]) -> ExitCode {
    let Some((program, arguments)) = words.split_first() else { return nothing_runs(USAGE) };
    let error = Command::new(program).args(arguments).exec();
    output::message(&format!("emr-ecr-agent: cannot run {program}: {error}"));
    ExitCode::from(if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE })
}
