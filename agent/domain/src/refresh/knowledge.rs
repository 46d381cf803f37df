//! What one node knows about tokens: its current ones, the published ones, and how registries answered them.

use jiff::Timestamp;

use crate::credentials::{Credential, Credentials, EntryName, Rejections, Secret, Token, TokenScope};
use crate::documents::PublishedDocument;
use crate::refresh::{ProbeResult, Probes, Proof, Tokens};
use crate::registry::HostName;
use crate::settings::RegistrySettings;
use crate::time::Moment;

/// What one node knows about the tokens of the registries it serves.
#[derive(Debug, Clone, Copy)]
pub struct Knowledge<'a> {
    pub registries: &'a [RegistrySettings],
    pub tokens: &'a Tokens,
    pub probes: &'a Probes,
}

/// Who reads a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    ThisNode,
    AllNodes,
}

/// A token to probe at the registry with this name.
pub type ProbeTask = (TokenScope, HostName, Token);

impl<'a> Knowledge<'a> {
    /// The probe result of `auth` that decides for the scope; see [`Probes::decisive`].
    pub fn decisive_probe(self, scope: &TokenScope, auth: &Secret) -> Option<&'a ProbeResult> {
        let hosts = self.of(scope).map(|wanted| wanted.registry.host());
        self.probes.decisive(hosts, self.of(scope).flat_map(|wanted| &wanted.aliases), auth)
    }

    /// The rejected entries, which any other credential may replace.
    pub fn rejections(self) -> Rejections {
        let mut rejections = Rejections::default();
        for wanted in self.registries {
            for auth in self.names(&wanted.scope).flat_map(|name| self.probes.rejected(name)) {
                let is_rejected = self.is_rejected(&wanted.scope, auth);
                for name in wanted.names().filter(|name| is_rejected || self.probes.rejects(name, auth)) {
                    rejections.add(name.into(), auth.clone());
                }
            }
        }
        rejections
    }

    /// The published tokens other than the proven current ones, the last to expire last. They are probed even if they
    /// expire before the current ones, because launches use the published file. `server_now` is the server's clock,
    /// if known.
    pub fn candidates(
        self,
        published: &PublishedDocument,
        server_now: Option<Timestamp>,
    ) -> Vec<(TokenScope, Token)> {
        let mut candidates: Vec<(TokenScope, Token)> = Vec::new();
        for wanted in self.registries {
            for token in wanted.names().filter_map(|name| published.token(&name.into(), server_now)) {
                let is_known = candidates
                    .iter()
                    .any(|(scope, other)| *scope == wanted.scope && other.auth == token.auth);
                if !is_known && !self.is_proven(&wanted.scope, &token.auth) {
                    candidates.push((wanted.scope.clone(), token));
                }
            }
        }
        candidates.sort_by_key(|(_, token)| token.expires_at);
        candidates
    }

    /// The due probes of `candidates`.
    pub fn unprobed_candidates(self, candidates: &[(TokenScope, Token)], now: Moment) -> Vec<ProbeTask> {
        let mut due = Vec::new();
        for (scope, token) in candidates {
            for name in self.names(scope).filter(|name| self.probes.is_due(name, &token.auth, now)) {
                due.push((scope.clone(), name.clone(), token.clone()));
            }
        }
        due
    }

    /// The due probes of the current tokens; with `all`, also of adopted tokens at names where they were never
    /// probed.
    pub fn unprobed(self, all: bool, now: Moment, server_now: Timestamp) -> Vec<ProbeTask> {
        let mut unprobed = Vec::new();
        for wanted in self.registries {
            let Some(attempts) = self.tokens.get(&wanted.scope) else { continue };
            let Some(token) = attempts.token.as_ref().filter(|token| token.expires_at > server_now) else {
                continue;
            };
            let is_wanted = |name: &&HostName| match self.probes.result(name, &token.auth) {
                // Adopted tokens were probed for adoption, and are probed again with the published ones.
                None => attempts.proof == Proof::Issued || all,
                Some(ProbeResult::Rejected(_)) => self.probes.is_due(name, &token.auth, now),
                // A token that ECR issued to this node needs no proof.
                Some(ProbeResult::Accepted | ProbeResult::Unknown(_)) => false,
            };
            let names = wanted.names().filter(is_wanted);
            unprobed.extend(names.map(|name| (wanted.scope.clone(), name.clone(), token.clone())));
        }
        unprobed
    }

    /// Whether to adopt `token`, which another node published, and with which proof. Anyone who can write the file
    /// can publish anything, as often as they like: only this node's own probes count.
    pub fn adoption(self, scope: &TokenScope, token: &Token, server_now: Timestamp) -> Option<Proof> {
        let proof = match self.decisive_probe(scope, &token.auth) {
            Some(ProbeResult::Accepted) => Proof::Accepted,
            Some(ProbeResult::Rejected(_)) => return None,
            Some(ProbeResult::Unknown(_)) | None if self.tokens.left(scope, server_now).is_zero() => {
                Proof::Unproven
            }
            Some(ProbeResult::Unknown(_)) | None => return None,
        };
        let is_better =
            self.tokens.would_adopt(scope, token, server_now) || self.may_replace_rejected(scope, token);
        is_better.then_some(proof)
    }

    /// Whether `auth` is the current token, only other nodes vouch for it, and its registry rejects it.
    pub fn is_refuted(self, scope: &TokenScope, auth: &Secret) -> bool {
        let attempts = self.tokens.get(scope).filter(|attempts| attempts.proof != Proof::Issued);
        attempts.and_then(|attempts| attempts.token.as_ref()).is_some_and(|ours| ours.auth == *auth)
            && self.is_rejected(scope, auth)
    }

    /// The tokens that a document should hold: those that are valid and not rejected, under each of their
    /// registries' names. Unproven tokens are not published to other nodes.
    pub fn credentials(self, audience: Audience, server_now: Timestamp) -> Credentials {
        let mut credentials = Credentials::new();
        for wanted in self.registries {
            let Some(attempts) = self.tokens.get(&wanted.scope) else { continue };
            let is_hearsay = attempts.proof == Proof::Unproven && audience == Audience::AllNodes;
            let token = attempts.token.as_ref().filter(|token| token.expires_at > server_now && !is_hearsay);
            if let Some(token) = token {
                let names = wanted.names().filter(|name| !self.probes.rejects(name, &token.auth));
                credentials
                    .extend(names.map(|name| (EntryName::from(name), Credential::Token(token.clone()))));
            }
        }
        credentials
    }

    /// Whether the current token is rejected and `token` is neither it nor its predecessor.
    fn may_replace_rejected(self, scope: &TokenScope, token: &Token) -> bool {
        self.in_hand(scope).is_some_and(|ours| {
            ![Some(&ours.auth), ours.predecessor.as_ref()].contains(&Some(&token.auth))
                && self.is_rejected(scope, &ours.auth)
        })
    }

    fn is_rejected(self, scope: &TokenScope, auth: &Secret) -> bool {
        self.decisive_probe(scope, auth).is_some_and(ProbeResult::is_rejected)
    }

    /// Whether `auth` is the current token, and there is no more to prove.
    fn is_proven(self, scope: &TokenScope, auth: &Secret) -> bool {
        let attempts = self.tokens.get(scope).filter(|attempts| attempts.proof != Proof::Unproven);
        attempts.and_then(|attempts| attempts.token.as_ref()).is_some_and(|ours| ours.auth == *auth)
    }

    fn in_hand(&self, scope: &TokenScope) -> Option<&Token> {
        self.tokens.get(scope)?.token.as_ref()
    }

    /// The registries of the scope.
    fn of(&self, scope: &TokenScope) -> impl Iterator<Item = &RegistrySettings> {
        self.registries.iter().filter(move |wanted| wanted.scope == *scope)
    }

    fn names(&self, scope: &TokenScope) -> impl Iterator<Item = &HostName> {
        self.of(scope).flat_map(RegistrySettings::names)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use jiff::Timestamp;

    use super::{Audience, Knowledge};
    use crate::credentials::{Origin, Secret, Token, TokenScope};
    use crate::documents::{MergeContext, PublishedDocument};
    use crate::refresh::{ProbeResult, Probes, Proof, Tokens};
    use crate::registry::EcrRegistry;
    use crate::settings::RegistrySettings;
    use crate::time::Moment;

    /// A node that serves one registry.
    struct Node {
        registries: [RegistrySettings; 1],
        tokens: Tokens,
        probes: Probes,
    }

    const NOW: Moment = Moment { wall: Timestamp::constant(1_000_000, 0), uptime: Duration::from_secs(500) };

    fn token(name: &str, left: i64) -> Token {
        Token {
            auth: Secret::new(STANDARD.encode(format!("AWS:{name}"))),
            issued_at: Timestamp::constant(999_900, 0),
            expires_at: Timestamp::constant(1_000_000 + left, 0),
            origin: Origin::default(),
            predecessor: None,
        }
    }

    fn unknown() -> ProbeResult {
        ProbeResult::Unknown("no route".to_owned())
    }

    impl Node {
        fn with(in_hand: Option<(Token, Proof)>) -> Self {
            let host = "123456789123.dkr.ecr.us-east-1.amazonaws.com";
            let registries = [RegistrySettings::of(EcrRegistry::parse(host).expect("a registry"))];
            let mut node = Self { registries, tokens: Tokens::default(), probes: Probes::default() };
            node.tokens.retain([&node.scope()], NOW);
            if let Some((token, proof)) = in_hand {
                node.tokens.adopt(&node.scope(), token, proof);
            }
            node
        }

        fn scope(&self) -> TokenScope {
            self.registries[0].scope.clone()
        }

        fn probed(mut self, token: &Token, result: ProbeResult) -> Self {
            self.probes.record(self.registries[0].registry.host(), &token.auth, result, NOW, 0.5);
            self
        }

        fn knowledge(&self) -> Knowledge<'_> {
            Knowledge { registries: &self.registries, tokens: &self.tokens, probes: &self.probes }
        }

        fn adopts(&self, token: &Token) -> Option<Proof> {
            self.knowledge().adoption(&self.scope(), token, NOW.wall)
        }
    }

    #[test]
    fn only_a_probe_makes_a_published_token_believed() {
        let check = |in_hand: Option<(i64, Proof)>, result: ProbeResult, expected: Option<Proof>| {
            let theirs = token("theirs", 200);
            let node = Node::with(in_hand.map(|(left, proof)| (token("ours", left), proof)));
            let node = node.probed(&theirs, result.clone());
            assert_eq!(node.adopts(&theirs), expected, "{in_hand:?} {result:?}");
        };
        let (living, ended) = (Some((100, Proof::Issued)), Some((-1, Proof::Issued)));
        check(None, ProbeResult::Accepted, Some(Proof::Accepted));
        check(living, ProbeResult::Accepted, Some(Proof::Accepted));
        check(Some((300, Proof::Issued)), ProbeResult::Accepted, None);
        check(Some((300, Proof::Unproven)), ProbeResult::Accepted, Some(Proof::Accepted));
        check(None, unknown(), Some(Proof::Unproven));
        check(ended, unknown(), Some(Proof::Unproven));
        check(living, unknown(), None);
        check(None, ProbeResult::Rejected(401), None);
        check(ended, ProbeResult::Rejected(401), None);
    }

    #[test]
    fn a_rejected_token_yields_to_any_but_its_predecessor() {
        let (before, ours, theirs) = (token("before", 50), token("ours", 100), token("theirs", 60));
        let in_hand = Token { predecessor: Some(before.auth.clone()), ..ours.clone() };
        let node = Node::with(Some((in_hand, Proof::Issued)))
            .probed(&before, ProbeResult::Accepted)
            .probed(&theirs, ProbeResult::Accepted);
        assert_eq!((node.adopts(&before), node.adopts(&theirs)), (None, None));
        let node = node.probed(&ours, ProbeResult::Rejected(401));
        assert_eq!((node.adopts(&before), node.adopts(&theirs)), (None, Some(Proof::Accepted)));
    }

    #[test]
    fn only_what_others_vouch_for_is_refuted() {
        let check = |proof: Proof, result: ProbeResult, expected: bool| {
            let ours = token("ours", 100);
            let node = Node::with(Some((ours.clone(), proof))).probed(&ours, result);
            assert_eq!(node.knowledge().is_refuted(&node.scope(), &ours.auth), expected, "{proof:?}");
        };
        check(Proof::Accepted, ProbeResult::Rejected(401), true);
        check(Proof::Unproven, ProbeResult::Rejected(401), true);
        check(Proof::Issued, ProbeResult::Rejected(401), false);
        check(Proof::Accepted, unknown(), false);
    }

    #[test]
    fn documents_hold_what_lives_and_is_not_rejected() {
        let check = |left: i64, proof: Proof, result: ProbeResult, expected: (bool, bool)| {
            let ours = token("ours", left);
            let node = Node::with(Some((ours.clone(), proof))).probed(&ours, result);
            let holds = |audience| !node.knowledge().credentials(audience, NOW.wall).is_empty();
            assert_eq!((holds(Audience::ThisNode), holds(Audience::AllNodes)), expected, "{left} {proof:?}");
        };
        check(100, Proof::Issued, unknown(), (true, true));
        check(100, Proof::Accepted, ProbeResult::Accepted, (true, true));
        check(100, Proof::Unproven, unknown(), (true, false));
        check(100, Proof::Issued, ProbeResult::Rejected(401), (false, false));
        check(0, Proof::Issued, ProbeResult::Accepted, (false, false));
    }

    #[test]
    fn a_published_token_is_a_candidate_unless_it_is_proven() {
        let (ours, theirs) = (token("ours", 100), token("theirs", 50));
        let publisher = Node::with(Some((theirs.clone(), Proof::Issued)));
        let wanted = publisher.knowledge().credentials(Audience::AllNodes, NOW.wall);
        let by = MergeContext { now: NOW.wall, ..MergeContext::default() };
        let published = PublishedDocument::default().merged(&wanted, &by).expect("an empty one takes any");
        let candidates = |node: &Node| node.knowledge().candidates(&published, Some(NOW.wall));
        assert_eq!(candidates(&publisher), []);
        for (proof, expected) in [(Proof::Accepted, 0), (Proof::Unproven, 1)] {
            assert_eq!(candidates(&Node::with(Some((theirs.clone(), proof)))).len(), expected, "{proof:?}");
        }
        let other = Node::with(Some((ours, Proof::Issued)));
        assert_eq!(candidates(&other), [(other.scope(), theirs.clone())]);
        assert_eq!(other.knowledge().unprobed_candidates(&candidates(&other), NOW).len(), 1);
        let other = other.probed(&theirs, ProbeResult::Rejected(401));
        assert_eq!(other.knowledge().unprobed_candidates(&candidates(&other), NOW), []);
        let rejections = other.knowledge().rejections();
        assert!(rejections.contain(&other.registries[0].registry.host().into(), &theirs.auth));
    }
}
