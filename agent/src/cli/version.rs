//! `version`: which build this is.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Exit, LONG_VERSION, output};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Exit> {
    if options.json {
        output::print_json(&json!({
            "version": env!("CARGO_PKG_VERSION"),
            "commit": crate::COMMIT,
            "build": crate::BUILD_ID,
        }))?;
    } else {
        output::print(&format!("emr-ecr-agent {LONG_VERSION}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
