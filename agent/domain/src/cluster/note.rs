//! A node's report on itself: a small file next to the published one, for clients that cannot reach the node.
//! Anyone who can write there can forge it.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::findings::Severity;
use crate::status::{StatusReport, capped};
use crate::time::Moment;

/// In bytes; no agent writes a larger note.
pub const LARGEST_NOTE: usize = 4 << 10;
/// The most finding codes in a note.
const MOST_FINDINGS: usize = 8;
const MOST_WORDS: usize = 16;
const LONGEST_WORD: usize = 64;
/// The least time between two writes, in pass intervals.
const REST: u32 = 5;

/// A node's state in a few words, none of them free text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeNote {
    pub version: String,
    pub ready: bool,
    /// By the node's clock.
    pub since: Timestamp,
    /// The ids of the failing checks.
    pub failing: Vec<String>,
    /// The codes of findings that are errors, the first of them.
    pub findings: Vec<String>,
}

/// Which note a node has left, and when the next is due.
#[derive(Debug, Default)]
pub struct Notes {
    /// The current state, and the uptime at which it began.
    state: Option<(NodeNote, Duration)>,
    written: Option<NodeNote>,
    tried_at: Option<Duration>,
}

impl NodeNote {
    pub fn of(report: &StatusReport) -> Self {
        let failing: BTreeSet<&str> =
            report.checks.iter().filter(|check| !check.ok).map(|check| check.id.as_str()).collect();
        let errors = report.findings.iter().filter(|finding| finding.severity() == Severity::Error);
        let findings: BTreeSet<&str> = errors.map(|finding| finding.code.name).collect();
        Self {
            version: capped(&report.version),
            ready: report.ready,
            since: report.now,
            failing: failing.into_iter().map(str::to_owned).collect(),
            findings: findings.into_iter().take(MOST_FINDINGS).map(str::to_owned).collect(),
        }
    }

    /// `None` unless an agent could have written it.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let note: Self = serde_json::from_slice(bytes).ok().filter(|_| bytes.len() <= LARGEST_NOTE)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-.+".contains(c);
        let is_word = |word: &String| word.len() <= LONGEST_WORD && word.chars().all(plain);
        let words = || note.failing.iter().chain(&note.findings);
        let is_possible = is_word(&note.version) && words().count() <= MOST_WORDS && words().all(is_word);
        is_possible.then_some(note)
    }

    pub fn render(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Whether both describe the same state, whenever it began.
    fn agrees(&self, other: &Self) -> bool {
        *self == Self { since: self.since, ..other.clone() }
    }
}

impl Notes {
    /// The note to write now: a state that has lasted from one pass to the next, unless the last note has it.
    pub fn due(&mut self, report: &StatusReport, interval: Duration, now: Moment) -> Option<NodeNote> {
        let note = NodeNote::of(report);
        let known = self.state.take().filter(|(known, _)| known.agrees(&note));
        let (note, since) = self.state.insert(known.unwrap_or((note, now.uptime)));
        let has_lasted = now.uptime.saturating_sub(*since) >= interval / 2;
        let has_rested = self.tried_at.is_none_or(|at| now.uptime.saturating_sub(at) >= interval * REST);
        let is_written = self.written.as_ref().is_some_and(|written| written.agrees(note));
        (has_lasted && has_rested && !is_written).then(|| note.clone())
    }

    /// Records that `note` was written; `None` if the write failed.
    pub fn tried(&mut self, note: Option<NodeNote>, now: Moment) {
        self.tried_at = Some(now.uptime);
        self.written = note.or(self.written.take());
    }

    /// Whether there is a note to remove when the agent stops.
    pub fn is_left(&self) -> bool {
        self.written.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::{LARGEST_NOTE, NodeNote, Notes};
    use crate::status::{ExecutorCfg, Status, StatusReport};
    use crate::time::Moment;

    const INTERVAL: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Moment {
        let uptime = Duration::from_secs(seconds);
        Moment { wall: Timestamp::UNIX_EPOCH + uptime, uptime }
    }

    fn report(sound: bool, now: Moment) -> StatusReport {
        let mut status = Status::new("node-1".to_owned(), INTERVAL, INTERVAL, INTERVAL);
        if sound {
            status.executor_cfg = ExecutorCfg::Sound;
        }
        StatusReport::new(&status, now)
    }

    #[test]
    fn only_what_lasts_is_written_and_once() {
        let mut notes = Notes::default();
        let mut due = |sound, second| {
            let due = notes.due(&report(sound, at(second)), INTERVAL, at(second));
            if let Some(note) = &due {
                notes.tried(Some(note.clone()), at(second));
            }
            due.map(|note| (note.failing.len(), note.since.as_second()))
        };
        assert_eq!(due(false, 0), None);
        assert_eq!(due(true, 10), None, "a boot goes through states that nobody needs to know");
        assert_eq!(due(true, 39), None);
        assert_eq!(due(true, 40), Some((1, 10)));
        assert_eq!(due(true, 1000), None);
        assert_eq!(due(false, 1010), None);
        assert_eq!(due(true, 1020), None, "a blip");
        assert_eq!(due(false, 1030), None);
        assert_eq!(due(false, 1060), Some((2, 1030)));
        assert_eq!(due(true, 1100), None);
        assert_eq!(due(true, 1200), None, "flapping is slowed down");
        assert_eq!(due(true, 1360), Some((1, 1100)));
    }

    #[test]
    fn a_failed_write_is_repeated_after_a_rest() {
        let mut notes = Notes::default();
        let mut due = |second| notes.due(&report(true, at(second)), INTERVAL, at(second)).is_some();
        assert!(!due(0) && due(60));
        notes.tried(None, at(60));
        assert!(!notes.is_left());
        let mut due = |second| notes.due(&report(true, at(second)), INTERVAL, at(second)).is_some();
        assert!(!due(359) && due(360));
    }

    #[test]
    fn a_note_is_small_and_reads_back() {
        let note = NodeNote::of(&report(false, at(1)));
        assert_eq!(note.failing, ["executor_config", "registries"]);
        let bytes = note.render();
        assert!(bytes.len() < 1024);
        assert_eq!(NodeNote::read(&bytes), Some(note));
    }

    #[test]
    fn what_no_agent_writes_is_not_read() {
        let note = |version: &str, failing: &[&str]| {
            let since = "2026-01-01T00:00:00Z";
            serde_json::json!({
                "version": version, "ready": true, "since": since, "failing": failing, "findings": []
            })
            .to_string()
        };
        assert!(NodeNote::read(note("0.1.0", &["token"]).as_bytes()).is_some());
        let by_another_version = note("0.2.0", &[]).replacen('{', "{\"later\":[1],", 1);
        assert!(NodeNote::read(by_another_version.as_bytes()).is_some());
        for wrong in [
            note("0.1.0", &["\u{1b}[2J"]),
            note("two words", &[]),
            note("0.1.0", &["token"; 17]),
            note(&"1".repeat(65), &[]),
            note("0.1.0", &[]) + &" ".repeat(LARGEST_NOTE),
            "{}".to_owned(),
        ] {
            assert_eq!(NodeNote::read(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
