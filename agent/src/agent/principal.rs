//! Notices that somebody else stands behind the node's AWS credentials than when a token was taken, such
//! as after the instance profile was replaced. Only this machine is asked, and rarely.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{Agent, PassReport, Wake};

/// How often it is looked: each look is a few calls to the instance metadata.
const INTERVAL: Duration = Duration::from_secs(10 * 60);

impl Agent {
    /// Makes the tokens due that were given to somebody else. Looks at each reload, else at intervals.
    pub(super) async fn notice_new_holders(&mut self, wake: Wake, report: &mut PassReport) {
        let now = self.world.now().uptime;
        if wake != Wake::Reload && now.saturating_sub(self.holders_seen_at) < INTERVAL {
            return;
        }
        self.holders_seen_at = now;
        let mut looks = JoinSet::new();
        for (issuer, before) in self.tokens.holders() {
            let look = self.parts.tokens.holder(issuer.clone());
            looks.spawn(async move { (issuer, before, look.await) });
        }
        while let Some(ended) = looks.join_next().await {
            // A look that failed says nothing, and is made again.
            let Ok((issuer, before, holder)) = ended else { continue };
            if let Some(holder) = holder.filter(|holder| *holder != before) {
                report.superseded.push(format!("{issuer}: {before} became {holder}"));
                self.tokens.supersede(&issuer);
            }
        }
        self.beat();
    }
}
