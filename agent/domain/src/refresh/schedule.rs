//! When to act next. Functions take a fraction in `0.0..1.0` where nodes must not all act at once.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// Retries wait a random time below a bound that starts here and doubles.
const FIRST_RETRY: Duration = Duration::from_secs(4);
/// The longest wait between retries: two default pass intervals.
const LONGEST_RETRY: Duration = Duration::from_secs(120);
/// A successful refresh holds the lock for a few seconds.
const SHORTEST_LOCK_WAIT: Duration = Duration::from_secs(10);
const LONGEST_LOCK_WAIT: Duration = Duration::from_secs(80);
/// The shortest wait between retries.
const SHORTEST_RETRY: Duration = Duration::from_secs(1);
/// One in this many reads of an unchanged file also reads its content, which costs a DataNode a call. If it were
/// rarer, the node would stay ready for more than two intervals after blocks were lost.
const READS_PER_CONTENT: u32 = 2;

/// Whether a node can coordinate with the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coordination {
    /// The published file is readable: one node fetches for all.
    Coordinated,
    /// It is unreadable, so every node fetches for itself. Nodes spread their calls over `jitter`, because a large
    /// cluster would otherwise exceed ECR's limit per account.
    Isolated { jitter: Duration },
}

impl Coordination {
    /// How long a node without a token waits before its first request.
    pub fn first_wait(self, jitter_fraction: f64) -> Duration {
        match self {
            Coordination::Coordinated => Duration::ZERO,
            Coordination::Isolated { jitter } => jitter.mul_f64(jitter_fraction),
        }
    }

    /// How long to wait after the `failures`-th consecutive failure; `random` is drawn for each call.
    pub fn retry_after(self, failures: u32, random: f64) -> Duration {
        match self {
            Coordination::Coordinated => retry_after(failures, random),
            Coordination::Isolated { jitter } => {
                retry_after(failures, random).max(jitter.mul_f64(0.5 + random))
            }
        }
    }
}

/// How long to wait for another node's refresh lock with a credential that expires in `left`: less as it gets
/// urgent, with jitter so that nodes do not act at once.
pub fn lock_wait(left: Duration, random: f64) -> Duration {
    (left / 60).clamp(SHORTEST_LOCK_WAIT, LONGEST_LOCK_WAIT).mul_f64(0.5 + random)
}

/// How long in total a node waits for others to renew a credential that had `left` to live when it became due; a
/// live node keeps the lock for at most `lock`. Since anyone may hold or touch the lock, the node then calls ECR
/// regardless. `jitter_fraction` keeps a cluster from doing so at once.
pub fn lock_patience(left: Duration, lock: Duration, jitter_fraction: f64) -> Duration {
    let of_life = left.mul_f64(0.25 + 0.25 * jitter_fraction);
    lock.mul_f64(1.0 + jitter_fraction).max(of_life)
}

/// Whether the `count`-th consecutive read of an unchanged file reads its content, because blocks can be lost
/// without a new stamp. Other reads get the stamp, because the mode can change without the content.
/// `jitter_fraction` is the node's own, so some node of a large cluster reads the content in each interval.
pub fn reads_content(count: u32, jitter_fraction: f64) -> bool {
    let offset = (jitter_fraction * f64::from(READS_PER_CONTENT)) as u32;
    count % READS_PER_CONTENT == offset
}

/// A node's fixed position in the jitter: a hash of its name, in `0.0..1.0`.
pub fn jitter_fraction(node: &str) -> f64 {
    let mut hasher = DefaultHasher::new();
    node.hash(&mut hasher);
    // A double represents 53 bits exactly.
    (hasher.finish() >> 11) as f64 / (1_u64 << 53) as f64
}

/// How long to wait after the `failures`-th consecutive failure: full jitter below a doubling bound.
pub fn retry_after(failures: u32, random: f64) -> Duration {
    let doubling = FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubling.min(LONGEST_RETRY).mul_f64(random).max(SHORTEST_RETRY)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use std::time::Duration;

    use super::{
        LONGEST_RETRY, READS_PER_CONTENT, SHORTEST_RETRY, jitter_fraction, lock_patience, reads_content,
        retry_after,
    };

    proptest! {
        #[test]
        fn retries_stay_in_bounds_and_never_overflow(failures: u32, unit in 0.0..1.0) {
            let wait = retry_after(failures, unit);
            prop_assert!(wait >= SHORTEST_RETRY && wait <= LONGEST_RETRY);
        }

        #[test]
        fn patience_ends_before_the_credential_does(left in 0..43_200_u64, lock in 1..100_u64, unit in 0.0..1.0) {
            let (left, lock) = (Duration::from_secs(left), Duration::from_secs(lock));
            let patience = lock_patience(left, lock, unit);
            prop_assert!(patience >= lock && patience <= (2 * lock).max(left / 2));
        }

        #[test]
        fn each_node_looks_at_the_content_once_in_a_round(unit in 0.0..1.0, first in 1..1_000_000_u32) {
            let round = first..first + READS_PER_CONTENT;
            prop_assert_eq!(round.filter(|look| reads_content(*look, unit)).count(), 1);
        }

        #[test]
        fn a_node_has_one_place(node: String) {
            prop_assert_eq!(jitter_fraction(&node), jitter_fraction(&node));
            prop_assert!((0.0..1.0).contains(&jitter_fraction(&node)));
        }
    }
}
