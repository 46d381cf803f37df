//! Tokens tried at the registries that they are for: one that a registry refuses is not published there.
//! A registry that cannot be reached says nothing, and holds nothing up.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;

use crate::credentials::{Secret, Token};
use crate::refresh::schedule::retry_after;
use crate::registry::HostName;
use crate::time::Moment;

/// What a registry said to a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    /// With this HTTP status.
    Refused(u16),
    /// Not reached, or no answer that says either.
    Unknown(String),
}

/// What one trial brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    pub verdict: Verdict,
    /// Server clock minus local clock, if an answer told.
    pub clock_skew: Option<SignedDuration>,
}

/// The last trial at each registry.
#[derive(Debug, Clone, Default)]
pub struct Trials {
    registries: BTreeMap<HostName, Trial>,
}

#[derive(Debug, Clone)]
struct Trial {
    auth: Secret,
    verdict: Verdict,
    refusals: u32,
    /// A refused token is not tried again before this uptime.
    not_before: Duration,
}

impl Trials {
    /// Whether `token` is to be tried at `name` now: once, and again from time to time while refused.
    pub fn is_due(&self, name: &HostName, token: &Token, now: Moment) -> bool {
        self.of(name, token).is_none_or(|trial| {
            matches!(trial.verdict, Verdict::Refused(_)) && trial.not_before <= now.uptime
        })
    }

    /// Notes a trial; the time of the next one, should it be refused, is drawn from `unit`.
    pub fn note(&mut self, name: &HostName, token: &Token, verdict: Verdict, now: Moment, unit: f64) {
        let refusals = match (&verdict, self.of(name, token)) {
            (Verdict::Refused(_), Some(before)) => before.refusals.saturating_add(1),
            (Verdict::Refused(_), None) => 1,
            _ => 0,
        };
        let not_before = now.uptime + retry_after(refusals, unit);
        let trial = Trial { auth: token.auth.clone(), verdict, refusals, not_before };
        self.registries.insert(name.clone(), trial);
    }

    /// What the registry said to this very token at last.
    pub fn verdict(&self, name: &HostName, token: &Token) -> Option<&Verdict> {
        self.of(name, token).map(|trial| &trial.verdict)
    }

    pub fn refuses(&self, name: &HostName, token: &Token) -> bool {
        matches!(self.verdict(name, token), Some(Verdict::Refused(_)))
    }

    /// How long until a refused token is to be tried again.
    pub fn quiet_for(&self, now: Moment) -> Option<Duration> {
        let refused = self.registries.values().filter(|trial| trial.refusals > 0);
        refused.map(|trial| trial.not_before.saturating_sub(now.uptime)).min()
    }

    /// Forgets what was said at all other registries.
    pub fn retain(&mut self, wanted: impl Fn(&HostName) -> bool) {
        self.registries.retain(|name, _| wanted(name));
    }

    /// Forgets everything, so that every token is tried anew.
    pub fn clear(&mut self) {
        self.registries.clear();
    }

    fn of(&self, name: &HostName, token: &Token) -> Option<&Trial> {
        self.registries.get(name).filter(|trial| trial.auth == token.auth)
    }
}

impl Verdict {
    /// One word for status and counters.
    pub fn as_str(&self) -> &'static str {
        match self {
            Verdict::Accepted => "accepted",
            Verdict::Refused(_) => "refused",
            Verdict::Unknown(_) => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::{Trials, Verdict};
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
    fn a_token_is_tried_once_unless_it_is_refused() {
        let name = HostName::parse("registry.example").expect("a name");
        let check = |verdict: Verdict, refuses: bool, due_later: bool| {
            let mut trials = Trials::default();
            assert!(trials.is_due(&name, &token("new"), at(0)));
            trials.note(&name, &token("new"), verdict.clone(), at(0), 0.5);
            assert_eq!(trials.refuses(&name, &token("new")), refuses, "{verdict:?}");
            assert!(!trials.is_due(&name, &token("new"), at(0)), "{verdict:?}");
            assert_eq!(trials.is_due(&name, &token("new"), at(2)), due_later, "{verdict:?}");
            assert_eq!(trials.quiet_for(at(0)), refuses.then_some(Duration::from_secs(2)), "{verdict:?}");
            assert!(trials.is_due(&name, &token("newer"), at(0)), "another token is another matter");
            assert!(!trials.refuses(&name, &token("newer")));
        };
        check(Verdict::Accepted, false, false);
        check(Verdict::Unknown("no route".to_owned()), false, false);
        check(Verdict::Refused(401), true, true);
    }

    #[test]
    fn refusals_are_tried_again_ever_more_rarely() {
        let name = HostName::parse("registry.example").expect("a name");
        let mut trials = Trials::default();
        let mut waits = Vec::new();
        for _ in 0..4 {
            trials.note(&name, &token("new"), Verdict::Refused(403), at(0), 0.5);
            waits.extend(trials.quiet_for(at(0)));
        }
        assert_eq!(waits, [2, 4, 8, 16].map(Duration::from_secs));
    }
}
