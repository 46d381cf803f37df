//! What other writers put into the files.

use super::*;

#[test]
fn a_planted_token_that_ends_sooner_is_refused_as_well() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    let ours = auth_in(&harness.env.hdfs);
    let planted = plant(&harness.env, "planted", 11 * HOUR);
    harness.env.rejected.borrow_mut().push(planted);
    harness.live_for(2 * MINUTE);
    assert_eq!(auth_in(&harness.env.hdfs), ours);
    assert_eq!(harness.calls(), 1);
    assert!(harness.report().ready, "{:?}", harness.report().checks);
}

#[test]
fn drift_is_counted_by_kind() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    let count = |harness: &Harness, kind: &str| {
        let line = format!("emr_ecr_agent_drift_total{{kind=\"{kind}\",sink=\"hdfs\"}} 1");
        harness.metrics.render(&harness.report()).lines().any(|l| l == line)
    };
    assert!(!count(&harness, "content") && !count(&harness, "missing"));
    let document = Document::new(b"{}".to_vec());
    *harness.env.hdfs.found.borrow_mut() = Some(Found::File { document, attributes: Attributes::AS_SET });
    harness.live_for(MINUTE);
    assert!(count(&harness, "content") && !count(&harness, "missing"));
    *harness.env.hdfs.found.borrow_mut() = None;
    harness.live_for(MINUTE);
    assert!(count(&harness, "content") && count(&harness, "missing"));
}

#[test]
fn the_next_pass_repairs_what_another_writer_did() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    let disturbances: [&[u8]; 4] = [b"", b"{", br#"{"auths":{"x":{}}}"#, br#"{"auths":{}}"#];
    for disturbance in disturbances {
        let document = Document::new(disturbance.to_vec());
        *harness.env.hdfs.found.borrow_mut() = Some(Found::File { document, attributes: Attributes::AS_SET });
        harness.live_for(MINUTE);
        let (published, poison) = PublishedDocument::read(&harness.published().expect("published"));
        assert_eq!(poison, None);
        assert!(published.expires_at(&EntryName::parse(HOST).expect("a name")).is_some());
        assert!(harness.report().ready);
    }
}

#[test]
fn a_planted_token_is_refused_and_replaced() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    let ours = auth_in(&harness.env.local);
    for password in ["first", "second"] {
        harness.live_for(MINUTE);
        let planted = plant(&harness.env, password, 12 * HOUR);
        harness.env.rejected.borrow_mut().push(planted);
        let report = harness.pass(Wake::Changed);
        assert_eq!(report.adopted, [""; 0]);
        harness.live_for(MINUTE);
        assert_eq!((auth_in(&harness.env.local), auth_in(&harness.env.hdfs)), (ours.clone(), ours.clone()));
        assert!(harness.report().ready, "{:?}", harness.report().checks);
    }
    assert_eq!(harness.calls(), 1, "the token at hand was good enough");
}

#[test]
fn a_token_planted_before_the_start_costs_one_call() {
    let mut harness = Harness::new();
    let planted = plant(&harness.env, "planted", 12 * HOUR);
    harness.env.rejected.borrow_mut().push(planted.clone());
    harness.pass(Wake::Start);
    assert_eq!(harness.calls(), 1);
    assert_ne!(auth_in(&harness.env.hdfs), Some(planted));
    assert_eq!(auth_in(&harness.env.local), auth_in(&harness.env.hdfs));
    assert!(harness.report().ready, "{:?}", harness.report().checks);
}

#[test]
fn no_claim_makes_ecr_be_asked_more_than_once_a_minute() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    for number in 0..120 {
        plant(&harness.env, &format!("planted-{number}"), 12 * HOUR);
        harness.env.rejected.borrow_mut().extend(auth_in(&harness.env.hdfs));
        if number % 2 == 0 {
            harness.env.rejected.borrow_mut().extend(auth_in(&harness.env.local));
            harness.pass(Wake::Reload);
        }
        harness.live_for(Duration::from_secs(5));
    }
    assert!(harness.calls() <= 11, "{} calls in ten minutes", harness.calls());
}
