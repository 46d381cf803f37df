//! `check`: checks files by Hadoop's rules and prints findings with their fixes.

mod inputs;
pub(super) mod online;
mod text;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use domain::check::Report;
use domain::findings::Severity;
use jiff::Timestamp;
use serde::Serialize;

use super::job::SparkOptions;
use super::{ConfigOption, Exit, FAILURE, USAGE, output};
pub(super) use text::printable;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigOption,
    /// Check this container-executor.cfg; with files named, nothing else is read
    #[arg(long, value_name = "FILE")]
    executor_cfg: Option<PathBuf>,
    /// Check this yarn-site.xml
    #[arg(long, value_name = "FILE")]
    yarn_site: Option<PathBuf>,
    /// Check this Docker config.json as YARN reads it
    #[arg(long, value_name = "FILE")]
    docker_config: Option<PathBuf>,
    /// Check the configuration of a new cluster: JSON as for `aws emr create-cluster`, or a CloudFormation template
    #[arg(long, value_name = "FILE")]
    emr_config: Option<PathBuf>,
    #[command(flatten)]
    spark: SparkOptions,
    /// Hadoop's rules: 3.2 for EMR 6.0 to 6.8, 3.3 for 6.9 to 7.3, 3.4 for later releases; auto detects them, or assumes 3.3
    #[arg(long, value_name = "RULES", default_value = "auto", value_parser = ["auto", "3.2", "3.3", "3.4"])]
    rules: String,
    /// Apply the rules of this EMR release, such as emr-7.3.0; on a node, the installed Hadoop takes precedence
    #[arg(long, value_name = "RELEASE", value_parser = release)]
    release: Option<String>,
    /// Check whether this image would launch; may be given several times
    #[arg(long, value_name = "IMAGE", allow_hyphen_values = true)]
    image: Vec<OsString>,
    /// Check the images as privileged containers
    #[arg(long)]
    privileged: bool,
    /// Check this mount against this machine's file system; may be given several times
    #[arg(long, value_name = "SRC:DST[:MODE]", allow_hyphen_values = true)]
    mount: Vec<OsString>,
    /// Check this network instead of the NodeManager's default
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// Check whether containers of this user start: banned.users, min.user.id and, on a node, whether the user exists
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Check this file, as a job names it, instead of the published one: hdfs:///path, file:///path or a path
    #[arg(long, value_name = "URI", allow_hyphen_values = true)]
    client_config: Option<String>,
    /// Check this variable of the job's environment, as in YARN_CONTAINER_RUNTIME_DOCKER_MOUNTS; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// Do not contact AWS or the registries; skip the checks that need them
    #[arg(long)]
    offline: bool,
    /// Exit with 1 for findings of this severity or higher
    #[arg(long, value_name = "SEVERITY", value_enum, default_value_t = FailOn::Error)]
    fail_on: FailOn,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FailOn {
    Error,
    Warning,
    Info,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Output<'r> {
    version: &'static str,
    time: Timestamp,
    /// Whether the command exits with 0.
    ok: bool,
    #[serde(flatten)]
    report: &'r Report,
}

fn release(text: &str) -> Result<String, String> {
    let known = domain::check::is_release(text);
    known.then(|| text.to_owned()).ok_or_else(|| "expected a release as in emr-7.3.0".to_owned())
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Exit> {
    let files = [&options.executor_cfg, &options.yarn_site, &options.docker_config, &options.emr_config];
    let files = files.into_iter().chain([options.spark.file()]);
    if files.filter(|file| file.as_deref() == Some(Path::new("-"))).count() > 1 {
        output::message("error: only one of the files can be standard input");
        return Ok(ExitCode::from(USAGE));
    }
    let report = inputs::check(options)?;
    let code = exit_code(&report, options.fail_on);
    if options.json {
        let (version, time) = (env!("CARGO_PKG_VERSION"), Timestamp::now());
        output::print_json(&Output { version, time, ok: code == 0, report: &report })?;
    } else {
        output::print(&text::render(&report, output::has_colour()))?;
    }
    Ok(ExitCode::from(code))
}

/// A file that could not be read leaves the result open, whatever the findings.
fn exit_code(report: &Report, fail_on: FailOn) -> u8 {
    let least = match fail_on {
        FailOn::Error => Severity::Error,
        FailOn::Warning => Severity::Warning,
        FailOn::Info => Severity::Info,
    };
    if report.unread {
        USAGE
    } else if report.findings.iter().any(|finding| finding.severity() >= least) {
        FAILURE
    } else {
        0
    }
}
