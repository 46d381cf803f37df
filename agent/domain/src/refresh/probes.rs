//! Probes of tokens at their registries: a rejected token is not published, and an unreachable registry is ignored.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;

use crate::credentials::Secret;
use crate::refresh::schedule::retry_after;
use crate::registry::HostName;
use crate::time::Moment;

/// A registry's response to a token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ProbeResult {
    Accepted,
    /// With this HTTP status.
    Rejected(u16),
    /// Unreachable, or a response that proves neither.
    Unknown(String),
}

/// The outcome of one probe.
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

/// Tokens remembered per registry. Bounded because others can publish any number of them.
const MOST_TOKENS: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct LastProbe {
    auth: Secret,
    result: ProbeResult,
    /// Consecutive probes that did not accept it.
    failures: u32,
    /// The uptime before which it is not probed again.
    not_before: Duration,
}

impl Probes {
    /// Whether to probe `auth` at `name` now: once, then at growing intervals until it is accepted.
    pub fn is_due(&self, name: &HostName, auth: &Secret, now: Moment) -> bool {
        self.wait(name, auth, now).is_none_or(|wait| wait.is_zero())
            && !self.result(name, auth).is_some_and(ProbeResult::is_accepted)
    }

    /// Records a probe; `random` determines when the next one is due if it was not accepted.
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

    /// The registry's last response to this exact token.
    pub fn result(&self, name: &HostName, auth: &Secret) -> Option<&ProbeResult> {
        self.of(name, auth).map(|probe| &probe.result)
    }

    pub fn rejects(&self, name: &HostName, auth: &Secret) -> bool {
        self.result(name, auth).is_some_and(ProbeResult::is_rejected)
    }

    /// The result that decides for all registries of one scope. A registry's own host decides; an alias, such as a
    /// pull-through proxy, counts only if no host gave a clear answer. `None` if no probe proves anything.
    pub fn decisive<'p, 'n>(
        &'p self,
        hosts: impl IntoIterator<Item = &'n HostName>,
        aliases: impl IntoIterator<Item = &'n HostName>,
        auth: &Secret,
    ) -> Option<&'p ProbeResult> {
        let hosts: Vec<_> = hosts.into_iter().filter_map(|name| self.result(name, auth)).collect();
        let aliases: Vec<_> = aliases.into_iter().filter_map(|name| self.result(name, auth)).collect();
        let accepted =
            |results: &[&'p ProbeResult]| results.iter().copied().find(|result| result.is_accepted());
        let rejected =
            |results: &[&'p ProbeResult]| results.iter().copied().find(|result| result.is_rejected());
        accepted(&hosts)
            .or_else(|| rejected(&hosts))
            .or_else(|| rejected(&aliases))
            .or_else(|| accepted(&aliases))
    }

    /// The tokens that the registry rejected.
    pub fn rejected<'p>(&'p self, name: &HostName) -> impl Iterator<Item = &'p Secret> {
        let known = self.registries.get(name).into_iter().flatten();
        known.filter(|probe| probe.result.is_rejected()).map(|probe| &probe.auth)
    }

    /// The time until a probed token is probed again, unless accepted; `None` if it was never probed.
    pub fn wait(&self, name: &HostName, auth: &Secret, now: Moment) -> Option<Duration> {
        self.of(name, auth).map(|probe| probe.not_before.saturating_sub(now.uptime))
    }

    /// Forgets all unwanted registries.
    pub fn retain(&mut self, wanted: impl Fn(&HostName) -> bool) {
        self.registries.retain(|name, _| wanted(name));
    }

    /// Makes every token due for a probe. Until then, rejected ones stay rejected, or a reload would publish them.
    pub fn recheck(&mut self) {
        for known in self.registries.values_mut() {
            known.retain(|probe| probe.result.is_rejected());
            for probe in known {
                (probe.failures, probe.not_before) = (0, Duration::ZERO);
            }
        }
    }

    fn of(&self, name: &HostName, auth: &Secret) -> Option<&LastProbe> {
        self.registries.get(name)?.iter().find(|probe| probe.auth == *auth)
    }
}

impl ProbeResult {
    pub fn is_accepted(&self) -> bool {
        matches!(self, ProbeResult::Accepted)
    }

    pub fn is_rejected(&self) -> bool {
        matches!(self, ProbeResult::Rejected(_))
    }

    /// The name in status and metrics.
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

    use super::{MOST_TOKENS, ProbeResult, Probes};
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
    fn a_recheck_forgets_no_rejection() {
        let name = host("registry.example");
        let mut probes = Probes::default();
        probes.record(&name, &auth("good"), ProbeResult::Accepted, at(0), 0.5);
        probes.record(&name, &auth("bad"), ProbeResult::Rejected(403), at(0), 0.5);
        probes.recheck();
        assert!(probes.is_due(&name, &auth("good"), at(0)) && probes.is_due(&name, &auth("bad"), at(0)));
        assert!(probes.rejects(&name, &auth("bad")));
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
        let check =
            |at_own: Option<ProbeResult>, at_alias: Option<ProbeResult>, expected: Option<&ProbeResult>| {
                let mut probes = Probes::default();
                for (name, result) in [(&own, at_own.clone()), (&alias, at_alias.clone())] {
                    if let Some(result) = result {
                        probes.record(name, &auth("x"), result, at(0), 0.5);
                    }
                }
                let decisive = probes.decisive([&own], [&alias], &auth("x"));
                assert_eq!(decisive, expected, "{at_own:?} {at_alias:?}");
            };
        let accepted = || Some(ProbeResult::Accepted);
        let rejected = |status| Some(ProbeResult::Rejected(status));
        let unknown = || Some(ProbeResult::Unknown("no route".to_owned()));
        check(accepted(), rejected(401), accepted().as_ref());
        check(rejected(403), accepted(), rejected(403).as_ref());
        check(rejected(403), rejected(401), rejected(403).as_ref());
        check(unknown(), accepted(), accepted().as_ref());
        check(unknown(), rejected(401), rejected(401).as_ref());
        check(unknown(), None, None);
        check(None, None, None);
    }
}
