use std::time::Duration;

use jiff::Timestamp;

use super::{Event, Snapshot, between};
use crate::problem::Problem;
use crate::refresh::{LockHolder, LockWait, Proof};
use crate::status::tests::{HOST, at, sound};
use crate::status::{CheckId, Status};

/// Names and texts of the events between `before` and `after`.
fn changes(before: Option<(&Status, u64)>, after: (&Status, u64)) -> Vec<String> {
    let snapshot = |(status, second): (&Status, u64)| Snapshot::new(status.clone(), at(second));
    let before = before.map(snapshot);
    let events = between(before.as_ref(), &snapshot(after));
    events.iter().map(|event| format!("{} {event}", event.name()).trim_end().to_owned()).collect()
}

fn with(change: impl FnOnce(&mut Status)) -> Status {
    let mut status = sound();
    change(&mut status);
    status
}

#[test]
fn nothing_is_told_twice() {
    let failing = with(|status| status.sinks[1].error = Some(Problem::new("no answer")));
    for (status, second) in [(sound(), 0), (sound(), 200), (failing, 0)] {
        assert_eq!(changes(Some((&status, second)), (&status, second)), [""; 0]);
    }
}

#[test]
fn the_first_pass_tells_the_token_and_readiness() {
    let expires = at(43_200).wall;
    assert_eq!(
        changes(None, (&sound(), 0)),
        [format!("token refreshed {HOST}, expires at {expires:.0}"), "ready".to_owned()]
    );
}

#[test]
fn readiness_ends_and_comes_back_by_check() {
    let stale = "not verified since 1970-01-12T13:46:40Z";
    assert_eq!(
        changes(Some((&sound(), 0)), (&sound(), 200)),
        [format!("check failed local:/l: {stale}"), format!("check failed hdfs:/h: {stale}")]
    );
    assert_eq!(
        changes(Some((&sound(), 200)), (&sound(), 0)),
        ["check passed local:/l", "check passed hdfs:/h", "ready"]
    );
}

#[test]
fn a_failure_is_told_by_its_check_or_by_itself() {
    let failing = with(|status| status.sinks[1].error = Some(Problem::new("no answer")));
    assert_eq!(changes(Some((&sound(), 0)), (&failing, 0)), ["sink failed hdfs:/h: no answer"]);
    assert_eq!(changes(Some((&failing, 0)), (&sound(), 0)), ["sink recovered hdfs:/h"]);
    let never = with(|status| {
        status.sinks[1].error = Some(Problem::new("no answer"));
        status.sinks[1].verified_at = None;
    });
    assert_eq!(
        changes(Some((&sound(), 0)), (&never, 0)),
        ["check failed hdfs:/h: never verified: no answer"]
    );
    let refused = with(|status| status.registries[0].last_error = Some(Problem::new("denied")));
    assert_eq!(changes(Some((&sound(), 0)), (&refused, 0)), [format!("token not refreshed {HOST}: denied")]);
}

#[test]
fn tokens_say_where_they_are_from() {
    let mut other = sound();
    other.registries[0].expires_at = Some(at(50_000).wall);
    let check = |proof: Proof, expected: &str| {
        let mut now = other.clone();
        now.registries[0].proof = proof;
        let events = changes(Some((&sound(), 0)), (&now, 0));
        assert!(events[0].starts_with(expected), "{events:?}");
    };
    check(Proof::Issued, "token refreshed ");
    check(Proof::Accepted, "token adopted ");
    check(Proof::Unproven, "token adopted ");
}

#[test]
fn a_lock_wait_is_reported_once() {
    let waiting = |since: i64| {
        let since = Timestamp::from_second(since).ok();
        let holder = LockHolder { node: Some("ip-10-0-0-2".to_owned()), since };
        with(|status| {
            status.registries[0].lock_wait = Some(LockWait { holder, deadline: Duration::from_secs(90) });
        })
    };
    let events = changes(Some((&sound(), 0)), (&waiting(1), 0));
    let until = at(90).wall;
    assert_eq!(
        events,
        [format!("waiting for the refresh lock {HOST}: held by ip-10-0-0-2 until {until} at the latest")]
    );
    assert_eq!(changes(Some((&waiting(1), 0)), (&waiting(2), 5)), [""; 0]);
}

#[test]
fn settings_are_told_when_refused_and_when_accepted_again() {
    let refused = with(|status| status.settings_error = Some("line 1: unknown key".to_owned()));
    let events = between(Some(&Snapshot::new(sound(), at(0))), &Snapshot::new(refused.clone(), at(0)));
    assert_eq!(events, [Event::SettingsRefused { error: "line 1: unknown key".to_owned() }]);
    let events = between(Some(&Snapshot::new(refused, at(0))), &Snapshot::new(sound(), at(0)));
    assert_eq!(events, [Event::SettingsAccepted]);
}

#[test]
fn checks_have_ids() {
    let events = between(Some(&Snapshot::new(sound(), at(0))), &Snapshot::new(sound(), at(200)));
    let ids: Vec<CheckId> = events
        .iter()
        .filter_map(|event| match event {
            Event::CheckFailed { check, .. } => Some(*check),
            _ => None,
        })
        .collect();
    assert_eq!(ids, [CheckId::Sink, CheckId::Sink]);
}
