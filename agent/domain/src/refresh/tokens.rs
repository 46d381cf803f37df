//! This node's tokens, one per scope: when they are due, and how requests for them went. A failed request never
//! discards a token that is still valid.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::credentials::{Principal, Renewal, Token, TokenScope};
use crate::problem::Problem;
use crate::refresh::schedule::Coordination;
use crate::time::Moment;

/// Tokens and attempts by scope.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Tokens {
    scopes: BTreeMap<TokenScope, Attempts>,
}

/// The token of one scope, and the attempts to get one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Attempts {
    pub token: Option<Token>,
    pub last_success_at: Option<Timestamp>,
    pub last_attempt_at: Option<Timestamp>,
    pub consecutive_failures: u32,
    pub last_error: Option<Problem>,
    /// Why the current token is trusted.
    pub proof: Proof,
    /// The uptime at which the agent first wanted a token.
    wanted_since: Duration,
    /// The current token, if any, was issued to an earlier principal, or an operator requested a new one.
    superseded: bool,
    /// The uptime before which ECR is not called again.
    not_before: Duration,
    /// Like `not_before`, but after ECR issued a token; nothing that others publish shortens it.
    rests_until: Duration,
    /// Set while another node holds the refresh lock.
    pub lock_wait: Option<LockWait>,
}

/// A wait for another node to renew the token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LockWait {
    pub holder: LockHolder,
    /// The uptime at which the wait ends, even if the lock is still held.
    pub deadline: Duration,
}

/// Who holds the refresh lock, according to its content, which anyone may have written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct LockHolder {
    pub node: Option<String>,
    /// When the lock was last written, by the NameNode's clock.
    pub since: Option<Timestamp>,
}

/// The shortest time between two tokens from ECR for one scope.
const SHORTEST_REST: Duration = Duration::from_secs(60);
/// The shortest wait, even if tokens expire at once.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// Why a token is trusted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Proof {
    /// ECR issued it to this node.
    #[default]
    Issued,
    /// Another node published it, and its registry accepted it from this node.
    Accepted,
    /// Another node published it, and no registry gave a clear answer: a stopgap until ECR issues another.
    Unproven,
}

impl Tokens {
    /// Keeps only these scopes; new ones are wanted from `now` on.
    pub fn retain<'a>(&mut self, wanted: impl IntoIterator<Item = &'a TokenScope>, now: Moment) {
        let mut kept = BTreeMap::new();
        for scope in wanted {
            let attempts = self.scopes.remove(scope);
            let newly = || Attempts { wanted_since: now.uptime, ..Attempts::default() };
            kept.entry(scope.clone()).or_insert_with(|| attempts.unwrap_or_else(newly));
        }
        self.scopes = kept;
    }

    /// The state of `scope`, if it is wanted.
    pub fn get(&self, scope: &TokenScope) -> Option<&Attempts> {
        self.scopes.get(scope)
    }

    /// The scopes to request tokens for now. `server_now` is the server's clock at `now`.
    pub fn due(
        &self,
        renewal: Renewal,
        coordination: Coordination,
        now: Moment,
        server_now: Timestamp,
    ) -> Vec<TokenScope> {
        let due = self
            .scopes
            .iter()
            .filter(|(_, attempts)| attempts.quiet_for(renewal, coordination, now, server_now).is_zero());
        due.map(|(scope, _)| scope.clone()).collect()
    }

    /// The time from `now` until a scope is due; `None` if there are no scopes.
    pub fn quiet_for(
        &self,
        renewal: Renewal,
        coordination: Coordination,
        now: Moment,
        server_now: Timestamp,
    ) -> Option<Duration> {
        self.scopes.values().map(|attempts| attempts.quiet_for(renewal, coordination, now, server_now)).min()
    }

    /// Whether `token`, which another node published, would be better than the current one if its registry accepted
    /// it.
    pub fn would_adopt(&self, scope: &TokenScope, token: &Token, server_now: Timestamp) -> bool {
        let Some(attempts) = self.scopes.get(scope) else { return false };
        let Some(ours) = attempts.believed(server_now) else { return true };
        token.auth != ours.auth && token.expires_at > ours.expires_at
    }

    /// Replaces the current token by one that another node published. Returns whether anything changed.
    pub fn adopt(&mut self, scope: &TokenScope, token: Token, proof: Proof) -> bool {
        let Some(attempts) = self.scopes.get_mut(scope) else { return false };
        let is_known = attempts.token.as_ref().is_some_and(|ours| ours.auth == token.auth);
        if is_known && attempts.proof == proof {
            return false;
        }
        *attempts = match proof {
            // It ends neither the attempts to get a better one nor the wait for it.
            Proof::Unproven => Attempts { token: Some(token), proof, ..std::mem::take(attempts) },
            Proof::Issued | Proof::Accepted => Attempts {
                token: Some(token),
                proof,
                last_success_at: attempts.last_success_at,
                last_attempt_at: attempts.last_attempt_at,
                wanted_since: attempts.wanted_since,
                rests_until: attempts.rests_until,
                ..Attempts::default()
            },
        };
        true
    }

    /// Drops the current token, because its registry rejects it.
    pub fn discard(&mut self, scope: &TokenScope) {
        if let Some(attempts) = self.scopes.get_mut(scope) {
            attempts.token = None;
            attempts.proof = Proof::default();
        }
    }

    /// The current token's lifetime left at `server_now`; zero if it is unproven.
    pub fn left(&self, scope: &TokenScope, server_now: Timestamp) -> Duration {
        let token = self.get(scope).and_then(|attempts| attempts.believed(server_now));
        let left = token.map(|token| token.expires_at.duration_since(server_now));
        left.and_then(|left| Duration::try_from(left).ok()).unwrap_or_default()
    }

    /// Leaves the scope alone for `wait`, because `holder` is fetching its token; for `patience` in total, counted
    /// from the first call.
    pub fn wait_for_lock(
        &mut self,
        scope: &TokenScope,
        now: Moment,
        wait: Duration,
        patience: Duration,
        holder: LockHolder,
    ) {
        let Some(attempts) = self.scopes.get_mut(scope) else { return };
        let known = attempts.lock_wait.take().map(|wait| wait.deadline);
        let deadline = known.unwrap_or(now.uptime + patience);
        attempts.not_before = (now.uptime + wait).min(deadline).max(now.uptime + SHORTEST_WAIT);
        attempts.lock_wait = Some(LockWait { holder, deadline });
    }

    /// Ends every wait for the lock, because this node holds it.
    pub fn lock_acquired(&mut self) {
        for attempts in self.scopes.values_mut() {
            attempts.lock_wait = None;
        }
    }

    /// Whether the scope has waited long enough for the lock.
    pub fn is_impatient(&self, scope: &TokenScope, now: Moment) -> bool {
        let wait = self.get(scope).and_then(|attempts| attempts.lock_wait.as_ref());
        wait.is_some_and(|wait| wait.deadline <= now.uptime)
    }

    /// Whether any scope waits for the lock.
    pub fn waits_for_lock(&self) -> bool {
        self.scopes.values().any(|attempts| attempts.lock_wait.is_some())
    }

    /// Stores the token that ECR issued at `at`.
    pub fn succeeded(&mut self, scope: &TokenScope, token: Token, at: Moment) {
        let attempts = self.scopes.entry(scope.clone()).or_default();
        // Otherwise nodes that cannot reach the registry would replace the published token one after another.
        let is_proven = attempts.proof != Proof::Unproven;
        let predecessor = attempts.token.take().filter(|_| is_proven).map(|token| token.auth);
        let half_of_life = Duration::try_from(token.life() / 2).unwrap_or_default();
        let rest = SHORTEST_REST.min(half_of_life).max(SHORTEST_WAIT);
        *attempts = Attempts {
            token: Some(Token { predecessor, ..token }),
            last_success_at: Some(at.wall),
            last_attempt_at: Some(at.wall),
            wanted_since: attempts.wanted_since,
            rests_until: at.uptime + rest,
            ..Attempts::default()
        };
    }

    /// The scopes whose token was issued to a known principal, with that principal.
    pub fn principals(&self) -> Vec<(TokenScope, Principal)> {
        let principal = |attempts: &Attempts| attempts.token.as_ref()?.origin.principal.clone();
        self.scopes.iter().filter_map(|(scope, a)| Some((scope.clone(), principal(a)?))).collect()
    }

    /// Makes the token due. It stays in use until replaced.
    pub fn supersede(&mut self, scope: &TokenScope) {
        if let Some(attempts) = self.scopes.get_mut(scope) {
            attempts.superseded = true;
        }
    }

    /// Makes every token due at an operator's request, which ends the wait after a failure. They stay in use until
    /// replaced.
    pub fn supersede_all(&mut self) {
        for attempts in self.scopes.values_mut() {
            attempts.superseded = true;
            attempts.not_before = Duration::ZERO;
        }
    }

    /// Records a failure; `random` determines when the next attempt is due.
    pub fn failed(
        &mut self,
        scope: &TokenScope,
        problem: Problem,
        coordination: Coordination,
        at: Moment,
        random: f64,
    ) {
        let attempts = self.scopes.entry(scope.clone()).or_default();
        attempts.last_attempt_at = Some(at.wall);
        attempts.consecutive_failures = attempts.consecutive_failures.saturating_add(1);
        attempts.last_error = Some(problem);
        attempts.not_before = at.uptime + coordination.retry_after(attempts.consecutive_failures, random);
    }
}

impl Attempts {
    /// The current token, if it is valid and proven.
    fn believed(&self, server_now: Timestamp) -> Option<&Token> {
        let lives = |token: &&Token| token.expires_at > server_now;
        self.token.as_ref().filter(|_| self.proof != Proof::Unproven).filter(lives)
    }

    fn quiet_for(
        &self,
        renewal: Renewal,
        coordination: Coordination,
        now: Moment,
        server_now: Timestamp,
    ) -> Duration {
        let due = self.refresh_at(renewal).map(|at| Duration::try_from(at.duration_since(server_now)));
        let until = due.map_or(Duration::ZERO, Result::unwrap_or_default);
        until.max(self.asks_after(renewal, coordination).saturating_sub(now.uptime))
    }

    /// The uptime before which ECR is not called, whatever else is due.
    pub fn asks_after(&self, renewal: Renewal, coordination: Coordination) -> Duration {
        let first = match self.refresh_at(renewal) {
            Some(_) => Duration::ZERO,
            None if self.superseded => Duration::ZERO,
            None => self.wanted_since + coordination.first_wait(renewal.jitter_fraction),
        };
        first.max(self.not_before).max(self.rests_until)
    }

    /// When to renew the current token, by the server's clock: after a fraction of its lifetime, or when the AWS
    /// credentials that requested it expire. The token may outlive them, but its permissions are theirs.
    pub fn refresh_at(&self, renewal: Renewal) -> Option<Timestamp> {
        let token = self.token.as_ref().filter(|_| self.proof != Proof::Unproven)?;
        if self.superseded {
            return Some(token.issued_at);
        }
        let due_at = renewal.due_at(token.expires_at, token.life());
        // Ignore credentials that had already expired: an immediate request would return the same ones.
        let credentials = token.origin.ends_at.filter(|at| *at > token.issued_at);
        Some(credentials.map_or(due_at, |at| due_at.min(at)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::{LockHolder, Proof, Tokens};
    use crate::credentials::{Origin, Principal, Renewal, Secret, Token, TokenScope};
    use crate::problem::Problem;
    use crate::refresh::schedule::Coordination;
    use crate::registry::EcrRegistry;
    use crate::time::Moment;

    const HALF: Renewal = Renewal { renew_at: 0.5, jitter: 0.0, jitter_fraction: 0.0 };

    /// The moment `second` seconds after start; the local and the server's clock agree.
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

    fn scope(region: &str) -> TokenScope {
        let host = format!("123456789123.dkr.ecr.{region}.amazonaws.com");
        TokenScope::of(&EcrRegistry::parse(&host).expect("a registry"))
    }

    fn due(tokens: &Tokens, second: u32) -> Vec<TokenScope> {
        tokens.due(HALF, Coordination::Coordinated, at(second), at(second).wall)
    }

    #[test]
    fn asks_at_once_then_at_half_of_the_life() {
        let mut tokens = Tokens::default();
        tokens.retain([&scope("r")], at(0));
        assert_eq!(due(&tokens, 0), [scope("r")]);
        tokens.succeeded(&scope("r"), token(0, 100), at(0));
        assert_eq!(due(&tokens, 49), []);
        assert_eq!(
            tokens.quiet_for(HALF, Coordination::Coordinated, at(20), at(20).wall),
            Some(Duration::from_secs(30))
        );
        assert_eq!(due(&tokens, 50), [scope("r")]);
    }

    #[test]
    fn a_failure_keeps_the_token_and_waits() {
        let mut tokens = Tokens::default();
        tokens.retain([&scope("r")], at(0));
        tokens.succeeded(&scope("r"), token(0, 100), at(0));
        tokens.failed(&scope("r"), Problem::new("down"), Coordination::Coordinated, at(50), 0.5);
        tokens.failed(&scope("r"), Problem::new("down"), Coordination::Coordinated, at(53), 0.5);
        let attempts = tokens.get(&scope("r")).expect("wanted");
        assert_eq!((attempts.consecutive_failures, attempts.token.as_ref()), (2, Some(&token(0, 100))));
        assert_eq!(due(&tokens, 56), []);
        assert_eq!(
            tokens.quiet_for(HALF, Coordination::Coordinated, at(55), at(55).wall),
            Some(Duration::from_secs(2))
        );
        assert_eq!(due(&tokens, 57), [scope("r")]);
        tokens.succeeded(&scope("r"), token(57, 157), at(57));
        assert_eq!(tokens.get(&scope("r")).map(|attempts| attempts.consecutive_failures), Some(0));
    }

    #[test]
    fn the_end_of_the_aws_credentials_renews_too() {
        let check = |ends_at: Option<u32>, expected: u32| {
            let origin = Origin { ends_at: ends_at.map(|second| at(second).wall), principal: None };
            let mut tokens = Tokens::default();
            tokens.succeeded(&scope("r"), Token { origin, ..token(20, 120) }, at(20));
            let attempts = tokens.get(&scope("r")).expect("known");
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
    fn a_new_principal_makes_the_token_due_and_keeps_it() {
        let principal = Principal::instance_role("first");
        let origin = Origin { ends_at: None, principal: Some(principal.clone()) };
        let mut tokens = Tokens::default();
        tokens.succeeded(&scope("r"), Token { origin, ..token(0, 100) }, at(0));
        tokens.succeeded(&scope("s"), token(0, 100), at(0));
        assert_eq!(tokens.principals(), [(scope("r"), principal)]);
        tokens.succeeded(&scope("s"), token(30, 130), at(30));
        tokens.supersede(&scope("r"));
        assert_eq!((due(&tokens, 49), due(&tokens, 50)), (vec![], vec![scope("r")]));
        assert!(tokens.get(&scope("r")).is_some_and(|attempts| attempts.token.is_some()));
        tokens.succeeded(&scope("r"), token(50, 150), at(50));
        assert_eq!(due(&tokens, 51), []);
    }

    #[test]
    fn nothing_published_makes_ecr_be_asked_again_at_once() {
        let check = |life: u32, rest: u32| {
            let mut tokens = Tokens::default();
            tokens.retain([&scope("r")], at(0));
            tokens.succeeded(&scope("r"), token(0, life), at(0));
            let hurried = Origin { ends_at: Some(at(1).wall), principal: None };
            let hurried = Token { auth: Secret::new("y"), origin: hurried, ..token(0, 2 * life) };
            assert!(tokens.adopt(&scope("r"), hurried, Proof::Accepted));
            assert_eq!((due(&tokens, rest - 1), due(&tokens, rest)), (vec![], vec![scope("r")]), "{life}");
        };
        check(43_200, 60);
        check(100, 50);
        check(1, 1);
    }

    #[test]
    fn whoever_holds_the_lock_the_wait_for_it_ends() {
        let mut tokens = Tokens::default();
        tokens.retain([&scope("r")], at(0));
        let seconds = |count| Duration::from_secs(count);
        let mut now = 0;
        while !tokens.is_impatient(&scope("r"), at(now)) {
            assert_eq!(due(&tokens, now), [scope("r")]);
            // A different node each time, and each has only just taken the lock.
            let holder = LockHolder { node: Some(now.to_string()), since: Some(at(now).wall) };
            tokens.wait_for_lock(&scope("r"), at(now), seconds(20), seconds(50), holder);
            assert!(tokens.waits_for_lock());
            let wait = tokens.quiet_for(HALF, Coordination::Coordinated, at(now), at(now).wall);
            now += u32::try_from(wait.expect("it is wanted").as_secs()).expect("a short wait");
        }
        assert_eq!(now, 50);
        tokens.succeeded(&scope("r"), token(50, 150), at(50));
        assert!(!tokens.waits_for_lock());
    }

    #[test]
    fn an_unproven_token_is_a_stopgap() {
        let named = |auth: &str, expires| Token { auth: Secret::new(auth), ..token(0, expires) };
        let mut tokens = Tokens::default();
        tokens.retain([&scope("r")], at(0));
        tokens.failed(&scope("r"), Problem::new("down"), Coordination::Coordinated, at(0), 0.5);
        assert!(tokens.would_adopt(&scope("r"), &named("theirs", 100), at(0).wall));
        assert!(tokens.adopt(&scope("r"), named("theirs", 100), Proof::Unproven));
        assert_eq!((due(&tokens, 1), due(&tokens, 2)), (vec![], vec![scope("r")]), "it ends no wait");
        assert!(tokens.would_adopt(&scope("r"), &named("sooner", 90), at(2).wall), "anything may replace it");
        tokens.succeeded(&scope("r"), named("ours", 95), at(2));
        let attempts = tokens.get(&scope("r")).expect("wanted");
        let predecessor = attempts.token.as_ref().and_then(|token| token.predecessor.clone());
        assert_eq!((attempts.proof, predecessor), (Proof::Issued, None));
        assert!(!tokens.would_adopt(&scope("r"), &named("sooner", 90), at(2).wall));
        assert!(tokens.would_adopt(&scope("r"), &named("later", 100), at(2).wall));
        tokens.discard(&scope("r"));
        assert!(tokens.would_adopt(&scope("r"), &named("sooner", 90), at(2).wall));
    }

    #[test]
    fn only_wanted_scopes_stay() {
        let mut tokens = Tokens::default();
        tokens.retain([&scope("a"), &scope("b"), &scope("a")], at(0));
        tokens.succeeded(&scope("a"), token(0, 100), at(0));
        tokens.retain([&scope("a"), &scope("c")], at(0));
        assert!(tokens.get(&scope("a")).is_some_and(|attempts| attempts.token.is_some()));
        assert!(tokens.get(&scope("b")).is_none());
        assert_eq!(due(&tokens, 10), [scope("c")]);
    }
}
