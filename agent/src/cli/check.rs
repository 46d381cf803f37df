//! `check`: checks files by Hadoop's rules and prints findings with their fixes.

mod inputs;
mod online;
mod text;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{ConfigOption, Exit, FAILURE, output};
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
    /// Check this configuration JSON of `aws emr create-cluster --configurations`
    #[arg(long, value_name = "FILE")]
    emr_config: Option<PathBuf>,
    /// Hadoop's rules: 3.2 for EMR 6.0 to 6.8, 3.3 for 6.9 to 7.3, 3.4 for later releases; auto detects them, or assumes 3.3
    #[arg(long, value_name = "RULES", default_value = "auto", value_parser = ["auto", "3.2", "3.3", "3.4"])]
    rules: String,
    /// Check as on this release of EMR, as in emr-7.3.0; on a node, what is installed decides the rules
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
    /// Check whether containers of this user start on this node
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Check this file, as a job names it, instead of the published one: hdfs:///path, file:///path or a path
    #[arg(long, value_name = "URI", allow_hyphen_values = true)]
    client_config: Option<String>,
    /// Check this variable of the job's environment, as in YARN_CONTAINER_RUNTIME_DOCKER_MOUNTS; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// Call neither AWS nor the registries
    #[arg(long)]
    offline: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
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
    let report = inputs::check(options)?;
    if options.json {
        output::print_json(&report)?;
    } else {
        output::print(&text::render(&report, output::has_colour()))?;
    }
    Ok(if report.failed() { ExitCode::from(FAILURE) } else { ExitCode::SUCCESS })
}
