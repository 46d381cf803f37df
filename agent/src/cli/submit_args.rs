//! `submit-args`: the options that make Spark run in Docker containers, checked before they are printed.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use domain::check::{Content, Report, Request, SiteContent};
use domain::emr::submission::{self, Submission};
use domain::findings::Severity;
use domain::settings::Settings;
use jiff::Timestamp;

use super::{ConfigOption, Exit, FAILURE, output};
use crate::wiring::node_inputs;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigOption,
    /// The image, as in 123456789123.dkr.ecr.us-east-1.amazonaws.com/app:v1
    #[arg(long, value_name = "IMAGE")]
    image: String,
    /// A mount in addition to /etc/passwd; repeatable
    #[arg(long, value_name = "SRC:DST:MODE")]
    mount: Vec<String>,
    /// The published config.json [default: the published path of the settings]
    #[arg(long, value_name = "URI")]
    client_config: Option<String>,
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::SparkSubmit)]
    format: Format,
    /// Print nothing and exit with 1 if the check finds an error
    #[arg(long)]
    strict: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// --conf options in one line, for spark-submit $(emr-ecr-agent submit-args ...)
    SparkSubmit,
    /// Lines of spark-defaults.conf
    SparkDefaults,
    /// key=value lines for --properties-file
    Properties,
    /// One JSON object
    Json,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Exit> {
    let settings = options.config.read()?;
    let submission = Submission {
        image: options.image.clone(),
        mounts: options.mount.iter().flat_map(|text| text.split(',')).map(str::to_owned).collect(),
        client_config: options.client_config.clone().unwrap_or_else(|| published_uri(&settings)),
    };
    let report = check(&settings, &submission);
    warn(&report);
    if options.strict && report.failed() {
        output::tell("emr-ecr-agent: nothing printed because the check found an error (--strict)");
        return Ok(ExitCode::from(FAILURE));
    }
    output::print(&submission.render(options.format.into()))?;
    Ok(ExitCode::SUCCESS)
}

/// Checks the submission by this node's files; where there are none, by itself.
fn check(settings: &Settings, submission: &Submission) -> Report {
    let mut inputs = node_inputs(settings, Timestamp::now());
    if inputs.executor_cfg.as_ref().is_some_and(|file| file.content == Content::Absent) {
        output::tell("emr-ecr-agent: no container-executor.cfg on this node; checked only the image's name");
        inputs.executor_cfg = None;
    }
    if inputs.yarn_site.as_ref().is_some_and(|file| matches!(file.content, SiteContent::Absent)) {
        inputs.yarn_site = None;
    }
    inputs.request = Request {
        images: vec![submission.image.clone().into_bytes()],
        mounts: submission.all_mounts().iter().map(|mount| mount.as_bytes().to_vec()).collect(),
        ..Request::default()
    };
    domain::check::run(&inputs)
}

fn warn(report: &Report) {
    for finding in report.findings.iter().filter(|finding| finding.severity() > Severity::Info) {
        let location = match (&finding.file, finding.line) {
            (Some(file), Some(line)) => format!("{file}:{line}: "),
            (Some(file), None) => format!("{file}: "),
            (None, _) => String::new(),
        };
        let severity = finding.severity().as_str();
        let fix = finding.fix.as_ref().map_or_else(String::new, |fix| format!("; {}", fix.text));
        output::tell(&format!("{severity}: {location}{} [{}]{fix}", finding.message, finding.code.name));
    }
}

/// The published path as jobs name it: without an authority it is on the default file system.
fn published_uri(settings: &Settings) -> String {
    let path = &settings.published.path;
    match path.file_system() {
        Some(_) => path.to_string(),
        None => format!("hdfs://{path}"),
    }
}

impl From<Format> for submission::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::SparkSubmit => Self::SparkSubmit,
            Format::SparkDefaults => Self::SparkDefaults,
            Format::Properties => Self::Properties,
            Format::Json => Self::Json,
        }
    }
}
