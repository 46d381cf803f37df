//! When to act next. Every function is given `now`, and a `unit` in `0.0..1.0` where nodes must
//! not all act at once.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::time::saturating_add;

/// Failures are retried after a random wait below a bound that starts here and doubles.
const FIRST_RETRY: Duration = Duration::from_secs(4);
/// No wait between retries is longer: two of the usual intervals.
const LONGEST_RETRY: Duration = Duration::from_secs(120);
/// A turn that goes well takes some seconds.
const SHORTEST_YIELD: Duration = Duration::from_secs(10);
const LONGEST_YIELD: Duration = Duration::from_secs(80);
/// No wait between retries is shorter.
const SHORTEST_RETRY: Duration = Duration::from_secs(1);
/// Of so many looks at an unchanged file one is at its content, which costs the NameNode a second call. With
/// fewer of them, readiness would be true for longer than two intervals after blocks were lost.
const LOOKS_PER_CONTENT: u32 = 2;

/// At which part of a credential's life it is renewed by one node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Renewal {
    /// Share of the life that passes before any node renews.
    pub share: f64,
    /// Share of the life over which the nodes spread.
    pub jitter: f64,
    /// This node's place in that spread.
    pub unit: f64,
}

impl Renewal {
    /// When a credential that ends at `expires_at` and lives for `life` in all is to be renewed.
    pub fn due_at(self, expires_at: Timestamp, life: SignedDuration) -> Timestamp {
        let remains = (1.0 - self.share - self.jitter * self.unit).max(0.0);
        saturating_add(expires_at, -life.mul_f64(remains))
    }
}

/// Whether a node knows what the others do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Company {
    /// The published copy can be looked at: one node asks for all.
    Shared,
    /// It cannot, so that every node asks for itself. They spread their calls over this time, since a
    /// large cluster would else exceed what ECR allows to an account.
    Alone { spread: Duration },
}

impl Company {
    /// How long a node without any token waits before it first asks.
    pub fn first_wait(self, unit: f64) -> Duration {
        match self {
            Company::Shared => Duration::ZERO,
            Company::Alone { spread } => spread.mul_f64(unit),
        }
    }

    /// How long to wait after the `failures`-th failure in a row; `unit` is drawn anew each time.
    pub fn retry_after(self, failures: u32, unit: f64) -> Duration {
        match self {
            Company::Shared => retry_after(failures, unit),
            Company::Alone { spread } => retry_after(failures, unit).max(spread.mul_f64(0.5 + unit)),
        }
    }
}

/// How long to wait for another node's turn with a credential in hand that lives for `left` still: the
/// less, the more pressing; and not all nodes at once.
pub fn yield_for(left: Duration, unit: f64) -> Duration {
    (left / 60).clamp(SHORTEST_YIELD, LONGEST_YIELD).mul_f64(0.5 + unit)
}

/// Whether the `look`-th look in a row at an unchanged file is at its content, since blocks can be lost
/// under an unchanged stamp; otherwise at its stamp, since the mode can change under an unchanged
/// content. `unit` is the node's fixed place: some node of a large cluster looks at each interval.
pub fn looks_at_content(look: u32, unit: f64) -> bool {
    let place = (unit * f64::from(LOOKS_PER_CONTENT)) as u32;
    look % LOOKS_PER_CONTENT == place
}

/// A node's fixed place among the others: a hash of its name, in `0.0..1.0`.
pub fn unit_of(node: &str) -> f64 {
    let mut hasher = DefaultHasher::new();
    node.hash(&mut hasher);
    // 53 bits are what a double holds exactly.
    (hasher.finish() >> 11) as f64 / (1_u64 << 53) as f64
}

/// How long to wait after the `failures`-th failure in a row: full jitter below a doubling bound.
pub fn retry_after(failures: u32, unit: f64) -> Duration {
    let doubling = FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubling.min(LONGEST_RETRY).mul_f64(unit).max(SHORTEST_RETRY)
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};
    use proptest::prelude::*;

    use super::{
        LONGEST_RETRY, LOOKS_PER_CONTENT, Renewal, SHORTEST_RETRY, looks_at_content, retry_after, unit_of,
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::constant(second, 0)
    }

    #[test]
    fn renews_at_a_share_of_the_life() {
        let check = |share, jitter, unit, expected| {
            let due = Renewal { share, jitter, unit }.due_at(at(43_200), SignedDuration::from_hours(12));
            assert_eq!(due, at(expected));
        };
        check(0.5, 0.0, 0.9, 21_600);
        check(0.5, 0.1, 0.0, 21_600);
        check(0.5, 0.1, 0.5, 23_760);
        check(0.9, 0.5, 1.0, 43_200);
    }

    proptest! {
        #[test]
        fn retries_stay_in_bounds_and_never_overflow(failures: u32, unit in 0.0..1.0) {
            let wait = retry_after(failures, unit);
            prop_assert!(wait >= SHORTEST_RETRY && wait <= LONGEST_RETRY);
        }

        #[test]
        fn each_node_looks_at_the_content_once_in_a_round(unit in 0.0..1.0, first in 1..1_000_000_u32) {
            let round = first..first + LOOKS_PER_CONTENT;
            prop_assert_eq!(round.filter(|look| looks_at_content(*look, unit)).count(), 1);
        }

        #[test]
        fn a_node_has_one_place(node: String) {
            prop_assert_eq!(unit_of(&node), unit_of(&node));
            prop_assert!((0.0..1.0).contains(&unit_of(&node)));
        }

        #[test]
        fn due_lies_within_the_life(share in 0.1..0.9, jitter in 0.0..0.5, unit in 0.0..1.0, life in 1..100_000_i64) {
            let due = Renewal { share, jitter, unit }.due_at(at(1_000_000), SignedDuration::from_secs(life));
            prop_assert!(due <= at(1_000_000) && due >= at(1_000_000 - life));
        }
    }
}
