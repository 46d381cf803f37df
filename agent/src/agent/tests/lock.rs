//! The refresh lock, which one node of a cluster holds while it asks ECR.

use super::*;

#[test]
fn nothing_is_fetched_while_another_node_holds_the_lock() {
    let mut harness = Harness::new();
    harness.env.hdfs.lock_is_held.set(true);
    assert!(harness.pass(Wake::Start).waits_for_lock);
    harness.live_for(Duration::from_secs(30));
    assert_eq!(harness.calls(), 0);
    let waiting_for = harness.report().waiting_for;
    assert!(waiting_for[0].starts_with("the refresh lock of ip-10-0-0-1"), "{waiting_for:?}");
    harness.env.hdfs.lock_is_held.set(false);
    harness.live_for(MINUTE);
    assert_eq!((harness.calls(), harness.env.hdfs.locks_released.get()), (1, 1));
    assert!(harness.report().ready);
    assert_eq!(harness.report().waiting_for, [""; 0]);
}

#[test]
fn a_node_that_got_the_lock_no_longer_waits_for_it() {
    let mut harness = Harness::new();
    harness.env.hdfs.lock_is_held.set(true);
    harness.pass(Wake::Start);
    assert!(harness.agent.state.tokens.waits_for_lock());
    harness.env.hdfs.lock_is_held.set(false);
    harness.env.answers.borrow_mut().push_back(down());
    harness.live_for(MINUTE);
    assert!(!harness.agent.state.tokens.waits_for_lock());
}

#[test]
fn a_lock_that_never_ends_holds_nobody_up() {
    let mut harness = Harness::new();
    harness.env.hdfs.lock_is_held.set(true);
    harness.pass(Wake::Start);
    let length = Settings::default().deadlines.refresh_lock();
    harness.live_for(2 * length);
    assert_eq!(harness.calls(), 1);
    assert!(harness.report().ready, "{:?}", harness.report().checks);
    for _ in 0..2 * 24 {
        harness.live_for(HOUR);
        assert!(harness.report().ready, "{:?}", harness.report().checks);
    }
    assert!(harness.calls() <= 7, "{}", harness.calls());
}

#[test]
fn a_stopped_agent_releases_the_lock() {
    let harness = Harness::new();
    harness.env.answers.borrow_mut().push_back(down());
    let (_hangups, receiver) = tokio::sync::mpsc::channel(1);
    let ended = harness.runtime.block_on(harness.agent.run(receiver, ready(())));
    assert!(ended.is_ok());
    assert_eq!(harness.env.hdfs.locks_released.get(), 1);
}

#[test]
fn a_failed_holder_lets_the_lock_expire() {
    let mut harness = Harness::new();
    harness.env.answers.borrow_mut().push_back(down());
    harness.pass(Wake::Start);
    assert_eq!(harness.env.hdfs.locks_released.get(), 0, "others would only fail as well");
    harness.live_for(MINUTE);
    assert_eq!((harness.calls(), harness.env.hdfs.locks_released.get()), (2, 1));
}
