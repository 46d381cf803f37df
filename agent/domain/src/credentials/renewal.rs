//! When to renew a credential, as a fraction of its lifetime.

use jiff::{SignedDuration, Timestamp};

use crate::time::saturating_add;

/// The fraction of a credential's lifetime after which one node renews it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Renewal {
    /// Fraction of the lifetime after which the first node renews.
    pub renew_at: f64,
    /// Fraction of the lifetime, from then on, over which the nodes spread.
    pub jitter: f64,
    /// This node's position in that spread, in `0.0..1.0`.
    pub jitter_fraction: f64,
}

impl Renewal {
    /// When to renew a credential that expires at `expires_at` and has the total lifetime `life`.
    pub fn due_at(self, expires_at: Timestamp, life: SignedDuration) -> Timestamp {
        let remains = (1.0 - self.renew_at - self.jitter * self.jitter_fraction).max(0.0);
        saturating_add(expires_at, -life.mul_f64(remains))
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};
    use proptest::prelude::*;

    use super::Renewal;

    fn at(second: i64) -> Timestamp {
        Timestamp::constant(second, 0)
    }

    #[test]
    fn renews_at_a_share_of_the_life() {
        let check = |share, jitter, unit, expected| {
            let due = Renewal { renew_at: share, jitter, jitter_fraction: unit }
                .due_at(at(43_200), SignedDuration::from_hours(12));
            assert_eq!(due, at(expected));
        };
        check(0.5, 0.0, 0.9, 21_600);
        check(0.5, 0.1, 0.0, 21_600);
        check(0.5, 0.1, 0.5, 23_760);
        check(0.9, 0.5, 1.0, 43_200);
    }

    proptest! {
        #[test]
        fn due_lies_within_the_life(share in 0.1..0.9, jitter in 0.0..0.5, unit in 0.0..1.0, life in 1..100_000_i64) {
            let due = Renewal { renew_at: share, jitter, jitter_fraction: unit }.due_at(at(1_000_000), SignedDuration::from_secs(life));
            prop_assert!(due <= at(1_000_000) && due >= at(1_000_000 - life));
        }
    }
}
