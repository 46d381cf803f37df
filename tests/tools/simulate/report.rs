//! The figures and targets of a run.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::cluster::{Counts, TOKEN_LIFE};

/// All nodes of a cluster must be fresh within this time after its boot.
const FRESH_WITHIN: f64 = 600.0;
const MOST_WRITES_PER_LIFE: f64 = 2.0;
/// A node's interval between passes when nothing changes.
const INTERVAL: Duration = Duration::from_secs(60);

/// One row of the table.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    nodes: usize,
    days: u32,
    ecr_calls: u64,
    ecr_calls_peak_per_second: u64,
    ecr_calls_throttled: u64,
    hdfs_writes: u64,
    hdfs_writes_per_token_life: f64,
    hdfs_rpcs_per_node_and_minute: f64,
    expired_seconds: f64,
    below_minimum_seconds: f64,
    first_publish_seconds: Option<f64>,
    all_fresh_seconds: Option<f64>,
    passes_run: u64,
}

impl Outcome {
    pub(crate) fn of(nodes: usize, days: u32, counts: &Counts) -> Self {
        let lives = counts.span.as_secs_f64() / TOKEN_LIFE.as_secs_f64();
        let living = counts.span.as_secs_f64() * nodes as f64;
        let routine = living / INTERVAL.as_secs_f64();
        Self {
            nodes,
            days,
            ecr_calls: counts.calls,
            ecr_calls_peak_per_second: counts.peak_calls_per_second,
            ecr_calls_throttled: counts.throttled,
            hdfs_writes: counts.writes,
            // The first document is not a renewal.
            hdfs_writes_per_token_life: counts.writes.saturating_sub(1) as f64 / lives,
            hdfs_rpcs_per_node_and_minute: (routine + counts.extra_rpcs as f64) / routine,
            expired_seconds: counts.expired_seconds,
            below_minimum_seconds: counts.below_minimum_seconds,
            first_publish_seconds: counts.first_publish.map(|at| at.as_secs_f64()),
            all_fresh_seconds: counts.all_fresh.map(|at| at.as_secs_f64()),
            passes_run: counts.passes,
        }
    }

    /// The targets that this run missed.
    pub(crate) fn missed(&self) -> Vec<String> {
        let bars = [
            (self.expired_seconds > 0.0, "an expired credential was published"),
            (self.ecr_calls_throttled > 0, "ECR's limit was exceeded"),
            (self.hdfs_writes_per_token_life > MOST_WRITES_PER_LIFE, "more than 2 writes per token life"),
            (self.all_fresh_seconds.is_none_or(|s| s > FRESH_WITHIN), "not all were fresh within 10 minutes"),
        ];
        let missed = bars.into_iter().filter(|(missed, _)| *missed);
        missed.map(|(_, what)| format!("{} nodes: {what}", self.nodes)).collect()
    }
}

pub(crate) fn json(outcomes: &[Outcome]) -> String {
    serde_json::to_string_pretty(outcomes).unwrap_or_default()
}

pub(crate) fn table(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "| nodes | days | calls to ECR | peak per s | throttled | HDFS writes | per token life | RPCs per node and minute | s expired | s below minimum | first publish | all fresh |\n| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    let seconds = |at: Option<f64>| at.map_or_else(|| "never".to_owned(), |at| format!("{at:.0} s"));
    for o in outcomes {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {:.2} | {:.3} | {:.0} | {:.0} | {} | {} |",
            o.nodes,
            o.days,
            o.ecr_calls,
            o.ecr_calls_peak_per_second,
            o.ecr_calls_throttled,
            o.hdfs_writes,
            o.hdfs_writes_per_token_life,
            o.hdfs_rpcs_per_node_and_minute,
            o.expired_seconds,
            o.below_minimum_seconds,
            seconds(o.first_publish_seconds),
            seconds(o.all_fresh_seconds),
        );
    }
    text
}
