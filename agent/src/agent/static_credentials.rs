//! The credentials that an operator gives in a file: read at each pass, and kept while the file is broken.

use super::{Agent, PassReport};

impl Agent {
    /// Takes what the file holds now; a broken one leaves what was taken before in use.
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
