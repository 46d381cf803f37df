//! Notices that the node's AWS identity is another than when a token was fetched, such as after the instance
//! profile was replaced. Only this machine is asked, and rarely.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{Agent, PassReport, Wake};

/// How often to check: each check is a few calls to the instance metadata.
const INTERVAL: Duration = Duration::from_secs(10 * 60);

impl Agent {
    /// Makes the tokens due that another identity was given. Checks at each reload, else at intervals.
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
            // A failed check proves nothing, and is repeated.
            let Ok((scope, before, principal)) = ended else { continue };
            if let Some(principal) = principal.filter(|principal| *principal != before) {
                report.superseded.push(format!("{scope}: {before} became {principal}"));
                self.state.tokens.supersede(&scope);
            }
        }
        self.beat();
    }
}
