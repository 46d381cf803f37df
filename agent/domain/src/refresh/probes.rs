//! Probes of tokens at the registries they are for: a rejected token is not published, and an unreachable registry
//! is ignored.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;

use crate::credentials::Secret;
use crate::refresh::schedule::retry_after;
use crate::registry::HostName;
use crate::time::Moment;

/// How a registry answered a token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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

/// The last probe of each token at each registry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Probes {
    registries: BTreeMap<HostName, Vec<LastProbe>>,
}

/// Tokens remembered for each registry: others can publish any number of them.
const MOST_TOKENS: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct LastProbe {
    auth: Secret,
    result: ProbeResult,
    /// Probes in a row that did not accept it.
    failures: u32,
    /// Not probed again before this uptime, unless accepted.
    not_before: Duration,
}

impl Probes {
    /// Whether `auth` is to be probed at `name` now: once, and again from time to time until it is accepted.
    pub fn is_due(&self, name: &HostName, auth: &Secret, now: Moment) -> bool {
        self.wait(name, auth, now).is_none_or(|wait| wait.is_zero())
            && !matches!(self.result(name, auth), Some(ProbeResult::Accepted))
    }

    /// Records a probe; the time of the next one, should it not be accepted, is drawn from `random`.
    pub fn record(&mut self, name: &HostName, auth: &Secret, result: ProbeResult, now: Moment, random: f64) {
        let known = self.registries.entry(name.clone()).or_default();
        let before = known.iter().position(|probe| probe.auth == *auth).map(|index| known.remove(index));
        let failures = match result {
            ProbeResult::Accepted => 0,
            _ => before.map_or(0, |before| before.failures).saturating_add(1),
        };
        let not_before = now.uptime + retry_after(failures, random);
        if known.len() >= MOST_TOKENS {
            known.remove(0);
        }
        known.push(LastProbe { auth: auth.clone(), result, failures, not_before });
    }

    /// How the registry last answered this very token.
    pub fn result(&self, name: &HostName, auth: &Secret) -> Option<&ProbeResult> {
        self.of(name, auth).map(|probe| &probe.result)
    }

    pub fn rejects(&self, name: &HostName, auth: &Secret) -> bool {
        matches!(self.result(name, auth), Some(ProbeResult::Rejected(_)))
    }

    /// What the probes at all names of one scope prove. A registry of its own decides; an alias, such as a
    /// pull-through proxy, only where no registry can be reached.
    pub fn verdict<'n>(
        &self,
        hosts: impl IntoIterator<Item = &'n HostName>,
        aliases: impl IntoIterator<Item = &'n HostName>,
        auth: &Secret,
    ) -> Verdict {
        let of = |name: &HostName| match self.result(name, auth) {
            Some(ProbeResult::Accepted) => Verdict::Accepted,
            Some(ProbeResult::Rejected(_)) => Verdict::Rejected,
            Some(ProbeResult::Unknown(_)) | None => Verdict::Unknown,
        };
        let hosts: Vec<Verdict> = hosts.into_iter().map(of).collect();
        let aliases: Vec<Verdict> = aliases.into_iter().map(of).collect();
        [
            (&hosts, Verdict::Accepted),
            (&hosts, Verdict::Rejected),
            (&aliases, Verdict::Rejected),
            (&aliases, Verdict::Accepted),
        ]
        .into_iter()
        .find_map(|(verdicts, verdict)| verdicts.contains(&verdict).then_some(verdict))
        .unwrap_or(Verdict::Unknown)
    }

    /// How the first of these registries rejected the token that does so.
    pub fn rejection<'n>(
        &self,
        names: impl IntoIterator<Item = &'n HostName>,
        auth: &Secret,
    ) -> Option<ProbeResult> {
        names
            .into_iter()
            .find(|name| self.rejects(name, auth))
            .and_then(|name| self.result(name, auth))
            .cloned()
    }

    /// The tokens that the registry rejected.
    pub fn rejected<'p>(&'p self, name: &HostName) -> impl Iterator<Item = &'p Secret> {
        let known = self.registries.get(name).into_iter().flatten();
        known.filter(|probe| matches!(probe.result, ProbeResult::Rejected(_))).map(|probe| &probe.auth)
    }

    /// How long until a token that was probed is to be probed again, should it not be accepted.
    pub fn wait(&self, name: &HostName, auth: &Secret, now: Moment) -> Option<Duration> {
        self.of(name, auth).map(|probe| probe.not_before.saturating_sub(now.uptime))
    }

    /// Forgets all other registries.
    pub fn retain(&mut self, wanted: impl Fn(&HostName) -> bool) {
        self.registries.retain(|name, _| wanted(name));
    }

    /// Forgets everything, so that every token is probed again.
    pub fn clear(&mut self) {
        self.registries.clear();
    }

    fn of(&self, name: &HostName, auth: &Secret) -> Option<&LastProbe> {
        self.registries.get(name)?.iter().find(|probe| probe.auth == *auth)
    }
}

/// What all probes of one token prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    Rejected,
    /// No registry could be asked, or none has been yet.
    Unknown,
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

    use super::{MOST_TOKENS, ProbeResult, Probes, Verdict};
    use crate::credentials::Secret;
    use crate::registry::HostName;
    use crate::time::Moment;

    fn auth(text: &str) -> Secret {
        Secret::new(text)
    }

    fn host(name: &str) -> HostName {
        HostName::parse(name).expect("a name")
    }

    fn at(second: u64) -> Moment {
        Moment { wall: Timestamp::UNIX_EPOCH, uptime: Duration::from_secs(second) }
    }

    #[test]
    fn a_token_is_probed_until_it_is_accepted() {
        let name = host("registry.example");
        let check = |result: ProbeResult, rejects: bool, due_later: bool| {
            let mut probes = Probes::default();
            assert!(probes.is_due(&name, &auth("new"), at(0)));
            probes.record(&name, &auth("new"), result.clone(), at(0), 0.5);
            assert_eq!(probes.rejects(&name, &auth("new")), rejects, "{result:?}");
            assert!(!probes.is_due(&name, &auth("new"), at(0)), "{result:?}");
            assert_eq!(probes.is_due(&name, &auth("new"), at(2)), due_later, "{result:?}");
            assert!(probes.is_due(&name, &auth("newer"), at(0)), "another token is another matter");
            assert!(!probes.rejects(&name, &auth("newer")));
        };
        check(ProbeResult::Accepted, false, false);
        check(ProbeResult::Unknown("no route".to_owned()), false, true);
        check(ProbeResult::Rejected(401), true, true);
    }

    #[test]
    fn failed_probes_are_repeated_ever_more_rarely() {
        let name = host("registry.example");
        let mut probes = Probes::default();
        let mut waits = Vec::new();
        for _ in 0..4 {
            probes.record(&name, &auth("new"), ProbeResult::Rejected(403), at(0), 0.5);
            waits.extend(probes.wait(&name, &auth("new"), at(0)));
        }
        assert_eq!(waits, [2, 4, 8, 16].map(Duration::from_secs));
    }

    #[test]
    fn others_tokens_neither_fill_the_memory_nor_hide_ones_own() {
        let name = host("registry.example");
        let mut probes = Probes::default();
        for number in 0..100 {
            probes.record(&name, &auth("own"), ProbeResult::Accepted, at(0), 0.5);
            probes.record(&name, &auth(&number.to_string()), ProbeResult::Rejected(401), at(0), 0.5);
            assert_eq!(probes.result(&name, &auth("own")), Some(&ProbeResult::Accepted));
        }
        assert!(probes.rejected(&name).count() < MOST_TOKENS);
    }

    #[test]
    fn an_alias_decides_only_where_no_registry_can_be_reached() {
        let (own, alias) = (host("own.example"), host("alias.example"));
        let check = |at_own: Option<ProbeResult>, at_alias: Option<ProbeResult>, expected: Verdict| {
            let mut probes = Probes::default();
            for (name, result) in [(&own, at_own.clone()), (&alias, at_alias.clone())] {
                if let Some(result) = result {
                    probes.record(name, &auth("x"), result, at(0), 0.5);
                }
            }
            assert_eq!(probes.verdict([&own], [&alias], &auth("x")), expected, "{at_own:?} {at_alias:?}");
        };
        let unknown = || Some(ProbeResult::Unknown("no route".to_owned()));
        let (accepted, rejected) = (Some(ProbeResult::Accepted), Some(ProbeResult::Rejected(401)));
        check(accepted.clone(), rejected.clone(), Verdict::Accepted);
        check(rejected.clone(), accepted.clone(), Verdict::Rejected);
        check(unknown(), accepted, Verdict::Accepted);
        check(unknown(), rejected, Verdict::Rejected);
        check(unknown(), None, Verdict::Unknown);
        check(None, None, Verdict::Unknown);
    }
}
