//! What a Spark job requests: its properties, from a file or from the command that submits it.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use domain::check::{
    self, Content, EmrNode, HadoopVersion, Inputs, Machine, NodeInputs, Report, SparkProperties, TextAlone,
};
use domain::emr::properties;
use domain::emr::properties::SparkProperty;
use domain::emr::spark_submit::{CommandError, SparkSubmit};
use domain::emr::submission::Submission;
use domain::findings::Severity;
use domain::settings::Settings;
use jiff::Timestamp;
use thiserror::Error;

use super::check::{online, printable};
use super::{Exit, output};
use crate::io::hadoop_conf;
use crate::io::node::named_file;
use crate::wiring::node_inputs;

/// EMR's directory for Spark's defaults, unless `SPARK_CONF_DIR` is set.
const SPARK_CONF_DIR: &str = "/etc/spark/conf";
const DEFAULTS: &str = "spark-defaults.conf";

#[derive(Debug, Args)]
pub(super) struct SparkOptions {
    /// Check these Spark properties, such as spark-defaults.conf; - reads standard input
    #[arg(long, value_name = "FILE")]
    spark_conf: Option<PathBuf>,
    /// Check this command, as in 'spark-submit --conf ... main.py'
    #[arg(long, value_name = "COMMAND")]
    submit: Option<String>,
}

#[derive(Debug, Error)]
pub(super) enum SparkError {
    #[error("{0} does not exist")]
    Absent(String),
    #[error("cannot read {0}: {1}")]
    Unreadable(String, String),
    #[error("{0} is not UTF-8")]
    NotText(String),
    #[error("cannot check --submit")]
    Command(#[from] CommandError),
}

/// The parts of a job that concern its containers.
pub(super) struct Job {
    pub(super) properties: SparkProperties,
    /// The job's user, if the command names one.
    pub(super) user: Option<String>,
}

impl SparkOptions {
    pub(super) fn file(&self) -> &Option<PathBuf> {
        &self.spark_conf
    }

    /// The job that the options describe, if any. With `this_node`, this machine's Spark defaults apply.
    pub(super) fn read(&self, this_node: bool) -> Result<Option<Job>, Exit> {
        let job = || {
            let named = self.spark_conf.as_deref().map(read).transpose()?;
            match &self.submit {
                Some(text) => Job::of_command(&SparkSubmit::parse(text)?, named, this_node).map(Some),
                None => Ok(named.map(|properties| Job { properties, user: None })),
            }
        };
        job().map_err(|error: SparkError| Exit::Usage(error.into()))
    }
}

impl Job {
    /// Adds the job to the check's inputs.
    pub(super) fn join(self, inputs: &mut Inputs<'_>) {
        inputs.request.user = inputs.request.user.take().or(self.user);
        inputs.spark = Some(self.properties);
    }

    /// The job of a command: its own properties override those of its properties file or of Spark's defaults.
    pub(super) fn of_command(
        command: &SparkSubmit,
        named: Option<SparkProperties>,
        this_node: bool,
    ) -> Result<Self, SparkError> {
        let file = command.properties_file().map(|file| read(Path::new(file))).transpose()?;
        let replaces_defaults = file.is_some();
        let defaults = match file.or(named) {
            None if this_node => defaults()?,
            file => file,
        };
        let of_command = SparkProperties {
            properties: command.properties(),
            behind_application: command.behind_application(),
            replaces_defaults,
        };
        let properties = match &defaults {
            Some(defaults) => of_command.over(defaults),
            None => of_command,
        };
        Ok(Self { properties, user: command.proxy_user().map(str::to_owned) })
    }
}

/// Whether a NodeManager launches containers on this machine.
pub(super) fn is_node(inputs: &Inputs<'_>) -> bool {
    let is_configured = inputs.executor_cfg.as_ref().is_some_and(|file| file.content != Content::Absent);
    is_configured && inputs.node.as_ref().is_none_or(|node| node.runs_containers)
}

/// Drops the inputs that only a node with containers has, with a message.
pub(super) fn leave_node_out(inputs: &mut Inputs<'_>) {
    output::message(
        "emr-ecr-agent: this machine has no NodeManager: container-executor.cfg, yarn-site.xml, mounts and Docker are not checked",
    );
    inputs.executor_cfg = None;
    inputs.yarn_site = None;
    inputs.machine = &TextAlone;
    if let Some(node) = &mut inputs.node {
        *node = NodeInputs { region: node.region.take(), ..NodeInputs::default() };
    }
}

/// This machine's Spark defaults, if it has any.
fn defaults() -> Result<Option<SparkProperties>, SparkError> {
    let directory = env::var_os("SPARK_CONF_DIR").unwrap_or_else(|| OsString::from(SPARK_CONF_DIR));
    match read(&Path::new(&directory).join(DEFAULTS)) {
        Err(SparkError::Absent(_)) => Ok(None),
        read => read.map(Some),
    }
}

fn read(path: &Path) -> Result<SparkProperties, SparkError> {
    let file = named_file(path);
    let bytes = match file.content {
        Content::Bytes(bytes) => bytes,
        Content::Absent => return Err(SparkError::Absent(file.path)),
        Content::Directory => return Err(SparkError::Unreadable(file.path, "it is a directory".to_owned())),
        Content::Unreadable(why) => return Err(SparkError::Unreadable(file.path, why)),
    };
    let text = String::from_utf8(bytes).map_err(|_| SparkError::NotText(file.path.clone()))?;
    Ok(SparkProperties { properties: properties::parse(&file.path, &text), ..SparkProperties::default() })
}

/// A job's containers, as options describe them.
#[derive(Debug, Args)]
pub(super) struct JobOptions {
    /// The image, as in 123456789123.dkr.ecr.us-east-1.amazonaws.com/app:v1
    #[arg(long, value_name = "IMAGE", allow_hyphen_values = true)]
    image: String,
    /// A mount in addition to /etc/passwd; may be given several times
    #[arg(long, value_name = "SRC:DST[:MODE]", allow_hyphen_values = true)]
    mount: Vec<String>,
    /// The config.json that the job names [default: the published path of the settings]
    #[arg(long, value_name = "URI", allow_hyphen_values = true)]
    client_config: Option<String>,
}

impl JobOptions {
    pub(super) fn submission(&self, settings: &Settings) -> Submission {
        Submission {
            image: self.image.clone(),
            mounts: self.mount.iter().flat_map(|text| text.split(',')).map(str::to_owned).collect(),
            client_config: self.client_config.clone().unwrap_or_else(|| published_uri(settings)),
            kerberos: hadoop_conf::uses_kerberos(&settings.hadoop_conf_dir),
        }
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

/// Files to check a job against, instead of a node's.
#[derive(Clone, Copy)]
pub(super) struct Files<'f> {
    pub(super) executor_cfg: Option<&'f Path>,
    pub(super) emr_config: Option<&'f Path>,
}

impl Files<'_> {
    pub(super) fn is_named(self) -> bool {
        self.executor_cfg.is_some() || self.emr_config.is_some()
    }
}

/// Checks the submission by the files, or by this node and the published file; queries neither AWS nor registries.
pub(super) fn check(settings: &Settings, submission: &Submission, files: Files<'_>) -> Result<Report, Exit> {
    let property = |(key, value)| SparkProperty { key, value, file: "submit-args".to_owned(), line: None };
    let properties = submission.properties().into_iter().map(property).collect();
    let job = Job { properties: SparkProperties { properties, ..SparkProperties::default() }, user: None };
    if files.is_named() {
        let emr_config = files.emr_config.map(named_file);
        let release = emr_config.as_ref().and_then(check::release_of);
        let machine: &dyn Machine = if emr_config.is_some() { &EmrNode } else { &TextAlone };
        let hadoop = HadoopVersion::find(release.as_deref(), std::iter::empty());
        let mut inputs = Inputs {
            release,
            executor_cfg: files.executor_cfg.map(named_file),
            emr_config,
            client_config: online::misplaced(&submission.client_config),
            kerberos: submission.kerberos,
            published: settings.published.path.clone(),
            machine,
            ..Inputs::nothing(hadoop, Timestamp::now())
        };
        job.join(&mut inputs);
        return Ok(check::run(&inputs));
    }
    let mut inputs = node_inputs(settings, Timestamp::now());
    job.join(&mut inputs);
    if !is_node(&inputs) {
        leave_node_out(&mut inputs);
    }
    online::check(settings, inputs, None, true)
}

/// Prints errors and warnings to standard error.
pub(super) fn warn(report: &Report) {
    for finding in report.findings.iter().filter(|finding| finding.severity() > Severity::Info) {
        let severity = finding.severity().as_str();
        let fix = finding.fix.as_ref().map_or_else(String::new, |fix| format!("; {}", fix.text));
        let text = format!(
            "{severity}: {}{} [{}]{fix}",
            finding.location_prefix(),
            finding.message,
            finding.code.name
        );
        output::message(&printable(&text));
    }
}
