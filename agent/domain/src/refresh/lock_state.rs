//! The refresh lock as one node sees it: held by itself or by another node. Another node's lock counts as abandoned
//! if it stays unchanged for too long by this node's own clock.

use std::time::Duration;

/// The state of the lock. Times are this node's uptime.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LockState {
    /// The longest that a live node holds the lock.
    length: Duration,
    held_since: Option<Duration>,
    other: Option<OtherHolder>,
}

/// A lock that another node holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct OtherHolder {
    /// Distinguishes this lock from any other.
    mark: u64,
    first_seen: Duration,
}

impl LockState {
    pub fn new(length: Duration) -> Self {
        Self { length, held_since: None, other: None }
    }

    /// Whether this node still holds the lock.
    pub fn is_held(&self, now: Duration) -> bool {
        self.held_since.is_some_and(|since| now.saturating_sub(since) < self.length)
    }

    pub fn acquired(&mut self, now: Duration) {
        *self = Self { held_since: Some(now), ..Self::new(self.length) };
    }

    pub fn released(&mut self) {
        self.held_since = None;
    }

    /// Records another node's lock. Returns whether it has been held for too long.
    pub fn is_abandoned(&mut self, mark: u64, now: Duration) -> bool {
        let known = self.other.filter(|other| other.mark == mark);
        let other = *self.other.insert(known.unwrap_or(OtherHolder { mark, first_seen: now }));
        now.saturating_sub(other.first_seen) > self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    #[test]
    fn a_held_lock_lasts_for_its_length_or_until_released() {
        let mut lock = LockState::new(at(45));
        assert!(!lock.is_held(at(0)));
        lock.acquired(at(10));
        assert!(lock.is_held(at(54)) && !lock.is_held(at(55)));
        lock.acquired(at(60));
        lock.released();
        assert!(!lock.is_held(at(61)));
    }

    #[test]
    fn a_lock_that_never_changes_is_abandoned() {
        let mut lock = LockState::new(at(45));
        let mut check = |mark, now, expected| assert_eq!(lock.is_abandoned(mark, at(now)), expected, "{now}");
        check(7, 0, false);
        check(7, 45, false);
        check(7, 46, true);
        check(8, 50, false);
        check(8, 96, true);
    }
}
