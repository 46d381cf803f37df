//! Probes of tokens at the registries they are for: a rejected token is not published, and an unreachable registry
//! is ignored.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;

use crate::credentials::{Secret, Token};
use crate::refresh::schedule::retry_after;
use crate::registry::HostName;
use crate::time::Moment;

/// How a registry answered a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeResult {
    Accepted,
    /// With this HTTP status.
    Rejected(u16),
    /// Not reached, or an answer that proves neither.
    Unknown(String),
}

/// One probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    pub result: ProbeResult,
    /// Server clock minus local clock, if a server answered.
    pub clock_skew: Option<SignedDuration>,
}

/// The last probe at each registry.
#[derive(Debug, Clone, Default)]
pub struct Probes {
    registries: BTreeMap<HostName, LastProbe>,
}

#[derive(Debug, Clone)]
struct LastProbe {
    auth: Secret,
    result: ProbeResult,
    rejections: u32,
    /// A rejected token is not probed again before this uptime.
    not_before: Duration,
}

impl Probes {
    /// Whether `token` is to be probed at `name` now: once, and again from time to time while rejected.
    pub fn is_due(&self, name: &HostName, token: &Token, now: Moment) -> bool {
        self.of(name, token).is_none_or(|probe| {
            matches!(probe.result, ProbeResult::Rejected(_)) && probe.not_before <= now.uptime
        })
    }

    /// Records a probe; the time of the next one, should it be rejected, is drawn from `random`.
    pub fn record(&mut self, name: &HostName, token: &Token, result: ProbeResult, now: Moment, random: f64) {
        let rejections = match (&result, self.of(name, token)) {
            (ProbeResult::Rejected(_), Some(before)) => before.rejections.saturating_add(1),
            (ProbeResult::Rejected(_), None) => 1,
            _ => 0,
        };
        let not_before = now.uptime + retry_after(rejections, random);
        let probe = LastProbe { auth: token.auth.clone(), result, rejections, not_before };
        self.registries.insert(name.clone(), probe);
    }

    /// How the registry last answered this very token.
    pub fn result(&self, name: &HostName, token: &Token) -> Option<&ProbeResult> {
        self.of(name, token).map(|probe| &probe.result)
    }

    pub fn rejects(&self, name: &HostName, token: &Token) -> bool {
        matches!(self.result(name, token), Some(ProbeResult::Rejected(_)))
    }

    /// How long until a rejected token is to be probed again.
    pub fn quiet_for(&self, now: Moment) -> Option<Duration> {
        let rejected = self.registries.values().filter(|probe| probe.rejections > 0);
        rejected.map(|probe| probe.not_before.saturating_sub(now.uptime)).min()
    }

    /// Forgets all other registries.
    pub fn retain(&mut self, wanted: impl Fn(&HostName) -> bool) {
        self.registries.retain(|name, _| wanted(name));
    }

    /// Forgets everything, so that every token is probed again.
    pub fn clear(&mut self) {
        self.registries.clear();
    }

    fn of(&self, name: &HostName, token: &Token) -> Option<&LastProbe> {
        self.registries.get(name).filter(|probe| probe.auth == token.auth)
    }
}

impl ProbeResult {
    /// As status and metrics have it.
    pub fn as_str(&self) -> &'static str {
        match self {
            ProbeResult::Accepted => "accepted",
            ProbeResult::Rejected(_) => "rejected",
            ProbeResult::Unknown(_) => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::{ProbeResult, Probes};
    use crate::credentials::{Origin, Secret, Token};
    use crate::registry::HostName;
    use crate::time::Moment;

    fn token(auth: &str) -> Token {
        let (issued_at, expires_at) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
        Token { auth: Secret::new(auth), issued_at, expires_at, origin: Origin::default(), predecessor: None }
    }

    fn at(second: u64) -> Moment {
        Moment { wall: Timestamp::UNIX_EPOCH, uptime: Duration::from_secs(second) }
    }

    #[test]
    fn a_token_is_probed_once_unless_rejected() {
        let name = HostName::parse("registry.example").expect("a name");
        let check = |result: ProbeResult, refuses: bool, due_later: bool| {
            let mut probes = Probes::default();
            assert!(probes.is_due(&name, &token("new"), at(0)));
            probes.record(&name, &token("new"), result.clone(), at(0), 0.5);
            assert_eq!(probes.rejects(&name, &token("new")), refuses, "{result:?}");
            assert!(!probes.is_due(&name, &token("new"), at(0)), "{result:?}");
            assert_eq!(probes.is_due(&name, &token("new"), at(2)), due_later, "{result:?}");
            assert_eq!(probes.quiet_for(at(0)), refuses.then_some(Duration::from_secs(2)), "{result:?}");
            assert!(probes.is_due(&name, &token("newer"), at(0)), "another token is another matter");
            assert!(!probes.rejects(&name, &token("newer")));
        };
        check(ProbeResult::Accepted, false, false);
        check(ProbeResult::Unknown("no route".to_owned()), false, false);
        check(ProbeResult::Rejected(401), true, true);
    }

    #[test]
    fn rejections_are_probed_ever_more_rarely() {
        let name = HostName::parse("registry.example").expect("a name");
        let mut probes = Probes::default();
        let mut waits = Vec::new();
        for _ in 0..4 {
            probes.record(&name, &token("new"), ProbeResult::Rejected(403), at(0), 0.5);
            waits.extend(probes.quiet_for(at(0)));
        }
        assert_eq!(waits, [2, 4, 8, 16].map(Duration::from_secs));
    }
}
