//! The static credentials from the operator's file: read on each pass, and kept while the file is broken.

use super::{Agent, PassReport};

impl Agent {
    /// Reads the file; if it is broken, the previous credentials stay in use.
    pub(super) async fn read_static_credentials(&mut self, report: &mut PassReport) {
        self.state.static_credentials_error = None;
        let Some(path) = &self.settings.static_credentials else {
            self.state.static_credentials = None;
            return;
        };
        match self.world.static_credentials(path, self.settings.deadlines.files).await {
            Ok(read) => self.state.static_credentials = Some(read),
            Err(problem) => {
                report.errors.push(problem.message.clone());
                self.state.static_credentials_error = Some(problem);
            }
        }
    }
}
