//! The credentials that an operator gives in a file: read at each pass, and kept while the file is broken.

use domain::status::StaticStatus;

use super::{Agent, PassReport};

impl Agent {
    /// Takes what the file holds now; a broken one leaves what was taken before in force.
    pub(super) fn read_static_credentials(&mut self, report: &mut PassReport) {
        let Some(path) = &self.settings.static_credentials else {
            self.statics = None;
            self.status.send_modify(|status| status.static_credentials = None);
            return;
        };
        let error = match self.world.static_credentials(path) {
            Ok(read) => {
                self.statics = Some(read);
                None
            }
            Err(problem) => {
                report.errors.push(problem.message.clone());
                Some(problem)
            }
        };
        let names = self.statics.iter().flat_map(|statics| statics.names().cloned()).collect();
        let known = StaticStatus { path: path.display().to_string(), names, error };
        self.status.send_modify(|status| status.static_credentials = Some(known));
    }
}
