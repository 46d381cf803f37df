//! Tokens: when ECR is asked, and what outages cost.

use super::*;

#[test]
fn a_second_pass_does_nothing() {
    let mut harness = Harness::new();
    let first = harness.pass(Wake::Start);
    assert_eq!((first.changes.len(), first.errors.len()), (2, 0));
    assert!(harness.report().ready, "{:?}", harness.report().checks);
    assert_eq!(*harness.env.calls.borrow(), ["ECR in us-east-1"], "one call for two hosts of a Region");
    let second = harness.pass(Wake::Reload);
    assert_eq!((second.changes.len(), second.errors.len()), (0, 0));
    assert_eq!(harness.calls(), 1);
}

#[test]
fn published_credentials_never_come_near_their_expiry() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    for _ in 0..2 * 24 * 4 {
        harness.live_for(15 * MINUTE);
        assert!(harness.report().ready, "{:?}", harness.report().checks);
        let (published, poison) = PublishedDocument::read(&harness.published().expect("published"));
        let ends = published.expires_at(&EntryName::parse(HOST).expect("a name")).expect("known");
        assert_eq!(poison, None);
        assert!(ends.duration_since(harness.env.now().wall) > SignedDuration::from_hours(4));
    }
    let calls = harness.calls();
    assert!((7..=9).contains(&calls), "half of the life to 0.6 of it: {calls}");
}

#[test]
fn a_changed_aws_identity_means_a_new_token() {
    for (wake, wait) in [(Wake::Reload, Duration::ZERO), (Wake::Timer, 10 * MINUTE)] {
        let mut harness = Harness::new();
        let role = |name: &str| Some(Principal::instance_role(name));
        harness.env.principal.replace(role("first"));
        harness.pass(Wake::Start);
        harness.pass(wake);
        assert_eq!(harness.calls(), 1);
        harness.live_for(MINUTE);
        harness.env.principal.replace(role("second"));
        harness.live_for(wait);
        let report = harness.pass(wake);
        assert_eq!(harness.calls(), 2, "{wake:?} {report:?}");
        harness.env.principal.replace(None);
        harness.pass(Wake::Reload);
        assert_eq!(harness.calls(), 2, "an unknown principal is no change");
    }
}

#[test]
fn an_ecr_outage_is_survived_while_the_token_lives() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    let before = harness.published();
    harness.env.answers.borrow_mut().extend(std::iter::repeat_n(down(), 10_000));
    harness.live_for(11 * HOUR);
    assert!(harness.report().ready);
    assert_eq!(harness.published(), before);
    assert!(harness.report().registries[0].consecutive_failures > 10);
    harness.live_for(31 * MINUTE);
    assert!(!harness.report().ready, "less than the minimum validity is left");
    assert_eq!(harness.report().waiting_for, ["ECR in us-east-1"]);
    assert_eq!(harness.published(), before, "what lives is never taken away");
    harness.env.answers.borrow_mut().clear();
    harness.live_for(6 * MINUTE);
    assert!(harness.report().ready);
}

#[test]
fn an_hdfs_outage_costs_no_call_to_ecr() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    *harness.env.hdfs.refusal.borrow_mut() = Some(Problem::waiting("HDFS", "refused"));
    harness.live_for(2 * HOUR);
    assert_eq!(harness.calls(), 1);
    let report = harness.report();
    assert_eq!((report.ready, report.live), (false, true));
    assert_eq!(report.waiting_for, ["HDFS"]);
    assert!(report.sinks[0].fresh && !report.sinks[1].fresh);
    harness.env.hdfs.refusal.borrow_mut().take();
    harness.live_for(MINUTE);
    assert!(harness.report().ready);
    assert_eq!(harness.calls(), 1);
}

#[test]
fn a_failure_that_leaves_nothing_to_read_ends_readiness() {
    for (leaves_nothing, ready) in [(false, true), (true, false)] {
        let mut harness = Harness::new();
        harness.pass(Wake::Start);
        let problem = Problem { leaves_nothing, ..Problem::waiting("quota on HDFS", "refused") };
        *harness.env.hdfs.refusal.borrow_mut() = Some(problem);
        harness.live_for(MINUTE);
        let report = harness.report();
        assert!(report.sinks[1].error.is_some());
        assert_eq!(report.ready, ready, "leaves nothing: {leaves_nothing}");
    }
}

#[test]
fn a_fatal_problem_ends_the_process() {
    let harness = Harness::new();
    let problem = Problem { fatal: true, ..Problem::waiting("HDFS to answer", "three threads are stuck") };
    *harness.env.hdfs.refusal.borrow_mut() = Some(problem);
    let (_hangups, receiver) = tokio::sync::mpsc::channel(1);
    let ended = harness.runtime.block_on(harness.agent.run(receiver, std::future::pending()));
    let fatal = ended.expect_err("nothing else ends it");
    assert!(fatal.to_string().contains("three threads are stuck"), "{fatal}");
}

#[test]
fn an_isolated_node_asks_ecr_after_a_jitter() {
    let mut harness = Harness::new();
    *harness.env.hdfs.refusal.borrow_mut() = Some(Problem::waiting("HDFS", "refused"));
    harness.pass(Wake::Start);
    assert_eq!(harness.calls(), 0);
    harness.live_for(9 * MINUTE);
    assert_eq!(harness.calls(), 1);
    assert!(harness.report().sinks[0].fresh);
}

#[test]
fn a_requested_renewal_waits_neither_for_a_jitter_nor_after_a_failure() {
    let mut harness = Harness::new();
    *harness.env.hdfs.refusal.borrow_mut() = Some(Problem::waiting("HDFS", "refused"));
    harness.env.answers.borrow_mut().push_back(down());
    harness.pass(Wake::Start);
    for calls in 1..=2 {
        harness.pass(Wake::Renew);
        assert_eq!(harness.calls(), calls);
    }
    assert!(harness.report().sinks[0].fresh);
}

#[test]
fn a_published_token_is_as_good_as_ones_own() {
    let mut first = Harness::new();
    first.pass(Wake::Start);
    let mut second = Harness::new();
    *second.env.hdfs.found.borrow_mut() = first.env.hdfs.found.borrow().clone();
    let pass = second.pass(Wake::Start);
    assert_eq!((pass.adopted.len(), second.calls()), (1, 0), "{pass:?}");
    assert_eq!(second.env.probes.borrow().len(), 2, "once at each registry, which gives the time");
    second.live_for(HOUR);
    assert_eq!(second.env.probes.borrow().len(), 2);
    let report = second.report();
    assert!(report.ready, "{:?}", report.checks);
    assert_eq!(report.registries[0].source.as_deref(), Some("published"));
    assert_eq!(second.published(), first.published());
}

#[test]
fn a_requested_renewal_asks_ecr_once_and_not_within_a_minute() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    harness.live_for(2 * MINUTE);
    let before = auth_in(&harness.env.hdfs);
    harness.pass(Wake::Renew);
    assert_eq!(harness.calls(), 2);
    assert_ne!(auth_in(&harness.env.hdfs), before);
    harness.pass(Wake::Renew);
    assert_eq!(harness.calls(), 2);
    harness.live_for(2 * MINUTE);
    assert_eq!(harness.calls(), 3, "the second request is kept until then");
    harness.live_for(HOUR);
    assert_eq!(harness.calls(), 3);
}

#[test]
fn a_panic_of_the_sdk_counts_as_a_failure() {
    let mut harness = Harness::new();
    harness.env.panics.set(true);
    harness.pass(Wake::Start);
    assert_eq!((harness.calls(), harness.report().registries[0].consecutive_failures), (1, 1));
    assert!(harness.agent.quiet_for() > SHORTEST_REST);
    harness.env.panics.set(false);
    harness.live_for(10 * MINUTE);
    assert!(harness.report().ready);
}

#[test]
fn hdfs_is_read_at_most_once_per_interval() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    harness.env.answers.borrow_mut().extend(std::iter::repeat_n(down(), 10_000));
    harness.live_for(10 * HOUR);
    // The agent rereads the published copy before each retry and after acquiring the lock.
    assert!(
        harness.env.hdfs.reconciled.get() <= 601 + 2 * harness.calls(),
        "{}",
        harness.env.hdfs.reconciled.get()
    );
}
