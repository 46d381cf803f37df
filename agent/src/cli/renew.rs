//! `renew`: makes the running agent fetch new tokens now, and waits for them.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use domain::status::StatusReport;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use nix::sys::signal::{Signal, kill};
use thiserror::Error;

use super::check::printable;
use super::status::{AGAIN, NO_AGENT, duration, local_time, socket};
use super::{ConfigOption, Exit, FAILURE, output, runtime};
use crate::io::chain;
use crate::io::status_client::{self, Endpoint, StatusError};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigOption,
    /// Wait for the new tokens at most this long, as in 5m
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "3m")]
    wait: Duration,
}

#[derive(Debug, Error)]
enum RenewError {
    #[error("cannot signal the agent's process {pid} to fetch new tokens")]
    Signal { pid: i32, source: nix::Error },
    #[error("no new token within {wait:?}: {}", problems.join("; "))]
    TooLate { wait: Duration, problems: Vec<String> },
}

/// The expiry of each registry's token.
type Expiries = BTreeMap<String, Option<Timestamp>>;

pub(super) fn run(options: &Options) -> Result<ExitCode, Exit> {
    let socket = socket(&options.config);
    let renewed = runtime()?.block_on(async {
        let endpoint = Endpoint::Socket(socket.clone());
        let (_, before) = status_client::status(&endpoint).await?;
        let process = status_client::process(&socket).await?;
        if let Err(source) = kill(process, Signal::SIGUSR1) {
            return Ok(Err(RenewError::Signal { pid: process.as_raw(), source }));
        }
        wait_for_tokens(&endpoint, &expiries(&before), options.wait).await
    });
    match renewed {
        Ok(Ok(report)) => {
            for registry in &report.registries {
                let until = registry.expires_at.map_or_else(String::new, |at| {
                    format!(", valid until {}", local_time(at, &TimeZone::system()))
                });
                output::print(&format!("{}\n", printable(&format!("{}: new token{until}", registry.host))))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Ok(Err(error)) => {
            output::message(&format!("emr-ecr-agent: {}", printable(&chain(&error))));
            Ok(ExitCode::from(FAILURE))
        }
        Err(error) => {
            output::message(&format!("emr-ecr-agent: {}", chain(&error)));
            Ok(ExitCode::from(NO_AGENT))
        }
    }
}

/// Polls until every registry has a token that outlives its previous one, and every sink has it.
async fn wait_for_tokens(
    endpoint: &Endpoint,
    before: &Expiries,
    wait: Duration,
) -> Result<Result<StatusReport, RenewError>, StatusError> {
    let deadline = Instant::now() + wait;
    loop {
        let (_, report) = status_client::status(endpoint).await?;
        let problems = problems(&report, before);
        if problems.is_empty() {
            return Ok(Ok(report));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Err(RenewError::TooLate { wait, problems }));
        }
        tokio::time::sleep(AGAIN.min(left)).await;
    }
}

/// What still has an old token, with the error if known.
fn problems(report: &StatusReport, before: &Expiries) -> Vec<String> {
    let is_old = |host: &String, expiry| expiry <= before.get(host).copied().flatten();
    let why = |name: String, error: &Option<String>| match error {
        Some(error) => format!("{name}: {error}"),
        None => name,
    };
    let registries = report.registries.iter().filter(|registry| is_old(&registry.host, registry.expires_at));
    let registries = registries.map(|registry| why(registry.host.clone(), &registry.last_error));
    let sinks = report.sinks.iter().filter(|sink| !sink.fresh);
    registries.chain(sinks.map(|sink| why(sink.path.clone(), &sink.error))).collect()
}

fn expiries(report: &StatusReport) -> Expiries {
    report.registries.iter().map(|registry| (registry.host.clone(), registry.expires_at)).collect()
}
