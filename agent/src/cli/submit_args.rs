//! `submit-args`: the options that make a job run in Docker containers, checked before they are printed.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use domain::emr::submission;

use super::job::{self, JobOptions};
use super::{ConfigOption, Exit, FAILURE, USAGE, output};
use crate::io::log;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigOption,
    #[command(flatten)]
    job: JobOptions,
    /// Check against this container-executor.cfg, on a machine that is not a node
    #[arg(long, value_name = "FILE")]
    executor_cfg: Option<PathBuf>,
    /// Check against the configuration JSON of a new cluster
    #[arg(long, value_name = "FILE")]
    emr_config: Option<PathBuf>,
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::SparkSubmit)]
    format: Format,
    /// Print nothing and exit with 1 if the check finds an error
    #[arg(long)]
    strict: bool,
    /// The application and its arguments, for the formats that include them
    #[arg(last = true, value_name = "APPLICATION")]
    application: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// --conf options on one line, for a shell
    SparkSubmit,
    /// Lines of spark-defaults.conf
    SparkDefaults,
    /// key=value lines for --properties-file, which replaces spark-defaults.conf
    Properties,
    /// One JSON object
    Json,
    /// The classification spark-defaults of a configuration JSON
    EmrClassification,
    /// A step for `aws emr add-steps --steps file://FILE`
    EmrStep,
    /// A list of steps for boto3's add_job_flow_steps and Airflow's EmrAddStepsOperator
    #[value(alias = "airflow")]
    Boto3,
    /// JSON for Livy and for sparkmagic's %%configure
    #[value(alias = "sparkmagic")]
    Livy,
    /// -D options on one line
    #[value(name = "mapreduce")]
    MapReduce,
    /// Options of YARN's distributed shell on one line
    DistributedShell,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Exit> {
    let settings = options.config.read()?;
    let _log = log::start(&options.config.log(&log::ERRORS_ALONE))?;
    let submission = options.job.submission(&settings);
    let files = job::Files {
        executor_cfg: options.executor_cfg.as_deref(),
        emr_config: options.emr_config.as_deref(),
    };
    let report = job::check(&settings, &submission, files)?;
    job::warn(&report);
    if report.unread && files.is_named() {
        output::message("emr-ecr-agent: nothing printed because a file could not be read");
        return Ok(ExitCode::from(USAGE));
    }
    if options.strict && report.failed() {
        output::message("emr-ecr-agent: nothing printed because the check found an error (--strict)");
        return Ok(ExitCode::from(FAILURE));
    }
    if let Some(warning) = application_warning(options) {
        output::message(&format!("warning: {warning}"));
    }
    output::print(&submission.render(options.format.into(), &options.application))?;
    Ok(ExitCode::SUCCESS)
}

/// What is wrong with the application, by the format.
fn application_warning(options: &Options) -> Option<&'static str> {
    match (options.format, options.application.is_empty()) {
        (Format::EmrStep | Format::Boto3, true) => {
            Some("the step has no application: name it behind --, as in -- s3://bucket/main.py")
        }
        (Format::SparkSubmit | Format::EmrStep | Format::Boto3, _) | (_, true) => None,
        (_, false) => Some("this format does not include the application"),
    }
}

impl From<Format> for submission::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::SparkSubmit => Self::SparkSubmit,
            Format::SparkDefaults => Self::SparkDefaults,
            Format::Properties => Self::Properties,
            Format::Json => Self::Json,
            Format::EmrClassification => Self::EmrClassification,
            Format::EmrStep => Self::EmrStep,
            Format::Boto3 => Self::Boto3,
            Format::Livy => Self::Livy,
            Format::MapReduce => Self::MapReduce,
            Format::DistributedShell => Self::DistributedShell,
        }
    }
}
