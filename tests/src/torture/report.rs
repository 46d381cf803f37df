//! The result of a torture run, as a table and as a line of JSON.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::readers::{Bad, Seen};

#[derive(Debug, Clone)]
pub struct Report {
    pub length: Duration,
    pub agents: Side,
    /// Agents killed and restarted.
    pub kills: u32,
    /// Replacements of the file by an older version.
    pub set_backs: u32,
    /// Changes of the file's mode.
    pub mode_drifts: u32,
    pub launches: Launches,
    /// `hadoop fs -put -f` under the same readers.
    pub comparison: Side,
}

/// What the readers saw with one way of publishing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    pub publishes: u64,
    pub reads: u64,
    /// See [`Seen::replaced`].
    pub replaced: u64,
    pub bad: Bad,
    pub examples: Vec<String>,
}

/// Launches made meanwhile by YARN's own class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Launches {
    pub tried: u64,
    pub failed: u64,
}

/// The minimum that makes a run meaningful.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bar {
    pub reads: u64,
    pub publishes: u64,
}

impl Bar {
    /// Scales 300,000 reads over 100 publishes in three minutes to `length`.
    pub fn for_length(length: Duration) -> Self {
        Self { reads: length.as_secs() * 300_000 / 180, publishes: length.as_secs() * 100 / 180 }
    }

    pub(super) fn is_met_by(self, seen: &Seen) -> bool {
        seen.reads >= self.reads && seen.versions >= self.publishes
    }
}

impl Side {
    pub(super) fn between(before: &Seen, after: &Seen, publishes: u64) -> Self {
        Self {
            publishes,
            reads: after.reads - before.reads,
            replaced: after.replaced - before.replaced,
            bad: after.bad - before.bad,
            examples: after.examples.iter().skip(before.examples.len()).cloned().collect(),
        }
    }

    fn json(&self) -> Value {
        json!({
            "publishes": self.publishes,
            "reads": self.reads,
            "replaced": self.replaced,
            "bad_reads": self.bad.total(),
            "bad": self.bad,
        })
    }

    fn row(&self, name: &str) -> String {
        let Self { publishes, reads, replaced, bad, .. } = self;
        let Bad { missing, torn, poisonous, expired, other } = bad;
        format!(
            "{name:<20}{publishes:>10}{reads:>10}{replaced:>10}{:>7}{missing:>9}{torn:>7}{poisonous:>11}{expired:>9}{other:>7}\n",
            bad.total()
        )
    }
}

impl Report {
    /// The reasons why this does not prove that readers never see a bad file; empty if it does.
    pub fn faults(&self, bar: Bar) -> Vec<String> {
        let Self { agents, launches, .. } = self;
        let mut faults = Vec::new();
        if agents.bad.total() > 0 {
            faults.push(format!("{} bad reads: {:?}", agents.bad.total(), agents.examples));
        }
        if launches.failed > 0 || launches.tried == 0 {
            faults.push(format!("{} of {} launches failed", launches.failed, launches.tried));
        }
        if agents.reads < bar.reads {
            faults.push(format!("only {} of {} reads", agents.reads, bar.reads));
        }
        if agents.publishes < bar.publishes {
            faults.push(format!("only {} of {} publishes", agents.publishes, bar.publishes));
        }
        faults
    }

    pub fn json(&self) -> Value {
        json!({
            "seconds": self.length.as_secs(),
            "emr_ecr_agent": self.agents.json(),
            "kills": self.kills,
            "set_backs": self.set_backs,
            "mode_drifts": self.mode_drifts,
            "launches": { "tried": self.launches.tried, "failed": self.launches.failed },
            "hadoop_fs_put": self.comparison.json(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, set_backs, mode_drifts, launches, .. } = self;
        writeln!(
            f,
            "{:<20}{:>10}{:>10}{:>10}{:>7}{:>9}{:>7}{:>11}{:>9}{:>7}",
            "publisher",
            "publishes",
            "reads",
            "replaced",
            "bad",
            "missing",
            "torn",
            "poisonous",
            "expired",
            "other"
        )?;
        f.write_str(&self.agents.row("emr-ecr-agent"))?;
        f.write_str(&self.comparison.row("hadoop fs -put -f"))?;
        write!(
            f,
            "{kills} agents killed, {set_backs} older versions put back, {mode_drifts} modes changed; \
             {} of {} launches by YARN's own class failed",
            launches.failed, launches.tried
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{Bad, Bar, Duration, Launches, Report, Side};

    fn report(reads: u64, publishes: u64, missing: u64, failed: u64) -> Report {
        let bad = Bad { missing, ..Bad::default() };
        let side = Side { publishes, reads, replaced: 1, bad, examples: Vec::new() };
        Report {
            length: Duration::from_secs(180),
            agents: side.clone(),
            kills: 0,
            set_backs: 0,
            mode_drifts: 0,
            launches: Launches { tried: 10, failed },
            comparison: side,
        }
    }

    #[test]
    fn too_few_or_bad_reads_prove_nothing() {
        let check = |report: Report, faults: usize| {
            assert_eq!(report.faults(Bar::for_length(report.length)).len(), faults, "{report}");
        };
        check(report(300_000, 100, 0, 0), 0);
        check(report(299_999, 99, 0, 0), 2);
        check(report(300_000, 100, 1, 0), 1);
        check(report(300_000, 100, 0, 1), 1);
    }
}
