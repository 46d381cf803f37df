//! `status`: the running agent's status, for people and for scripts.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use domain::settings::Settings;
use domain::status::StatusReport;
use domain::time::friendly;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::check::printable;
use super::{ConfigOption, Exit, FAILURE, error_text, output, runtime};
use crate::io::chain;
use crate::io::status_client::{self, Endpoint};

/// Exit code: no agent answers at its socket.
pub(super) const NO_AGENT: u8 = 3;

/// How often `--watch` and `--wait` poll.
pub(super) const AGAIN: Duration = Duration::from_secs(2);
/// Longer ones would overflow a clock.
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Moves the cursor to the top left and clears the screen.
const CLEAR: &str = "\x1b[H\x1b[2J";

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigOption,
    /// Query this agent: HOST:PORT of its health listener, or the path of its socket [default: the socket of the settings]
    #[arg(long, value_name = "ADDRESS")]
    address: Option<Endpoint>,
    /// Print /status as JSON
    #[arg(long)]
    json: bool,
    /// Print the status again every two seconds, until interrupted
    #[arg(long, conflicts_with_all = ["json", "wait"])]
    watch: bool,
    /// Wait until the agent is ready, at most this long, as in 10m
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    wait: Option<Duration>,
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    parsed
        .filter(|duration| *duration <= LONGEST_WAIT)
        .ok_or_else(|| "expected a duration of at most a year, as in 90s or 10m".to_owned())
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Exit> {
    let endpoint = endpoint(options);
    let runtime = runtime()?;
    if options.watch {
        return runtime.block_on(watch(&endpoint));
    }
    let answer = runtime.block_on(async {
        let deadline = Instant::now() + options.wait.unwrap_or_default();
        loop {
            let answer = status_client::status(&endpoint).await;
            let is_ready = answer.as_ref().is_ok_and(|(_, report)| report.ready);
            let left = deadline.saturating_duration_since(Instant::now());
            if is_ready || left.is_zero() {
                return answer;
            }
            tokio::time::sleep(AGAIN.min(left)).await;
        }
    });
    let (text, report) = match answer {
        Ok(answer) => answer,
        Err(error) => {
            output::message(&format!("emr-ecr-agent: {}", chain(&error)));
            return Ok(ExitCode::from(NO_AGENT));
        }
    };
    if options.json {
        output::print(&format!("{}\n", text.trim_end()))?;
    } else {
        output::print(&render(&report, &TimeZone::system()))?;
    }
    Ok(if report.ready { ExitCode::SUCCESS } else { ExitCode::from(FAILURE) })
}

/// The agent to query. If the settings are invalid, its default socket: a running agent keeps the settings that it
/// had.
fn endpoint(options: &Options) -> Endpoint {
    if let Some(endpoint) = &options.address {
        return endpoint.clone();
    }
    Endpoint::Socket(socket(&options.config))
}

pub(super) fn socket(config: &ConfigOption) -> PathBuf {
    let settings = config.file().read().unwrap_or_else(|error| {
        output::message(&format!("emr-ecr-agent: the settings cannot be used: {}", error_text(&error)));
        Settings::default()
    });
    settings.health_socket
}

async fn watch(endpoint: &Endpoint) -> Result<ExitCode, Exit> {
    let clear = if std::io::stdout().is_terminal() { CLEAR } else { "" };
    loop {
        let text = match status_client::status(endpoint).await {
            Ok((_, report)) => render(&report, &TimeZone::system()),
            Err(error) => format!("{}\n", chain(&error)),
        };
        let now = local_time(Timestamp::now(), &TimeZone::system());
        if !output::print_more(&format!("{clear}{now}\n{text}\n"))? {
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn render(report: &StatusReport, zone: &TimeZone) -> String {
    let mut text = String::new();
    let mut line = |words: String| {
        text.push_str(&printable(&words));
        text.push('\n');
    };
    let ready = if report.ready { "ready" } else { "not ready" };
    line(format!("emr-ecr-agent {} on {}: {ready}", report.version, report.node));
    let why = |name: &str| {
        let failing = report.checks.iter().find(|check| check.name == name);
        failing.and_then(|check| check.why.clone())
    };
    let mut shown = Vec::new();
    for registry in &report.registries {
        let expiry =
            registry.expires_at.map_or_else(|| "no token yet".to_owned(), |at| expiry(at, report, zone));
        let aliases = registry.aliases.join(", ");
        let also = if aliases.is_empty() { aliases } else { format!(" (also {aliases})") };
        line(format!("registry  {}{also}: {expiry}", registry.host));
        if let Some(role) = &registry.role_arn {
            line(format!("          requested as {role}"));
        }
        let name = registry.check_name();
        if let Some(error) = why(&name).or(registry.last_error.clone()) {
            let failures = match registry.consecutive_failures {
                0 => String::new(),
                1 => "failed once: ".to_owned(),
                count => format!("failed {count} times in a row: "),
            };
            line(format!("          {failures}{error}"));
        }
        shown.push(name);
    }
    if let Some(known) = &report.static_credentials {
        line(format!("static    {}: {}", known.path, known.names.join(", ")));
        if let Some(error) = &known.error {
            line(format!("          {error}"));
        }
        shown.push(known.check_name());
    }
    for sink in &report.sinks {
        let fresh = if sink.fresh { "fresh" } else { "not fresh" };
        let expiry = sink.expires_at.map_or_else(String::new, |at| format!(", {}", expiry(at, report, zone)));
        line(format!("{:9} {}: {fresh}{expiry}", sink.kind.as_str(), sink.path));
        let name = sink.check_name();
        if let Some(error) = why(&name).or(sink.error.clone()) {
            line(format!("          {error}"));
        }
        shown.push(name);
    }
    for check in report.checks.iter().filter(|check| !check.ok && !shown.contains(&check.name)) {
        line(format!("failing   {}: {}", check.name, check.why.as_deref().unwrap_or_default()));
    }
    for thing in &report.waiting_for {
        line(format!("waiting   for {thing}"));
    }
    if let Some(error) = &report.settings_error {
        line(format!("settings  the last reload failed: {error}"));
    }
    for finding in &report.findings {
        let (severity, code) = (finding.severity().as_str(), finding.code.name);
        line(format!("finding   {severity} {code}: {}{}", finding.location_prefix(), finding.message));
    }
    text
}

/// When a credential expires, in local time, and in how long.
fn expiry(at: Timestamp, report: &StatusReport, zone: &TimeZone) -> String {
    let server_now = report.now + SignedDuration::from_secs_f64(report.clock_skew_seconds);
    let left = at.duration_since(server_now);
    let local = local_time(at, zone);
    if left.is_positive() {
        format!("expires {local}, in {}", friendly(left))
    } else {
        format!("expired {local}")
    }
}

/// Local time to the second, with the zone's abbreviation.
pub(super) fn local_time(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%F %T %Z").to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use domain::credentials::TokenScope;
    use domain::problem::Problem;
    use domain::refresh::Proof;
    use domain::registry::EcrRegistry;
    use domain::status::{ExecutorCfg, RegistryStatus, Status, StatusReport};
    use domain::time::Moment;
    use jiff::tz::TimeZone;
    use jiff::{SignedDuration, Timestamp};

    use super::{friendly, local_time, render};

    #[test]
    fn shows_expiry_and_what_is_waited_for() {
        let wall: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let second = Duration::from_secs(1);
        let mut status = Status::new("node-1".to_owned(), second, second, second);
        let registry =
            EcrRegistry::parse("123456789123.dkr.ecr.us-east-1.amazonaws.com").expect("a registry");
        status.registries.push(RegistryStatus {
            scope: TokenScope::of(&registry),
            registry,
            aliases: Vec::new(),
            expires_at: Some("2026-01-01T11:59:30Z".parse().expect("a time")),
            refresh_at: None,
            asks_after: Duration::ZERO,
            lock_wait: None,
            last_success_at: None,
            last_attempt_at: None,
            consecutive_failures: 2,
            last_error: Some(Problem::waiting("ECR", "no answer")),
            proof: Proof::Issued,
            probe: None,
            trust: None,
        });
        status.executor_cfg = ExecutorCfg::Sound;
        let text =
            render(&StatusReport::new(&status, Moment { wall, uptime: Duration::ZERO }), &TimeZone::UTC);
        let expected = format!(
            "emr-ecr-agent {} on node-1: ready\n\
             registry  123456789123.dkr.ecr.us-east-1.amazonaws.com: expires 2026-01-01 11:59:30 UTC, in 12h\n          \
             failed 2 times in a row: no answer\n\
             waiting   for ECR\n",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn times_are_local_to_the_second() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone");
        for (at, expected) in [
            ("2026-01-01T23:59:30.999Z", "2026-01-02 00:59:30 CET"),
            ("2026-07-01T12:00:00Z", "2026-07-01 14:00:00 CEST"),
        ] {
            assert_eq!(local_time(at.parse().expect("a time"), &zone), expected);
        }
    }

    #[test]
    fn lengths_of_time_read_well() {
        for (seconds, expected) in [(39, "39s"), (90, "1m 30s"), (5_400, "1h 30m"), (43_170, "12h")] {
            assert_eq!(friendly(SignedDuration::from_secs(seconds)), expected);
        }
    }
}
