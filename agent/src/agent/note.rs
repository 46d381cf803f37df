//! This node's word for those who cannot ask it: left beside the published file, once for each state that lasts.

use domain::status::StatusReport;

use super::Agent;
use crate::io::log::detail;

impl Agent {
    /// Leaves a note if one is due. Nothing depends on it, so the pass does not fail with it.
    pub(super) async fn leave_note(&mut self) {
        let now = self.world.now();
        let report = StatusReport::new(&self.state.status(&self.settings), now);
        let due = self.state.notes.due(&report, self.settings.refresh.pass_interval, now);
        let Some(note) = due.filter(|_| self.state.sinks.published.is_in_order()) else { return };
        self.beat();
        let left = self.parts.published.leave_note(note.clone()).await;
        if let Err(problem) = &left {
            detail!(error = problem.message, "cannot leave this node's note");
        }
        self.state.notes.tried(left.is_ok().then_some(note), self.world.now());
        self.beat();
    }
}
