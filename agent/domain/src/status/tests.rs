use std::time::Duration;

use hadoop_rules::Rules;
use jiff::{SignedDuration, Timestamp};

use super::{
    ExecutorCfg, Moment, Problem, RegistryStatus, ServerClock, SinkKind, SinkStatus, Status, StatusReport,
};
use crate::check::{self, Content, HadoopVersion, Inputs, TextFile};
use crate::credentials::{EntryName, TokenScope};
use crate::documents::Publication;
use crate::findings::Finding;
use crate::refresh::{LockHolder, LockWait, ProbeResult, Proof};
use crate::registry::EcrRegistry;

const CAPABILITIES: &str = "CHOWN,DAC_OVERRIDE,FSETID,FOWNER,MKNOD,NET_RAW,SETGID,SETUID,SETFCAP,SETPCAP,NET_BIND_SERVICE,SYS_CHROOT,KILL,AUDIT_WRITE";
pub(crate) const HOST: &str = "123456789123.dkr.ecr.us-east-1.amazonaws.com";

/// The moment `second` seconds after start, which is 1,000,000 on the wall clock.
pub(crate) fn at(second: u64) -> Moment {
    let wall = Timestamp::constant(1_000_000, 0) + Duration::from_secs(second);
    Moment { wall, uptime: Duration::from_secs(second) }
}

/// A healthy status at second 0, with credentials valid for 12 h.
pub(crate) fn sound() -> Status {
    let registry = EcrRegistry::parse(HOST).expect("a registry");
    let expires_at = at(43_200).wall;
    let sink = |kind, path: &str| SinkStatus {
        kind,
        path: path.to_owned(),
        verified_at: Some(at(0)),
        error: None,
        closed: None,
        held: [(EntryName::from(registry.host()), Some(expires_at))].into(),
        publication: None,
        probes: Default::default(),
        strangers: Vec::new(),
    };
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    Status {
        sinks: vec![sink(SinkKind::Local, "/l"), sink(SinkKind::Hdfs, "/h")],
        registries: vec![RegistryStatus {
            scope: TokenScope::of(&registry),
            registry,
            aliases: Vec::new(),
            expires_at: Some(expires_at),
            refresh_at: None,
            asks_after: Duration::ZERO,
            lock_wait: None,
            last_success_at: None,
            last_attempt_at: None,
            consecutive_failures: 0,
            last_error: None,
            proof: Proof::Issued,
            probe: None,
            trust: None,
        }],
        executor_cfg: ExecutorCfg::Sound,
        ..Status::new("node".to_owned(), minutes(30), minutes(1), minutes(2))
    }
}

/// Names of the failing checks.
fn failing(status: &Status, now: Moment) -> Vec<String> {
    status.checks(now).into_iter().filter(|check| !check.ok).map(|check| check.name).collect()
}

#[test]
fn readiness_turns_back_when_nothing_but_time_passes() {
    let check = |second: u64, expected: &[&str]| {
        let status = sound();
        assert_eq!(failing(&status, at(second)), expected, "{second}");
        assert_eq!(status.ready(at(second)), expected.is_empty());
    };
    check(0, &[]);
    check(120, &[]);
    check(121, &["local:/l", "hdfs:/h"]);
    let token = format!("token:{HOST}");
    check(43_200, &[&token, "local:/l", "hdfs:/h"]);
}

#[test]
fn a_credential_must_outlive_the_minimum() {
    let verified_at = |second| {
        let mut status = sound();
        for sink in &mut status.sinks {
            sink.verified_at = Some(at(second));
        }
        status
    };
    let last_good = 43_200 - 1_800;
    assert_eq!(failing(&verified_at(last_good), at(last_good)), [""; 0]);
    assert_eq!(failing(&verified_at(last_good + 1), at(last_good + 1)).len(), 3);
}

#[test]
fn the_servers_clock_decides_what_has_ended() {
    let mut status = sound();
    status.server_clock = ServerClock::from_skew(SignedDuration::from_hours(11), at(0));
    assert!(status.ready(at(0)));
    status.server_clock = ServerClock::from_skew(SignedDuration::from_hours(12), at(0));
    assert!(!status.ready(at(0)));
}

#[test]
fn a_local_clock_that_jumps_changes_nothing() {
    let token = |second: u64, hours: i64| {
        let mut status = sound();
        status.server_clock = ServerClock::from_skew(SignedDuration::ZERO, at(0));
        let mut now = at(second);
        now.wall += SignedDuration::from_hours(hours);
        let skew = StatusReport::new(&status, now).clock_skew_seconds;
        assert_eq!(skew, -3600.0 * hours as f64);
        status.checks(now)[1].ok
    };
    for hours in [-12, 0, 12] {
        assert!(token(10, hours), "{hours}");
        assert!(!token(43_200, hours), "{hours}");
    }
}

#[test]
fn each_thing_out_of_order_is_named() {
    let check = |disturb: fn(&mut Status), expected: &[&str]| {
        let mut status = sound();
        disturb(&mut status);
        assert_eq!(failing(&status, at(0)), expected);
    };
    check(|status| status.sinks[1].verified_at = None, &["hdfs:/h"]);
    check(|status| status.sinks[0].held.clear(), &["local:/l"]);
    check(|status| status.sinks[1].closed = Some("mode 0700".to_owned()), &["hdfs:/h"]);
    check(
        |status| status.executor_cfg = ExecutorCfg::Fatal("line 3".to_owned()),
        &["container-executor.cfg"],
    );
    check(|status| status.launch_faults = launch_faults("local, ", ""), &["launches"]);
    check(|status| status.registries.clear(), &["registries"]);
    let token = format!("token:{HOST}");
    check(|status| status.registries[0].proof = Proof::Unproven, &[&token]);
    check(
        |status| {
            let name = EntryName::from(status.registries[0].registry.host());
            status.sinks[1].probes.insert(name, ProbeResult::Rejected(401));
        },
        &["hdfs:/h"],
    );
    // An error in the last pass alone does not undo a recent verification.
    check(|status| status.sinks[1].error = Some(Problem::new("down")), &[]);
}

/// The launch faults of a container-executor.cfg that trusts one registry, written between `before` and `after`.
fn launch_faults(before: &str, after: &str) -> Vec<Finding> {
    let text = format!(
        "yarn.nodemanager.linux-container-executor.group=yarn\n[docker]\nmodule.enabled=true\ndocker.allowed.networks=host\ndocker.allowed.capabilities={CAPABILITIES}\ndocker.trusted.registries={before}{HOST}{after}\n"
    );
    let file = TextFile { path: "cfg".to_owned(), content: Content::Bytes(text.into_bytes()) };
    let nothing = Inputs::nothing(HadoopVersion::named(Rules::V3_3), at(0).wall);
    check::run(&Inputs { executor_cfg: Some(file), ..nothing }).launch_faults(true, &[])
}

#[test]
fn only_faults_of_served_registries_end_readiness() {
    let check = |before: &str, after: &str, expected: &[&str]| {
        let found = launch_faults(before, after);
        let codes: Vec<&str> = found.iter().map(|finding| finding.code.name).collect();
        assert_eq!(codes, expected, "{before}{HOST}{after}");
    };
    check("", "", &[]);
    check("", ", other.example", &[]);
    check("local, ", "", &["entry-with-whitespace"]);
    check("local, ", &format!(",{HOST}"), &[]);
    check("https://", "", &["entry-with-scheme"]);
    check("local ", "", &["entry-with-whitespace"]);
    check("", "/app", &[]);
    check("x", "", &[]);
    let mut status = sound();
    status.launch_faults = launch_faults("a, ", ", b");
    let why = status.checks(at(0)).pop().and_then(|check| check.why).expect("a fault");
    assert!(why.starts_with(&format!("cfg:6: the entry ` {HOST}` of docker.trusted.registries")), "{why}");
}

#[test]
fn what_is_waited_for_is_told_once() {
    let mut status = sound();
    let waiting = || Some(Problem::waiting("HDFS", "refused"));
    status.sinks[0].error = waiting();
    status.sinks[1].error = waiting();
    status.registries[0].last_error = Some(Problem::waiting("AWS credentials", "none"));
    assert_eq!(status.waiting_for(at(0)), ["AWS credentials", "HDFS"]);
}

#[test]
fn the_wait_for_another_nodes_lock_is_told() {
    let mut status = sound();
    let holder = LockHolder { node: Some("ip-10-0-0-1".to_owned()), since: Some(at(5).wall) };
    status.registries[0].lock_wait = Some(LockWait { holder, deadline: at(90).uptime });
    status.registries[0].asks_after = at(40).uptime;
    let expected = "the refresh lock of ip-10-0-0-1, held since 1970-01-12T13:46:45Z, until 1970-01-12T13:48:10Z at the latest";
    assert_eq!(status.waiting_for(at(10)), [expected]);
    let report = StatusReport::new(&status, at(10));
    assert_eq!(report.registries[0].next_attempt_at, at(40).wall);
}

#[test]
fn liveness_is_the_loops_heartbeat_and_progress() {
    let mut status = sound();
    let check = |status: &Status, second: u64, expected: bool| assert_eq!(status.live(at(second)), expected);
    (status.heartbeat, status.progress) = (at(1_000).uptime, at(100).uptime);
    check(&status, 220, true);
    check(&status, 221, false);
    (status.heartbeat, status.progress) = (at(100).uptime, at(100).uptime);
    check(&status, 130, true);
    check(&status, 131, false);
}

#[test]
fn the_report_has_the_documented_fields() {
    let json = serde_json::to_value(StatusReport::new(&sound(), at(0))).expect("a report renders");
    let keys = |value: &serde_json::Value| -> Vec<String> {
        value.as_object().expect("an object").keys().cloned().collect()
    };
    for field in [
        "version",
        "node",
        "now",
        "live",
        "ready",
        "checks",
        "waiting_for",
        "registries",
        "static_credentials",
        "sinks",
        "findings",
    ] {
        assert!(keys(&json).contains(&field.to_owned()), "{field}");
    }
    let registry = "host aliases region account role_arn profile endpoint expires_at refresh_at next_attempt_at last_success_at last_attempt_at consecutive_failures last_error source probe";
    assert_eq!(keys(&json["registries"][0]), registry.split(' ').collect::<Vec<_>>());
    assert_eq!(
        keys(&json["sinks"][0]),
        ["kind", "path", "fresh", "verified_at", "error", "expires_at", "entries"]
    );
    for field in ["publisher", "published_at", "other_entries", "other_entries_count"] {
        assert!(keys(&json["sinks"][1]).contains(&field.to_owned()), "{field}");
    }
    assert_eq!(json["now"], "1970-01-12T13:46:40Z");
}

#[test]
fn what_others_wrote_is_capped() {
    let mut status = sound();
    status.sinks[1].strangers = (0..1_000).map(|number| format!("{number}-{}", "x".repeat(1_000))).collect();
    let publisher = "evil\n".repeat(10_000);
    status.sinks[1].publication = Some(Publication { publisher, published_at: at(0).wall });
    let report = StatusReport::new(&status, at(0));
    let published = report.sinks[1].published.as_ref().expect("of the published copy");
    assert_eq!((published.other_entries.len(), published.other_entries_count), (20, 1_000));
    let json = serde_json::to_string(&report).expect("a report renders");
    assert!(json.len() < 8_000 && !json.contains("evil\\n"), "{}", json.len());
}
