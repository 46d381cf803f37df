//! The turn to renew what all nodes share, as one node sees it: its own, and that of others, which is
//! taken for abandoned if it stays the same for too long by this node's own clock.

use std::time::Duration;

/// What is known of the turn from before. Times are this node's uptime.
#[derive(Debug, Clone)]
pub struct TurnMemory {
    /// The longest that a living node holds it.
    length: Duration,
    ours_since: Option<Duration>,
    others: Option<Others>,
}

/// A turn of another node.
#[derive(Debug, Clone, Copy)]
struct Others {
    /// Tells this turn from any other.
    mark: u64,
    first_seen: Duration,
}

impl TurnMemory {
    pub fn new(length: Duration) -> Self {
        Self { length, ours_since: None, others: None }
    }

    /// Whether it is still ours, from a time when the renewal failed.
    pub fn is_ours(&self, now: Duration) -> bool {
        self.ours_since.is_some_and(|since| now.saturating_sub(since) < self.length)
    }

    pub fn taken(&mut self, now: Duration) {
        *self = Self { ours_since: Some(now), ..Self::new(self.length) };
    }

    pub fn given_back(&mut self) {
        self.ours_since = None;
    }

    /// Notes another node's turn; whether it has been held for too long.
    pub fn is_abandoned(&mut self, mark: u64, now: Duration) -> bool {
        let known = self.others.filter(|others| others.mark == mark);
        let others = *self.others.insert(known.unwrap_or(Others { mark, first_seen: now }));
        now.saturating_sub(others.first_seen) > self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    #[test]
    fn ours_lasts_for_its_length_or_until_given_back() {
        let mut turn = TurnMemory::new(at(45));
        assert!(!turn.is_ours(at(0)));
        turn.taken(at(10));
        assert!(turn.is_ours(at(54)) && !turn.is_ours(at(55)));
        turn.taken(at(60));
        turn.given_back();
        assert!(!turn.is_ours(at(61)));
    }

    #[test]
    fn anothers_is_abandoned_once_it_stayed_the_same_for_too_long() {
        let mut turn = TurnMemory::new(at(45));
        let mut check = |mark, now, expected| assert_eq!(turn.is_abandoned(mark, at(now)), expected, "{now}");
        check(7, 0, false);
        check(7, 45, false);
        check(7, 46, true);
        check(8, 50, false);
        check(8, 96, true);
    }
}
