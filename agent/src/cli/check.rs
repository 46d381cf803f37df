//! `check`: judges this node's files as Hadoop would.

use std::process::ExitCode;

use clap::Args;

use super::{ConfigOption, Exit, FAILURE};
use crate::edge::disk;
use crate::model::check;
use crate::model::findings::Severity;
use crate::model::hadoop::Rules;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigOption,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Exit> {
    let settings = options.config.read()?;
    let path = settings.executor_cfg();
    let Some(bytes) = disk::read(&path)? else {
        eprintln!("error: {} does not exist", path.display());
        return Ok(ExitCode::from(FAILURE));
    };
    let verdict = check::executor_cfg(&path, &bytes, Rules::V3_3);
    for registry in &verdict.trusted {
        println!("trusted: {}", registry.host());
    }
    for finding in &verdict.findings {
        let line = finding.line.map_or_else(String::new, |line| format!(":{line}"));
        println!("{}{line}: {}", path.display(), finding.message);
    }
    let failed = verdict.findings.iter().any(|finding| finding.severity == Severity::Error);
    Ok(if failed { ExitCode::from(FAILURE) } else { ExitCode::SUCCESS })
}
