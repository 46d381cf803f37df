//! Detects that the node's AWS identity has changed since a token was fetched, for example because the instance
//! profile was replaced. Queries only this machine, and rarely.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{Agent, PassReport, Wake};

/// How often to check; each check makes a few calls to the instance metadata service.
const INTERVAL: Duration = Duration::from_secs(10 * 60);

impl Agent {
    /// Marks tokens issued to another identity as due. Checks on each reload, otherwise at intervals.
    pub(super) async fn notice_new_principals(&mut self, wake: Wake, report: &mut PassReport) {
        let now = self.world.now().uptime;
        if wake != Wake::Reload && now.saturating_sub(self.state.principals_checked_at) < INTERVAL {
            return;
        }
        self.state.principals_checked_at = now;
        let mut checks = JoinSet::new();
        for (scope, before) in self.state.tokens.principals() {
            let check = self.parts.tokens.principal(scope.clone());
            checks.spawn(async move { (scope, before, check.await) });
        }
        while let Some(ended) = checks.join_next().await {
            // A failed check proves nothing; the next one tries again.
            let Ok((scope, before, principal)) = ended else { continue };
            if let Some(principal) = principal.filter(|principal| *principal != before) {
                report.superseded.push(format!("{scope}: {before} became {principal}"));
                self.state.tokens.supersede(&scope);
            }
        }
        self.beat();
    }
}
