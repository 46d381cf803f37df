//! The times at which ECR and HDFS are unreachable.

use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
/// The agent must survive outages of up to this length.
const LONGEST_OF_ECR: Duration = Duration::from_secs(5 * 3600);
const LONGEST_OF_HDFS: Duration = Duration::from_secs(3 * 3600);
const SHORTEST: Duration = Duration::from_secs(120);
/// Hadoop is installed after the agents have started.
const HDFS_APPEARS: Duration = Duration::from_secs(180);
/// The mean time between the outages of a service.
const EVERY: Duration = Duration::from_secs(3 * 24 * 3600);

/// Spans of time since the cluster booted, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outages {
    pub ecr: Vec<Span>,
    pub hdfs: Vec<Span>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub from: Duration,
    pub to: Duration,
}

impl Outages {
    /// Draws outages of minutes to hours from `seed`. Those of ECR begin just as credentials become due, and some
    /// have the maximum length.
    pub(crate) fn draw(span: Duration, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut outages =
            Self { ecr: Vec::new(), hdfs: vec![Span { from: Duration::ZERO, to: HDFS_APPEARS }] };
        let mut at = HOUR * 6 - HDFS_APPEARS;
        while at + LONGEST_OF_ECR < span {
            let length = if random.bool() { LONGEST_OF_ECR } else { between(&mut random, LONGEST_OF_ECR) };
            outages.ecr.push(Span { from: at, to: at + length });
            // One service at a time: a credential cannot outlive two outages in a row.
            let hdfs_from = at + length + HOUR * 14;
            let length = between(&mut random, LONGEST_OF_HDFS);
            outages.hdfs.push(Span { from: hdfs_from, to: hdfs_from + length });
            at = hdfs_from + length + EVERY.mul_f64(0.3 + 0.4 * random.f64());
        }
        outages
    }
}

impl Span {
    pub(crate) fn holds(self, at: Duration) -> bool {
        self.from <= at && at < self.to
    }
}

/// Short ones are more frequent than long ones.
fn between(random: &mut fastrand::Rng, longest: Duration) -> Duration {
    let ratio = longest.as_secs_f64() / SHORTEST.as_secs_f64();
    SHORTEST.mul_f64(ratio.powf(random.f64()))
}
