//! `renew`: makes the running agent fetch new tokens now, and waits for them.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use domain::status::{EntryReport, SinkReport, StatusReport};
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
    #[error("the agent serves no ECR registry: none is configured, and container-executor.cfg trusts none")]
    NoRegistry,
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
        if before.registries.is_empty() {
            return Ok(Err(RenewError::NoRegistry));
        }
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
    let is_old = |host: &String, expiry: Option<Timestamp>| expiry <= before.get(host).copied().flatten();
    // A fresh sink may still hold the previous token, such as while the registry rejects the new one.
    let holds_old = |sink: &SinkReport| {
        let old = |(host, entry): (&String, &EntryReport)| {
            entry.expires_at.is_some() && is_old(host, entry.expires_at)
        };
        sink.entries.iter().any(old)
    };
    let why = |name: String, error: &Option<String>| match error {
        Some(error) => format!("{name}: {error}"),
        None => name,
    };
    let registries = report.registries.iter().filter(|registry| is_old(&registry.host, registry.expires_at));
    let registries = registries.map(|registry| why(registry.host.clone(), &registry.last_error));
    let sinks = report.sinks.iter().filter(|sink| !sink.fresh || holds_old(sink));
    registries.chain(sinks.map(|sink| why(sink.path.clone(), &sink.error))).collect()
}

fn expiries(report: &StatusReport) -> Expiries {
    report.registries.iter().map(|registry| (registry.host.clone(), registry.expires_at)).collect()
}

#[cfg(test)]
mod tests {
    use domain::status::StatusReport;
    use serde_json::json;

    use super::{expiries, problems};

    const HOST: &str = "123456789123.dkr.ecr.us-east-1.amazonaws.com";

    /// The report of an agent whose token, and whose published entry, expire at these hours.
    fn report(token: u8, entry: u8) -> StatusReport {
        let at = |hour: u8| format!("2026-01-01T{hour:02}:00:00Z");
        let report = json!({
            "version": "", "node": "", "now": at(0), "clock_skew_seconds": 0.0, "live": true, "ready": true,
            "checks": [], "waiting_for": [], "findings": [], "recent_events": [], "settings_error": null,
            "static_credentials": null,
            "registries": [{
                "host": HOST, "aliases": [], "region": "us-east-1", "account": null, "role_arn": null,
                "profile": null, "endpoint": null, "expires_at": at(token), "refresh_at": null,
                "next_attempt_at": at(0), "last_success_at": null, "last_attempt_at": null,
                "consecutive_failures": 0, "last_error": null, "source": null, "probe": null,
            }],
            "sinks": [{
                "kind": "hdfs", "path": "/user/hadoop/config.json", "fresh": true, "verified_at": null,
                "error": null, "expires_at": at(entry),
                "entries": { HOST: { "expires_at": at(entry), "probe": null }, "static": { "expires_at": null, "probe": null } },
            }],
        });
        serde_json::from_value(report).expect("a report")
    }

    #[test]
    fn a_token_is_new_once_every_sink_has_it() {
        let before = expiries(&report(12, 12));
        assert_eq!(problems(&report(12, 12), &before), [HOST, "/user/hadoop/config.json"]);
        // Sinks come last, and a token that the registry rejects is withheld from them.
        assert_eq!(problems(&report(18, 12), &before), ["/user/hadoop/config.json"]);
        assert_eq!(problems(&report(18, 18), &before), [""; 0]);
    }
}
