//! The tokens in hand, one for each issuer: which are due to be asked for, and what came of it.
//! A failure never costs a token that still lives.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::credentials::{Holder, Issuer, Token};
use crate::problem::Problem;
use crate::refresh::schedule::{Company, Renewal};
use crate::time::Moment;

/// Tokens and attempts by issuer.
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    issuers: BTreeMap<Issuer, Attempts>,
}

/// What is known of one issuer.
#[derive(Debug, Clone, Default)]
pub struct Attempts {
    pub token: Option<Token>,
    pub last_success_at: Option<Timestamp>,
    pub last_attempt_at: Option<Timestamp>,
    pub consecutive_failures: u32,
    pub last_error: Option<Problem>,
    /// Another node fetched the token in hand.
    pub adopted: bool,
    /// Since when the agent has wanted a token, by its uptime.
    wanted_since: Duration,
    /// The token in hand was given to somebody else than would be asked for now.
    superseded: bool,
    /// Not asked again before this uptime.
    not_before: Duration,
}

impl Tokens {
    /// Forgets every issuer but these, which are wanted from `now` on if they were not before.
    pub fn retain<'a>(&mut self, wanted: impl IntoIterator<Item = &'a Issuer>, now: Moment) {
        let mut kept = BTreeMap::new();
        for issuer in wanted {
            let attempts = self.issuers.remove(issuer);
            let newly = || Attempts { wanted_since: now.uptime, ..Attempts::default() };
            kept.entry(issuer.clone()).or_insert_with(|| attempts.unwrap_or_else(newly));
        }
        self.issuers = kept;
    }

    /// What is known of `issuer`, if it is wanted.
    pub fn get(&self, issuer: &Issuer) -> Option<&Attempts> {
        self.issuers.get(issuer)
    }

    /// The issuers to ask now. `server_now` is the server's clock at `now`.
    pub fn due(&self, renewal: Renewal, company: Company, now: Moment, server_now: Timestamp) -> Vec<Issuer> {
        let due = self
            .issuers
            .iter()
            .filter(|(_, attempts)| attempts.quiet_for(renewal, company, now, server_now).is_zero());
        due.map(|(issuer, _)| issuer.clone()).collect()
    }

    /// How long nothing becomes due after `now`, as far as these issuers go.
    pub fn quiet_for(
        &self,
        renewal: Renewal,
        company: Company,
        now: Moment,
        server_now: Timestamp,
    ) -> Option<Duration> {
        self.issuers.values().map(|attempts| attempts.quiet_for(renewal, company, now, server_now)).min()
    }

    /// Takes over a token that another node published, if it is better than the one in hand.
    pub fn adopt(&mut self, issuer: &Issuer, token: Token) -> bool {
        let Some(attempts) = self.issuers.get_mut(issuer) else { return false };
        let better = attempts.token.as_ref().is_none_or(|ours| token.expires_at > ours.expires_at);
        if !better || attempts.token.as_ref().is_some_and(|ours| ours.auth == token.auth) {
            return false;
        }
        *attempts = Attempts {
            token: Some(token),
            adopted: true,
            last_success_at: attempts.last_success_at,
            last_attempt_at: attempts.last_attempt_at,
            wanted_since: attempts.wanted_since,
            ..Attempts::default()
        };
        true
    }

    /// How long the token in hand lives after `server_now`.
    pub fn left(&self, issuer: &Issuer, server_now: Timestamp) -> Duration {
        let token = self.get(issuer).and_then(|attempts| attempts.token.as_ref());
        let left = token.map(|token| token.expires_at.duration_since(server_now));
        left.and_then(|left| Duration::try_from(left).ok()).unwrap_or_default()
    }

    /// Leaves the issuer alone for `wait`, since another node is asking it.
    pub fn yield_to_others(&mut self, issuer: &Issuer, now: Moment, wait: Duration) {
        if let Some(attempts) = self.issuers.get_mut(issuer) {
            attempts.not_before = now.uptime + wait;
        }
    }

    pub fn succeeded(&mut self, issuer: &Issuer, token: Token, at: Timestamp) {
        let attempts = self.issuers.entry(issuer.clone()).or_default();
        let predecessor = attempts.token.take().map(|token| token.auth);
        *attempts = Attempts {
            token: Some(Token { predecessor, ..token }),
            last_success_at: Some(at),
            last_attempt_at: Some(at),
            wanted_since: attempts.wanted_since,
            ..Attempts::default()
        };
    }

    /// The issuers whose tokens were given to somebody who can be told, and to whom.
    pub fn holders(&self) -> Vec<(Issuer, Holder)> {
        let holder = |attempts: &Attempts| attempts.token.as_ref()?.origin.holder.clone();
        self.issuers.iter().filter_map(|(issuer, a)| Some((issuer.clone(), holder(a)?))).collect()
    }

    /// Makes the token due: somebody else would be given the next one. The token stays until then.
    pub fn supersede(&mut self, issuer: &Issuer) {
        if let Some(attempts) = self.issuers.get_mut(issuer) {
            attempts.superseded = true;
        }
    }

    /// Notes a failure; the next attempt is drawn from `unit`.
    pub fn failed(&mut self, issuer: &Issuer, problem: Problem, company: Company, at: Moment, unit: f64) {
        let attempts = self.issuers.entry(issuer.clone()).or_default();
        attempts.last_attempt_at = Some(at.wall);
        attempts.consecutive_failures = attempts.consecutive_failures.saturating_add(1);
        attempts.last_error = Some(problem);
        attempts.not_before = at.uptime + company.retry_after(attempts.consecutive_failures, unit);
    }
}

impl Attempts {
    fn quiet_for(&self, renewal: Renewal, company: Company, now: Moment, server_now: Timestamp) -> Duration {
        let until = match self.refresh_at(renewal) {
            Some(at) => Duration::try_from(at.duration_since(server_now)).unwrap_or_default(),
            None => (self.wanted_since + company.first_wait(renewal.unit)).saturating_sub(now.uptime),
        };
        until.max(self.not_before.saturating_sub(now.uptime))
    }

    /// When the token in hand is to be renewed, by the server's clock: when its own life says so, or when
    /// the AWS credentials end that it was asked for with. It may outlive them, but its rights are theirs.
    pub fn refresh_at(&self, renewal: Renewal) -> Option<Timestamp> {
        let token = self.token.as_ref()?;
        if self.superseded {
            return Some(token.issued_at);
        }
        let due_at = renewal.due_at(token.expires_at, token.life());
        // Credentials that had ended already say nothing: to ask again at once would bring them again.
        let credentials = token.origin.ends_at.filter(|at| *at > token.issued_at);
        Some(credentials.map_or(due_at, |at| due_at.min(at)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::Tokens;
    use crate::credentials::{Holder, Issuer, Origin, Secret, Token};
    use crate::problem::Problem;
    use crate::refresh::schedule::{Company, Renewal};
    use crate::registry::EcrRegistry;
    use crate::time::Moment;

    const HALF: Renewal = Renewal { share: 0.5, jitter: 0.0, unit: 0.0 };

    /// A moment so many seconds after start; the local and the server's clock agree.
    fn at(second: u32) -> Moment {
        Moment { wall: Timestamp::constant(i64::from(second), 0), uptime: Duration::from_secs(second.into()) }
    }

    fn token(issued: u32, expires: u32) -> Token {
        Token {
            auth: Secret::new("x"),
            issued_at: at(issued).wall,
            expires_at: at(expires).wall,
            origin: Origin::default(),
            predecessor: None,
        }
    }

    fn issuer(region: &str) -> Issuer {
        let host = format!("123456789123.dkr.ecr.{region}.amazonaws.com");
        Issuer::of(&EcrRegistry::parse(&host).expect("a registry"))
    }

    fn due(tokens: &Tokens, second: u32) -> Vec<Issuer> {
        tokens.due(HALF, Company::Shared, at(second), at(second).wall)
    }

    #[test]
    fn asks_at_once_then_at_half_of_the_life() {
        let mut tokens = Tokens::default();
        tokens.retain([&issuer("r")], at(0));
        assert_eq!(due(&tokens, 0), [issuer("r")]);
        tokens.succeeded(&issuer("r"), token(0, 100), at(0).wall);
        assert_eq!(due(&tokens, 49), []);
        assert_eq!(
            tokens.quiet_for(HALF, Company::Shared, at(20), at(20).wall),
            Some(Duration::from_secs(30))
        );
        assert_eq!(due(&tokens, 50), [issuer("r")]);
    }

    #[test]
    fn a_failure_keeps_the_token_and_waits() {
        let mut tokens = Tokens::default();
        tokens.retain([&issuer("r")], at(0));
        tokens.succeeded(&issuer("r"), token(0, 100), at(0).wall);
        tokens.failed(&issuer("r"), Problem::new("down"), Company::Shared, at(50), 0.5);
        tokens.failed(&issuer("r"), Problem::new("down"), Company::Shared, at(53), 0.5);
        let attempts = tokens.get(&issuer("r")).expect("wanted");
        assert_eq!((attempts.consecutive_failures, attempts.token.as_ref()), (2, Some(&token(0, 100))));
        assert_eq!(due(&tokens, 56), []);
        assert_eq!(
            tokens.quiet_for(HALF, Company::Shared, at(55), at(55).wall),
            Some(Duration::from_secs(2))
        );
        assert_eq!(due(&tokens, 57), [issuer("r")]);
        tokens.succeeded(&issuer("r"), token(57, 157), at(57).wall);
        assert_eq!(tokens.get(&issuer("r")).map(|attempts| attempts.consecutive_failures), Some(0));
    }

    #[test]
    fn the_end_of_the_aws_credentials_renews_too() {
        let check = |ends_at: Option<u32>, expected: u32| {
            let origin = Origin { ends_at: ends_at.map(|second| at(second).wall), holder: None };
            let mut tokens = Tokens::default();
            tokens.succeeded(&issuer("r"), Token { origin, ..token(20, 120) }, at(20).wall);
            let attempts = tokens.get(&issuer("r")).expect("known");
            assert_eq!(attempts.refresh_at(HALF), Some(at(expected).wall), "{ends_at:?}");
            assert_eq!(attempts.token.as_ref().map(|token| token.expires_at), Some(at(120).wall));
        };
        check(None, 70);
        check(Some(40), 40);
        check(Some(100), 70);
        check(Some(20), 70);
        check(Some(10), 70);
    }

    #[test]
    fn another_holder_makes_the_token_due_but_does_not_take_it_away() {
        let holder = Holder::instance_role("first");
        let origin = Origin { ends_at: None, holder: Some(holder.clone()) };
        let mut tokens = Tokens::default();
        tokens.succeeded(&issuer("r"), Token { origin, ..token(0, 100) }, at(0).wall);
        tokens.succeeded(&issuer("s"), token(0, 100), at(0).wall);
        assert_eq!(tokens.holders(), [(issuer("r"), holder)]);
        tokens.supersede(&issuer("r"));
        assert_eq!(due(&tokens, 1), [issuer("r")]);
        assert!(tokens.get(&issuer("r")).is_some_and(|attempts| attempts.token.is_some()));
        tokens.succeeded(&issuer("r"), token(1, 101), at(1).wall);
        assert_eq!(due(&tokens, 2), []);
    }

    #[test]
    fn only_wanted_issuers_stay() {
        let mut tokens = Tokens::default();
        tokens.retain([&issuer("a"), &issuer("b"), &issuer("a")], at(0));
        tokens.succeeded(&issuer("a"), token(0, 100), at(0).wall);
        tokens.retain([&issuer("a"), &issuer("c")], at(0));
        assert!(tokens.get(&issuer("a")).is_some_and(|attempts| attempts.token.is_some()));
        assert!(tokens.get(&issuer("b")).is_none());
        assert_eq!(due(&tokens, 10), [issuer("c")]);
    }
}
