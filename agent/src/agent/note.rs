//! This node's note for those that cannot reach it: a file next to the published one, written once per lasting state.

use domain::status::StatusReport;

use super::Agent;
use crate::io::log::detail;

impl Agent {
    /// Writes a note if one is due. Nothing depends on it, so a failure does not fail the pass.
    pub(super) async fn leave_note(&mut self) {
        let now = self.world.now();
        let report = StatusReport::new(&self.state.status(&self.settings), now);
        let due = self.state.notes.due(&report, self.settings.refresh.pass_interval, now);
        let Some(note) = due.filter(|_| self.state.sinks.published.is_in_order()) else { return };
        self.beat();
        let left = self.parts.published.leave_note(note.clone()).await;
        if let Err(problem) = &left {
            detail!(error = problem.message, "cannot write this node's note");
        }
        self.state.notes.tried(left.is_ok().then_some(note), self.world.now());
        self.beat();
    }
}
