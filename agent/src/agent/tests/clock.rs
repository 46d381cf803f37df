//! A local clock that is wrong or jumps.

use super::*;

#[test]
fn a_wrong_local_clock_changes_nothing() {
    for hours in [-13, 13] {
        let mut harness = Harness::new();
        harness.env.skew.set(SignedDuration::from_hours(hours));
        harness.pass(Wake::Start);
        assert!(harness.report().ready, "{hours}");
        harness.live_for(20 * HOUR);
        assert!(harness.report().ready, "{hours}");
        assert!(harness.calls() <= 4, "{}", harness.calls());
    }
}

#[test]
fn a_jumping_local_clock_changes_nothing() {
    for hours in [-12, 12] {
        let mut harness = Harness::new();
        harness.pass(Wake::Start);
        harness.live_for(HOUR);
        harness.env.jump.set(SignedDuration::from_hours(hours));
        harness.live_for(4 * HOUR);
        assert_eq!(harness.calls(), 1, "{hours}: nothing was due");
        for _ in 0..24 {
            harness.live_for(HOUR);
            assert!(harness.report().ready, "{hours}");
        }
        assert!(harness.calls() <= 6, "{}", harness.calls());
    }
}
