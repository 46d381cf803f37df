//! `emr-config`: the configuration JSON for a new cluster.

use std::process::ExitCode;

use clap::Args;
use domain::emr::emr_config::{TrustedEntry, render};

use super::{Exit, output};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Host of a registry to trust, or a host and the beginning of repositories' names
    #[arg(long, value_name = "HOST", required = true, num_args = 1..)]
    registry: Vec<TrustedEntry>,
    /// Turn EMR's own ECR authentication off, so that the agent alone brings credentials
    #[arg(long)]
    only_agent: bool,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Exit> {
    output::print_json(&render(&options.registry, options.only_agent))?;
    Ok(ExitCode::SUCCESS)
}
