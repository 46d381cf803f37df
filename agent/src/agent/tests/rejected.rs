//! Tokens that a registry rejects, or that no registry has proven.

use super::*;

#[test]
fn an_unproven_token_becomes_proven_without_another_from_ecr() {
    let mut harness = Harness::new();
    let theirs = plant(&harness.env, "theirs", 10 * HOUR);
    harness.env.probe_result.replace(Some(ProbeResult::Unknown("no route".to_owned())));
    harness.env.answers.borrow_mut().extend(std::iter::repeat_n(down(), 1_000));
    harness.pass(Wake::Start);
    let proof = |harness: &Harness| {
        let knowledge = harness.agent.state.knowledge();
        let attempts = harness.agent.state.tokens.get(&knowledge.registries[0].scope);
        attempts.and_then(|attempts| Some((attempts.token.clone()?.auth, attempts.proof)))
    };
    assert_eq!(proof(&harness), Some((theirs.clone(), Proof::Unproven)));
    harness.env.probe_result.take();
    harness.live_for(10 * MINUTE);
    assert_eq!(proof(&harness), Some((theirs, Proof::Accepted)));
}

#[test]
fn a_rejected_token_is_not_published() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    let before = harness.published();
    *harness.env.probe_result.borrow_mut() = Some(ProbeResult::Rejected(401));
    harness.live_for(8 * HOUR);
    assert_eq!(harness.calls(), 2);
    assert_eq!(harness.published(), before, "what lives stays");
    let report = harness.report();
    assert!(!report.ready);
    assert_eq!(report.registries[0].probe.as_deref(), Some("rejected"));
    *harness.env.probe_result.borrow_mut() = None;
    harness.live_for(10 * MINUTE);
    assert!(harness.report().ready);
    assert_ne!(harness.published(), before);
    assert_eq!(harness.calls(), 2);
}

#[test]
fn an_unreachable_registry_is_ignored() {
    let mut harness = Harness::new();
    *harness.env.probe_result.borrow_mut() = Some(ProbeResult::Unknown("no route".to_owned()));
    harness.pass(Wake::Start);
    assert!(harness.report().ready);
    assert_eq!(harness.report().registries[0].probe.as_deref(), Some("unknown"));
}

#[test]
fn a_reload_probes_again_and_replaces_a_rejected_token() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    harness.live_for(HOUR);
    let before = harness.published();
    *harness.env.probe_result.borrow_mut() = Some(ProbeResult::Rejected(403));
    harness.pass(Wake::Reload);
    *harness.env.probe_result.borrow_mut() = None;
    harness.live_for(MINUTE);
    assert_eq!(harness.calls(), 2);
    assert!(harness.report().ready);
    assert_ne!(harness.published(), before, "published at once, though the one before still lives");
}

#[test]
fn a_reload_publishes_no_rejected_token() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    let before = harness.published();
    *harness.env.probe_result.borrow_mut() = Some(ProbeResult::Rejected(401));
    harness.live_for(8 * HOUR);
    assert_eq!(harness.calls(), 2);
    harness.pass(Wake::Reload);
    assert_eq!(harness.published(), before);
    assert!(!harness.report().ready);
}

#[test]
fn a_rejected_token_that_has_expired_keeps_nobody_busy() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    *harness.env.probe_result.borrow_mut() = Some(ProbeResult::Rejected(403));
    harness.env.answers.borrow_mut().extend(std::iter::repeat_n(down(), 10_000));
    harness.pass(Wake::Reload);
    harness.env.uptime.set(13 * HOUR);
    harness.pass(Wake::Timer);
    assert!(harness.agent.quiet_for() > SHORTEST_REST);
}

#[test]
fn an_unproven_token_is_used_only_until_ecr_gives_another() {
    let mut harness = Harness::new();
    *harness.env.probe_result.borrow_mut() = Some(ProbeResult::Unknown("no route".to_owned()));
    harness.env.answers.borrow_mut().extend(std::iter::repeat_n(down(), 3));
    let planted = plant(&harness.env, "theirs", 11 * HOUR);
    harness.pass(Wake::Start);
    let report = harness.report();
    assert_eq!((report.ready, report.registries[0].source.as_deref()), (false, Some("unproven")));
    assert_eq!((harness.calls(), auth_in(&harness.env.local)), (1, Some(planted.clone())));
    harness.live_for(5 * MINUTE);
    let report = harness.report();
    assert_eq!((report.ready, report.registries[0].source.as_deref()), (true, Some("ecr")));
    assert_ne!(auth_in(&harness.env.local), Some(planted.clone()));
    assert_eq!(auth_in(&harness.env.hdfs), Some(planted), "nobody knows that it is bad");
}

#[test]
fn what_cannot_be_probed_never_displaces_a_living_token() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    let ours = auth_in(&harness.env.local);
    harness.live_for(HOUR);
    *harness.env.probe_result.borrow_mut() = Some(ProbeResult::Unknown("no route".to_owned()));
    plant(&harness.env, "theirs", 12 * HOUR);
    harness.live_for(3 * HOUR);
    assert_eq!(auth_in(&harness.env.local), ours);
    assert_eq!(harness.report().registries[0].source.as_deref(), Some("ecr"));
    harness.live_for(4 * HOUR);
    assert_eq!(harness.calls(), 2, "its own token is renewed in time");
}
