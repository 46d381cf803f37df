//! `report`: what a question about the agent needs, in one archive without secrets.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Args;
use domain::redaction::Redaction;
use domain::settings::Settings;
use hadoop_rules::client_config;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::check::online;
use super::config::Shown;
use super::{ConfigOption, Exit, error_text, output, runtime};
use crate::io::archive::Archive;
use crate::io::docker::DockerApi;
use crate::io::status_client::{self, Endpoint};
use crate::io::{chain, disk, node};
use crate::wiring::node_inputs;

/// Bytes to take from the end of the log file.
const LOG_TAIL: u64 = 1 << 20;
const LOG_LINES: &str = "5000";
const UNIT: &str = "emr-ecr-agent.service";

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigOption,
    /// Where to write it [default: emr-ecr-agent-report-HOST-TIME.tar.gz in this directory]
    #[arg(long, value_name = "PATH")]
    output: Option<PathBuf>,
}

/// The first file of the archive.
#[derive(Debug, Serialize)]
struct Contents {
    version: &'static str,
    commit: &'static str,
    build: &'static str,
    node: String,
    time: Timestamp,
    files: Vec<&'static str>,
    missing: Vec<Missing>,
}

#[derive(Debug, Serialize)]
struct Missing {
    file: &'static str,
    why: String,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Exit> {
    let (node, time) = (node::name(), Timestamp::now());
    let name = format!("emr-ecr-agent-report-{node}-{}", time.strftime("%Y%m%dT%H%M%SZ"));
    let path = options.output.clone().unwrap_or_else(|| format!("{name}.tar.gz").into());
    let settings = options.config.file().read();
    let shown = match &settings {
        Ok(_) => Shown::read(&options.config).map_err(|error| error_text(&error)).and_then(|s| json_of(&s)),
        Err(error) => Err(error_text(error)),
    };
    let settings = settings.unwrap_or_default();
    let redaction = redaction(&settings);
    let files = [
        ("settings.json", shown),
        ("versions.json", versions(&settings)),
        ("findings.json", findings(&settings)),
        ("status.json", of_agent(&settings, Request::Status)),
        ("metrics.txt", of_agent(&settings, Request::Metrics)),
        ("agent.log", log(&settings)),
    ];
    let archive = Archive::new(&name)?;
    let mut contents = Contents {
        version: env!("CARGO_PKG_VERSION"),
        commit: crate::COMMIT,
        build: crate::BUILD_ID,
        node,
        time,
        files: Vec::new(),
        missing: Vec::new(),
    };
    for (file, gathered) in files {
        match gathered {
            Ok(text) => {
                archive.add(file, &redaction.apply(&text))?;
                contents.files.push(file);
            }
            Err(why) => contents.missing.push(Missing { file, why: redaction.apply(&why) }),
        }
    }
    archive.add("contents.json", &crate::io::json(&contents)?)?;
    archive.write(&path)?;
    for Missing { file, why } in &contents.missing {
        output::message(&format!("not included: {file}: {}", super::check::printable(why)));
    }
    output::print(&format!("{}\n", path.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Redacts the credentials in this node's Docker configs and static credentials.
fn redaction(settings: &Settings) -> Redaction {
    let files = settings.docker_configs.iter().map(|config| &config.path).chain(&settings.static_credentials);
    let read = files.filter_map(|path| disk::read(path).ok().flatten());
    let secrets: Vec<_> = read.flat_map(|bytes| client_config::salvage(&bytes).0.into_values()).collect();
    Redaction::of(secrets.iter().map(|secret| secret.expose()))
}

fn json_of(value: &impl Serialize) -> Result<String, String> {
    crate::io::json(value).map_err(|error| chain(&error))
}

/// Versions of everything that matters to a launch.
fn versions(settings: &Settings) -> Result<String, String> {
    let release = node::release(&settings.emr_info_dir);
    let hadoop: Vec<String> =
        node::jars().into_iter().filter(|name| name.starts_with("hadoop-common-")).collect();
    let engine = runtime().map_err(|error| chain(&error))?.block_on(DockerApi::new().inspect(&[], &[]));
    let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let system = system.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    json_of(&json!({
        "agent": env!("CARGO_PKG_VERSION"),
        "emr": release,
        "hadoop_jars": hadoop,
        "docker": engine.version,
        "docker_error": engine.failure,
        "docker_cgroup_driver": engine.cgroup_driver,
        "docker_root": engine.data_root.as_ref().map(|root| &root.path),
        "docker_root_free_bytes": engine.data_root.as_ref().map(|root| root.free),
        "system": system.map(|name| name.trim_matches('"')),
        "kernel": fs::read_to_string("/proc/sys/kernel/osrelease").ok().map(|text| text.trim().to_owned()),
        "architecture": std::env::consts::ARCH,
    }))
}

/// The findings of `check --offline`.
fn findings(settings: &Settings) -> Result<String, String> {
    let inputs = node_inputs(settings, Timestamp::now());
    match online::check(settings, inputs, None, true) {
        Ok(report) => json_of(&report),
        Err(Exit::Failed(error) | Exit::Usage(error)) => Err(chain(error.as_ref())),
        Err(Exit::Settings(error)) => Err(error_text(&error)),
    }
}

/// What to request from the running agent.
#[derive(Clone, Copy)]
enum Request {
    Status,
    Metrics,
}

fn of_agent(settings: &Settings, request: Request) -> Result<String, String> {
    let endpoint = Endpoint::Socket(settings.health_socket.clone());
    let answered = runtime().map_err(|error| chain(&error))?.block_on(async {
        match request {
            Request::Status => status_client::status(&endpoint).await.map(|(text, _)| text),
            Request::Metrics => status_client::metrics(&endpoint).await,
        }
    });
    answered.map_err(|error| chain(&error))
}

/// The end of the log file, or else of the journal.
fn log(settings: &Settings) -> Result<String, String> {
    if let Some(file) = &settings.log.file {
        return tail(file).map_err(|error| format!("cannot read {}: {error}", file.display()));
    }
    let mut command = Command::new("journalctl");
    command.env_clear().env("PATH", "/usr/bin:/bin");
    command.args(["--unit", UNIT, "--lines", LOG_LINES, "--no-pager", "--output=short-iso", "--quiet"]);
    let ended = command.output().map_err(|error| format!("cannot run journalctl: {error}"))?;
    let text = String::from_utf8_lossy(&ended.stdout).into_owned();
    match (ended.status.success(), text.is_empty()) {
        (true, false) => Ok(text),
        (true, true) => Err(format!("the journal has no entries for {UNIT}")),
        (false, _) => Err(String::from_utf8_lossy(&ended.stderr).trim().to_owned()),
    }
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let is_cut = length > LOG_TAIL;
    Ok(if is_cut { text.split_once('\n').map_or(String::new(), |(_, rest)| rest.to_owned()) } else { text })
}
