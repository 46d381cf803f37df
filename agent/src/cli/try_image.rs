//! `try`: pulls an image and runs Java in it on this node, with the credentials that a job would get.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use domain::check::{self, docker_architecture, docker_program};
use hadoop_rules::client_config::{self, Credentials};
use jiff::Timestamp;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::check::online;
use super::{ConfigOption, Exit, FAILURE, USAGE, output, runtime};
use crate::io::chain;
use crate::io::docker_cli::{DockerCli, DockerCliError};
use crate::wiring::node_inputs;

/// A Spark image is larger than a gigabyte.
const PULL_DEADLINE: Duration = Duration::from_secs(15 * 60);
const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigOption,
    /// The image, as jobs name it
    #[arg(long)]
    image: String,
    /// The config.json that the job names [default: the published file]
    #[arg(long, value_name = "URI")]
    client_config: Option<String>,
    /// Keep an image that was not on the node before
    #[arg(long)]
    keep: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What `try --json` prints.
#[derive(Debug, Default, Serialize)]
struct TryReport {
    version: &'static str,
    image: String,
    /// Whether the image was pulled, if it had to be, and runs Java.
    ok: bool,
    /// The file with the credentials.
    client_config: String,
    /// Whether the image was on the node before, so that nothing was pulled.
    on_node: bool,
    pull_seconds: Option<f64>,
    /// Unpacked size.
    bytes: Option<u64>,
    architecture: Option<String>,
    /// The first line of `java -version`.
    java: Option<String>,
    /// What failed here.
    failures: Vec<String>,
    /// Whether YARN would launch it, according to this node's files; null if unknown.
    would_launch: Option<bool>,
    /// Why not.
    reasons: Vec<String>,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Exit> {
    let settings = options.config.read()?;
    let mut inputs = node_inputs(&settings, Timestamp::now());
    inputs.request.images = vec![options.image.clone().into_bytes()];
    let program = PathBuf::from(OsString::from_vec(docker_program(&inputs)));
    if !program.exists() {
        output::message(&format!(
            "error: {} does not exist: no image can be tried on this machine",
            program.display()
        ));
        return Ok(ExitCode::from(USAGE));
    }
    let runtime = runtime()?;
    let report = runtime.block_on(async {
        let interruption = interruption().map_err(|error| Exit::Failed(Box::new(error)))?;
        let uri = options.client_config.as_deref();
        let read = online::client_config(uri, &settings, &mut inputs).await;
        let name = inputs.client_config.as_ref().map(|config| config.file.path.clone());
        let mut report = TryReport {
            version: env!("CARGO_PKG_VERSION"),
            image: options.image.clone(),
            client_config: name.unwrap_or_default(),
            ..TryReport::default()
        };
        match credentials(read.as_deref()) {
            Ok(credentials) => {
                if let Err(error) = attempt(&mut report, &program, &credentials, options, interruption).await
                {
                    report.failures.push(chain(&error));
                }
            }
            Err(why) => report.failures.push(format!("{}: {why}", report.client_config)),
        }
        report.ok = report.failures.is_empty();
        Ok::<_, Exit>(report)
    });
    let mut report = report?;
    runtime.shutdown_background();
    if let Some(checked) = check::run(&inputs).images.first() {
        report.would_launch = checked.would_launch;
        report.reasons = checked.reasons.clone();
    }
    if options.json {
        output::print_json(&report)?;
    } else {
        output::print(&report.text())?;
    }
    Ok(if report.ok && report.would_launch != Some(false) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILURE)
    })
}

/// Parses the file's credentials like YARN.
fn credentials(read: Option<&[u8]>) -> Result<Credentials, String> {
    let bytes = read.ok_or("cannot be read: `emr-ecr-agent check` shows why")?;
    client_config::read(bytes).map_err(|error| chain(&error))
}

async fn attempt(
    report: &mut TryReport,
    program: &Path,
    credentials: &Credentials,
    options: &Options,
    interruption: impl Future<Output = ()>,
) -> Result<(), DockerCliError> {
    let auths = credentials.iter().map(|(name, auth)| (name.as_str(), auth.expose()));
    let docker = DockerCli::new(program.to_owned(), &std::env::temp_dir(), auths)?;
    let container = format!("emr-ecr-agent-try-{}", std::process::id());
    // Known once Docker has answered.
    let mut is_new = false;
    let tried = tokio::select! {
        tried = pull_and_run(report, &docker, &container, options, &mut is_new) => Some(tried),
        () = interruption => None,
    };
    let must_go = is_new && !options.keep;
    let Some(tried) = tried else {
        report.failures.push("interrupted".to_owned());
        // Neither has to exist yet.
        let _ = docker.remove_container(&container, DEADLINE).await;
        if must_go {
            let _ = docker.remove_image(&options.image, DEADLINE).await;
        }
        return Ok(());
    };
    if must_go && report.pull_seconds.is_some() {
        docker.remove_image(&options.image, DEADLINE).await?;
    }
    tried
}

/// Completes on SIGINT, SIGTERM or SIGHUP, which must leave no credentials on the disk.
fn interruption() -> std::io::Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

async fn pull_and_run(
    report: &mut TryReport,
    docker: &DockerCli,
    container: &str,
    options: &Options,
    is_new: &mut bool,
) -> Result<(), DockerCliError> {
    let image = options.image.as_str();
    report.on_node = docker.image(image, DEADLINE).await?.is_some();
    if !report.on_node {
        *is_new = true;
        report.pull_seconds = Some(docker.pull(image, PULL_DEADLINE).await?.as_secs_f64());
    }
    if let Some(known) = docker.image(image, DEADLINE).await? {
        let own = docker_architecture(std::env::consts::ARCH);
        if known.architecture != own {
            report.failures.push(format!("the image is for {}, this node has {own}", known.architecture));
        }
        report.bytes = Some(known.size);
        report.architecture = Some(known.architecture);
    }
    let printed = docker.run_in(image, container, &["java", "-version"], DEADLINE).await?;
    report.java = printed.lines().find(|line| line.contains("version")).map(|line| line.trim().to_owned());
    Ok(())
}

impl TryReport {
    fn text(&self) -> String {
        let mut lines =
            vec![format!("image         {}", self.image), format!("credentials   {}", self.client_config)];
        match self.pull_seconds {
            Some(seconds) => lines.push(format!("pulled in     {seconds:.1} s")),
            None if self.on_node => lines.push("pulled        no: it was on the node".to_owned()),
            None => {}
        }
        if let (Some(bytes), Some(architecture)) = (self.bytes, &self.architecture) {
            lines.push(format!("size          {} MB, {architecture}", bytes / 1_000_000));
        }
        lines.extend(self.java.iter().map(|java| format!("java          {java}")));
        lines.extend(self.failures.iter().map(|failure| format!("failed        {failure}")));
        lines.push(match self.would_launch {
            Some(true) => "would launch  yes".to_owned(),
            Some(false) => format!("would launch  no: {}", self.reasons.join("; ")),
            None => "would launch  unknown: `emr-ecr-agent check --image` shows why".to_owned(),
        });
        lines.join("\n") + "\n"
    }
}
