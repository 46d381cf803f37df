use std::time::Duration;

use domain::status::{Check, CheckId, RegistryReport, StatusReport};
use jiff::Timestamp;

use super::{Notified, State, line};

const HOST: &str = "123456789123.dkr.ecr.us-east-1.amazonaws.com";

fn report() -> StatusReport {
    StatusReport {
        version: "0.1.0".to_owned(),
        node: "node".to_owned(),
        now: Timestamp::UNIX_EPOCH,
        clock_skew_seconds: 0.0,
        live: true,
        ready: true,
        checks: Vec::new(),
        waiting_for: Vec::new(),
        static_credentials: None,
        registries: Vec::new(),
        sinks: Vec::new(),
        settings_error: None,
        findings: Vec::new(),
        recent_events: Vec::new(),
    }
}

fn registry(host: &str, expires_at: Option<i64>) -> RegistryReport {
    RegistryReport {
        host: host.to_owned(),
        aliases: Vec::new(),
        region: "us-east-1".to_owned(),
        account: Some("123456789123".to_owned()),
        role_arn: None,
        profile: None,
        endpoint: None,
        expires_at: expires_at.map(|second| Timestamp::constant(second, 900_000_000)),
        refresh_at: None,
        next_attempt_at: Timestamp::UNIX_EPOCH,
        last_success_at: None,
        last_attempt_at: None,
        consecutive_failures: 0,
        last_error: None,
        source: None,
        probe: None,
        trusted: None,
    }
}

#[test]
fn the_line_shows_registries_expiry_and_what_is_waited_for() {
    let check = |change: fn(&mut StatusReport), expected: &str| {
        let mut report = report();
        change(&mut report);
        assert_eq!(line(&report), expected);
    };
    check(|_| {}, "ready; no registry yet");
    check(
        |report| report.registries = vec![registry(HOST, Some(43_200)), registry("second", Some(3_600))],
        "ready; 123456789123.dkr.ecr.us-east-1.amazonaws.com, second; earliest expiry 1970-01-01T01:00:00Z",
    );
    check(
        |report| {
            report.ready = false;
            report.waiting_for =
                vec!["/etc/hadoop/conf/container-executor.cfg".to_owned(), "HDFS".to_owned()];
        },
        "not ready; no registry yet; waiting for /etc/hadoop/conf/container-executor.cfg, HDFS",
    );
    check(
        |report| {
            report.ready = false;
            report.registries = vec![registry(HOST, None)];
            let bad = Check {
                id: CheckId::Sink,
                name: "hdfs:/h".to_owned(),
                ok: false,
                why: Some("full".to_owned()),
            };
            report.checks =
                vec![Check { id: CheckId::Token, name: "token".to_owned(), ok: true, why: None }, bad];
        },
        "not ready; 123456789123.dkr.ecr.us-east-1.amazonaws.com; failing: hdfs:/h",
    );
    check(
        |report| {
            report.live = false;
            report.settings_error = Some("line 1\nline 2".to_owned());
        },
        "ready; the main loop is stuck; no registry yet; the last reload failed",
    );
}

#[test]
fn readiness_is_said_first_and_the_line_only_when_it_changed() {
    let mut notified = Notified::default();
    let line = State::Line("ready; no registry yet".to_owned());
    assert_eq!(notified.next(&report(), Duration::ZERO, false, false), [State::Ready, line]);
    assert_eq!(notified.next(&report(), Duration::ZERO, false, false), []);
    let waiting = StatusReport { waiting_for: vec!["HDFS".to_owned()], ..report() };
    let line = State::Line("ready; no registry yet; waiting for HDFS".to_owned());
    assert_eq!(notified.next(&waiting, Duration::ZERO, false, false), [line]);
}

#[test]
fn a_loop_that_stands_still_does_not_feed_the_watchdog() {
    let mut notified = Notified::default();
    notified.next(&report(), Duration::ZERO, false, true);
    assert_eq!(notified.next(&report(), Duration::ZERO, false, true), [State::Alive]);
    let stuck = StatusReport { live: false, ..report() };
    assert!(!notified.next(&stuck, Duration::ZERO, false, true).contains(&State::Alive));
}

#[test]
fn a_reload_is_over_with_the_next_round() {
    let mut notified = Notified::default();
    let second = Duration::from_secs;
    notified.next(&report(), second(1), false, false);
    assert_eq!(notified.next(&report(), second(1), true, false), [State::Reloading]);
    assert_eq!(notified.next(&report(), second(1), false, false), []);
    assert_eq!(notified.next(&report(), second(2), false, false), [State::Ready]);
    assert_eq!(notified.next(&report(), second(3), false, false), []);
}
