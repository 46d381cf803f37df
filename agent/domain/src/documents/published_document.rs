//! The published document: `auths` entries with a string `auth`, which is all that YARN uses, and an object of the
//! agent's that YARN ignores. It states who published the document, when, and when each entry expires.

use std::collections::{BTreeMap, BTreeSet};

use hadoop_rules::client_config::{self, ClientConfigError};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::credentials::{
    Credential, Credentials, EntryName, LONGEST_LIFE, Origin, Rejections, Renewal, Secret, StaticCredential,
    Token, docker_accepts, is_of_aws, stated_expiry,
};
use crate::documents::Document;
use crate::documents::docker_config::render_json;
use crate::time::saturating_add;

/// How far another node's view of the server's clock may be ahead of this node's.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(5);
/// AWS credentials that other nodes claim to expire sooner than this do not trigger a renewal.
const SOONEST_END: SignedDuration = SignedDuration::from_mins(10);
/// Key of the agent's object at the top level.
const OWN_KEY: &str = "emr-ecr-agent";

/// Credentials by registry name, as published.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublishedDocument {
    entries: BTreeMap<String, Entry>,
    publication: Option<Publication>,
}

/// What decides whether an existing entry stays.
#[derive(Debug, Clone, Default)]
pub struct MergeContext {
    pub renewal: Renewal,
    /// By the server's clock.
    pub now: Timestamp,
    /// What this node's registries rejected.
    pub rejections: Rejections,
    /// Which entries of other registries stay.
    pub keep: Keep,
}

/// Which entries of registries that are not served stay in the document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Keep {
    /// An operator may have added them.
    #[default]
    All,
    /// Only these.
    Only(BTreeSet<EntryName>),
}

/// Who published a document, and when, by the server's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    pub publisher: String,
    pub published_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    auth: Secret,
    /// `None` for static entries, and for entries of others that do not state it.
    expires_at: Option<Timestamp>,
    /// `None` for entries that no agent published.
    issued_at: Option<Timestamp>,
    /// When the AWS credentials that requested it expire, if they do.
    credentials_expire_at: Option<Timestamp>,
    /// For static entries, the modification time of their file.
    set_at: Option<Timestamp>,
}

impl PublishedDocument {
    /// Reads the published file as YARN does. The document holds all valid entries even if the file makes launches
    /// fail.
    pub fn read(document: &Document) -> (Self, Option<ClientConfigError>) {
        let (credentials, error) = client_config::salvage(document.bytes());
        let own = Own::read(document.bytes());
        let entry = |(name, auth): (String, Secret)| {
            let of = |times: &BTreeMap<String, Timestamp>| times.get(&name).copied();
            let entry = Entry {
                expires_at: expiry(&auth, of(&own.expires_at)),
                issued_at: of(&own.issued_at),
                credentials_expire_at: of(&own.credentials_expire_at),
                set_at: of(&own.set_at),
                auth,
            };
            (name, entry)
        };
        let entries = credentials.into_iter().map(entry).collect();
        let publication = own.publisher.clone().zip(own.published_at);
        let publication =
            publication.map(|(publisher, published_at)| Publication { publisher, published_at });
        (Self { entries, publication }, error)
    }

    /// Whether Docker rejects any entry, and all others with it.
    pub fn is_poisonous(&self) -> bool {
        self.entries.values().any(|entry| !docker_accepts(entry.auth.expose()))
    }

    /// Removes the entries that Docker rejects, which would make it reject all others, and returns whether there
    /// were any.
    pub fn without_poison(mut self) -> (Self, bool) {
        let before = self.entries.len();
        self.entries.retain(|_, entry| docker_accepts(entry.auth.expose()));
        let is_poisonous = self.entries.len() < before;
        (self, is_poisonous)
    }

    /// Removes the entries that are not to be kept, and returns whether there were any.
    pub fn without_strangers(mut self, keep: &Keep) -> (Self, bool) {
        let Keep::Only(kept) = keep else { return (self, false) };
        let before = self.entries.len();
        self.entries.retain(|name, _| kept.iter().any(|kept| kept.as_str() == name));
        let had_strangers = self.entries.len() < before;
        (self, had_strangers)
    }

    /// The names of all entries.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The document with `wanted` merged in; `None` if nothing changes. A better entry replaces one that is due. An
    /// entry is never replaced by one that expires sooner, or was set earlier, unless its registry rejects it.
    pub fn merged(&self, wanted: &Credentials, by: &MergeContext) -> Option<Self> {
        let better: Vec<_> = wanted.iter().filter(|(name, wanted)| self.yields(name, wanted, by)).collect();
        if better.is_empty() {
            return None;
        }
        let mut merged = self.clone();
        for (name, wanted) in better {
            merged.entries.insert(name.to_string(), Entry::of(wanted));
        }
        Some(merged)
    }

    /// Whether `wanted` replaces the entry under `name`.
    fn yields(&self, name: &EntryName, wanted: &Credential, by: &MergeContext) -> bool {
        let Some(entry) = self.entries.get(name.as_str()) else { return true };
        if entry.auth != *wanted.auth() && by.rejections.contain(name, &entry.auth) {
            return true;
        }
        match wanted {
            Credential::Token(token) => entry.yields_to_token(token, by.renewal, by.now),
            Credential::Static(credential) => entry.yields_to_static(credential, by.now),
        }
    }

    /// The same credentials with this `publication`.
    pub fn signed(mut self, publication: Publication) -> Self {
        self.publication = Some(publication);
        self
    }

    pub fn publication(&self) -> Option<&Publication> {
        self.publication.as_ref()
    }

    /// Whether there is any credential under `name`.
    pub fn holds(&self, name: &EntryName) -> bool {
        self.entries.contains_key(name.as_str())
    }

    /// The credential under `name`.
    pub fn auth(&self, name: &EntryName) -> Option<&Secret> {
        self.entries.get(name.as_str()).map(|entry| &entry.auth)
    }

    /// When the credential under `name` expires; `None` if there is none or it does not state it.
    pub fn expires_at(&self, name: &EntryName) -> Option<Timestamp> {
        self.entries.get(name.as_str())?.expires_at
    }

    /// The token that an agent published under `name`, if it is valid and ECR can have issued it; `now` is the
    /// server's clock, if known.
    pub fn token(&self, name: &EntryName, now: Option<Timestamp>) -> Option<Token> {
        let entry = self.entries.get(name.as_str())?;
        match now {
            Some(now) => entry.token_at(now).filter(|token| now < token.expires_at),
            None => entry.token(),
        }
    }

    pub fn render(&self) -> Document {
        let auths: Map<String, Value> = self
            .entries
            .iter()
            .map(|(name, entry)| (name.clone(), json!({ "auth": entry.auth.expose() })))
            .collect();
        let times = |time: fn(&Entry) -> Option<Timestamp>| {
            self.entries.iter().filter_map(|(name, entry)| Some((name.clone(), time(entry)?))).collect()
        };
        let own = Own {
            publisher: self.publication.as_ref().map(|publication| publication.publisher.clone()),
            published_at: self.publication.as_ref().map(|publication| publication.published_at),
            expires_at: times(|entry| entry.expires_at),
            issued_at: times(|entry| entry.issued_at),
            credentials_expire_at: times(|entry| entry.credentials_expire_at),
            set_at: times(|entry| entry.set_at),
        };
        Document::new(render_json(&json!({ "auths": auths, OWN_KEY: own }), b"  "))
    }
}

/// The token's own expiry counts if it can be read, because anyone may write the claimed one.
fn expiry(auth: &Secret, claimed: Option<Timestamp>) -> Option<Timestamp> {
    stated_expiry(auth.expose()).or(claimed)
}

impl Entry {
    fn of(credential: &Credential) -> Self {
        let (issued_at, credentials_expire_at, set_at) = match credential {
            Credential::Token(token) => (Some(token.issued_at), token.origin.ends_at, None),
            Credential::Static(credential) => (None, None, Some(credential.set_at)),
        };
        let auth = credential.auth().clone();
        let expires_at = credential.expires_at().and_then(|at| expiry(&auth, Some(at)));
        Self { auth, expires_at, issued_at, credentials_expire_at, set_at }
    }

    /// The token that the entry claims to be, if ECR can have issued it with that lifetime.
    fn token(&self) -> Option<Token> {
        let (issued_at, expires_at) = (self.issued_at?, self.expires_at?);
        let life = expires_at.duration_since(issued_at);
        let is_possible = is_of_aws(self.auth.expose()) && life.is_positive() && life <= LONGEST_LIFE;
        let origin = Origin { ends_at: self.credentials_expire_at, principal: None };
        let token = Token { auth: self.auth.clone(), issued_at, expires_at, origin, predecessor: None };
        is_possible.then_some(token)
    }

    /// Like `token`, but only if its times are possible at `now`.
    fn token_at(&self, now: Timestamp) -> Option<Token> {
        let mut token = self.token()?;
        let is_possible = token.issued_at <= saturating_add(now, CLOCK_TOLERANCE)
            && token.expires_at <= saturating_add(now, LONGEST_LIFE);
        // Otherwise anyone who can write the file could trigger token requests at any time.
        token.origin.ends_at = token.origin.ends_at.filter(|at| *at >= saturating_add(now, SOONEST_END));
        is_possible.then_some(token)
    }

    fn yields_to_token(&self, token: &Token, renewal: Renewal, now: Timestamp) -> bool {
        let ours = Self::of(&Credential::Token(token.clone()));
        let (Some(expires_at), Some(ours_expires_at)) = (self.expires_at, ours.expires_at) else {
            return true;
        };
        if *self == ours {
            return false;
        }
        // An entry with impossible times is not an agent's, and must not block ours.
        let is_possible = self.token_at(now).is_some();
        let better = ours_expires_at > expires_at && self.auth != ours.auth;
        let due = || renewal.due_at(expires_at, token.life()) <= now;
        // Nodes that fetched for themselves hold tokens minutes apart: publishing one after another would gain
        // nothing.
        let worth_it =
            || expires_at <= now || ours_expires_at >= saturating_add(expires_at, token.life() / 10);
        let succeeds = || token.predecessor.as_ref() == Some(&self.auth);
        !is_possible || (better && (succeeds() || (due() && worth_it())))
    }

    /// The later file wins; otherwise nodes with different files would overwrite each other forever. Times in the
    /// future do not count.
    fn yields_to_static(&self, credential: &StaticCredential, now: Timestamp) -> bool {
        self.auth != credential.auth && self.set_at.is_none_or(|at| at <= credential.set_at || at > now)
    }
}

/// When entries expire, according to the agent's object. Nothing else in the document is kept in memory, because it
/// may be large and written by others.
pub fn claimed_expiries(bytes: &[u8]) -> BTreeMap<String, Timestamp> {
    Own::read(bytes).expires_at
}

#[derive(Default, Serialize, Deserialize)]
struct Own {
    // Flattened, serde would keep the whole object in memory, including what others put there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    publisher: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    published_at: Option<Timestamp>,
    #[serde(default)]
    expires_at: BTreeMap<String, Timestamp>,
    #[serde(default)]
    issued_at: BTreeMap<String, Timestamp>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    credentials_expire_at: BTreeMap<String, Timestamp>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    set_at: BTreeMap<String, Timestamp>,
}

impl Own {
    /// The object in the first JSON document, as YARN ignores what follows. Unreadable content counts as absent.
    fn read(bytes: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Root {
            #[serde(rename = "emr-ecr-agent", default)]
            own: Option<Own>,
        }
        let root = Root::deserialize(&mut serde_json::Deserializer::from_slice(bytes));
        root.ok().and_then(|root| root.own).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use jiff::Timestamp;

    use hadoop_rules::client_config::{self, ClientConfigError};

    use super::{MergeContext, Publication, PublishedDocument};
    use crate::credentials::{
        Credential, Credentials, EntryName, Origin, Renewal, Secret, StaticCredential, Token,
    };
    use crate::documents::Document;

    const HALF: Renewal = Renewal { renew_at: 0.5, jitter: 0.0, jitter_fraction: 0.0 };

    fn at(second: i64) -> Timestamp {
        Timestamp::constant(second, 0)
    }

    fn context(now: i64) -> MergeContext {
        MergeContext { renewal: HALF, now: at(now), ..MergeContext::default() }
    }

    fn host(name: &str) -> EntryName {
        EntryName::parse(name).expect("a name")
    }

    fn auth_of(expires: i64) -> Secret {
        Secret::new(STANDARD.encode(format!("AWS:token-{expires}")))
    }

    /// A token with a lifetime of 100 s that expires at `expires`.
    fn wanted(name: &str, expires: i64) -> Credentials {
        let auth = auth_of(expires);
        let (issued_at, expires_at) = (at(expires - 100), at(expires));
        let token = Token { auth, issued_at, expires_at, origin: Origin::default(), predecessor: None };
        [(host(name), Credential::Token(token))].into()
    }

    fn published(name: &str, expires: i64) -> PublishedDocument {
        PublishedDocument::default()
            .merged(&wanted(name, expires), &context(0))
            .expect("an empty document takes any")
    }

    #[test]
    fn an_entry_gives_way_only_to_a_better_one_and_only_when_due() {
        let check = |in_place: i64, offered: i64, now: i64, changes: bool| {
            let merged = published("a", in_place).merged(&wanted("a", offered), &context(now));
            assert_eq!(merged.is_some(), changes, "{in_place} {offered} {now}");
            let kept =
                merged.map_or(in_place, |merged| merged.expires_at(&host("a")).expect("known").as_second());
            assert!(kept >= in_place);
        };
        check(1000, 1100, 949, false);
        check(1000, 1100, 950, true);
        check(1000, 1000, 999, false);
        check(1000, 990, 999, false);
        check(1000, 1200, 2000, true);
    }

    #[test]
    fn claims_are_checked_by_what_is_possible() {
        let auth = auth_of(0);
        let auth = auth.expose();
        let read = |auth: &str, issued: Option<i64>, expires: Option<i64>| {
            let times = |time: Option<i64>| -> serde_json::Value {
                time.map_or_else(|| serde_json::json!({}), |second| serde_json::json!({ "a": at(second) }))
            };
            let text = serde_json::json!({
                "auths": { "a": { "auth": auth } },
                "emr-ecr-agent": { "issued_at": times(issued), "expires_at": times(expires) },
            });
            PublishedDocument::read(&Document::new(text.to_string().into_bytes())).0
        };
        let now = 1_000_000;
        let check = |auth: &str, issued: Option<i64>, expires: Option<i64>, possible: bool| {
            let document = read(auth, issued, expires);
            let token = document.token(&host("a"), Some(at(now)));
            assert_eq!(token.is_some(), possible, "{auth} {issued:?} {expires:?}");
            let yields = document.merged(&wanted("a", now + 50), &context(now)).is_some();
            assert_eq!(yields, !possible, "{auth} {issued:?} {expires:?}");
        };
        let twelve_hours = 12 * 3600;
        check(auth, Some(now), Some(now + twelve_hours), true);
        check(auth, Some(now + 299), Some(now + twelve_hours), true);
        check(auth, Some(now + 301), Some(now + twelve_hours), false);
        check(auth, Some(now), Some(now + twelve_hours + 601), false);
        check(auth, Some(now - twelve_hours), Some(now + 700), false);
        check(auth, Some(now), None, false);
        check(auth, None, Some(now + 100), false);
        for foreign in ["garbage", "aHViOmh1Yg==", "QVdTOg=="] {
            check(foreign, Some(now), Some(now + twelve_hours), false);
        }
    }

    /// Agents of two versions share the file during a cluster upgrade.
    #[test]
    fn members_that_only_another_version_knows_are_no_obstacle() {
        let now = 1_000_000;
        let text = serde_json::json!({
            "auths": { "a": { "auth": auth_of(now + 900).expose(), "since": 9 } },
            "emr-ecr-agent": {
                "issued_at": { "a": at(now - 100) }, "expires_at": { "a": at(now + 900) },
                "format": 9, "regions": { "a": ["x"] }, "publisher": null,
            },
            "later": true,
        });
        let document = PublishedDocument::read(&Document::new(text.to_string().into_bytes())).0;
        assert_eq!(
            document.token(&host("a"), Some(at(now))).map(|token| token.expires_at),
            Some(at(now + 900))
        );
        assert!(document.merged(&wanted("a", now + 900), &context(now)).is_none(), "it stays");
    }

    #[test]
    fn others_aws_credentials_renew_nothing_at_once() {
        let check = |ends: i64, expected: Option<i64>| {
            let Credential::Token(token) = wanted("a", 1_000_000).remove(&host("a")).expect("a token") else {
                panic!("a token");
            };
            let token = Token { origin: Origin { ends_at: Some(at(ends)), principal: None }, ..token };
            let wanted: Credentials = [(host("a"), Credential::Token(token))].into();
            let document = PublishedDocument::default().merged(&wanted, &context(0)).expect("an empty one");
            let token = document.token(&host("a"), Some(at(999_950))).expect("it lives");
            assert_eq!(token.origin.ends_at, expected.map(at));
        };
        check(999_000, None);
        check(999_951, None);
        check(1_000_550, Some(1_000_550));
    }

    #[test]
    fn foreign_entries_stay_and_unknown_expiry_gives_way() {
        let text =
            r#"{"auths":{"hub.example":{"auth":"aHVi","email":"x"},"a":{"auth":"b2xk"}},"credsStore":"y"}"#;
        let (document, poison) = PublishedDocument::read(&Document::new(text.as_bytes().to_vec()));
        assert_eq!(poison, None);
        let merged = document.merged(&wanted("a", 1000), &context(950)).expect("a is replaced");
        let rendered = String::from_utf8(merged.render().bytes().to_vec()).expect("UTF-8");
        let value: serde_json::Value = serde_json::from_str(&rendered).expect("JSON");
        assert_eq!(
            value["auths"],
            serde_json::json!({"a": {"auth": auth_of(1000).expose()}, "hub.example": {"auth": "aHVi"}})
        );
        assert_eq!(value.as_object().map(serde_json::Map::len), Some(2));
    }

    #[test]
    fn of_static_entries_the_later_set_wins() {
        let hub = "https://index.docker.io/v1/";
        let wanted = |auth: &str, set_at: i64| -> Credentials {
            let credential = StaticCredential { auth: Secret::new(auth), set_at: at(set_at) };
            [(host(hub), Credential::Static(credential))].into()
        };
        let in_place = PublishedDocument::default().merged(&wanted("old", 100), &context(200)).expect("new");
        let (in_place, poison) = PublishedDocument::read(&in_place.render());
        assert_eq!((poison, in_place.expires_at(&host(hub))), (None, None));
        assert!(in_place.holds(&host(hub)));
        let check = |auth: &str, set_at: i64, now: i64, changes: bool| {
            let merged = in_place.merged(&wanted(auth, set_at), &context(now));
            assert_eq!(merged.is_some(), changes, "{auth} {set_at} {now}");
        };
        check("old", 150, 200, false);
        check("new", 150, 200, true);
        check("new", 100, 200, true);
        check("new", 99, 200, false);
        check("new", 50, 90, true);
        let foreign = Document::new(format!(r#"{{"auths":{{"{hub}":{{"auth":"by hand"}}}}}}"#).into_bytes());
        assert!(PublishedDocument::read(&foreign).0.merged(&wanted("new", 1), &context(2)).is_some());
    }

    #[test]
    fn what_is_rendered_reads_back_the_same() {
        let publication = Publication { publisher: "ip-10-0-0-1".to_owned(), published_at: at(77) };
        let document = published("a", 1000).signed(publication.clone());
        assert_eq!(PublishedDocument::read(&document.render()), (document.clone(), None));
        assert_eq!(document.publication(), Some(&publication));
    }

    #[test]
    fn poison_is_named_and_good_entries_survive_it() {
        let check = |text: &str, broken: Option<&str>, survivors: &[&str]| {
            let (document, error) = PublishedDocument::read(&Document::new(text.as_bytes().to_vec()));
            let error = error.map(|error| match error {
                ClientConfigError::Empty => "empty".to_owned(),
                ClientConfigError::Malformed(_) => "malformed".to_owned(),
                ClientConfigError::EntryWithoutAuth { registry } => registry,
            });
            assert_eq!(error.as_deref(), broken, "{text}");
            assert_eq!(document.entries.keys().map(String::as_str).collect::<Vec<_>>(), survivors, "{text}");
        };
        check("{", Some("malformed"), &[]);
        check("", Some("empty"), &[]);
        check("[]", None, &[]);
        check(r#"{"auths":{"a":{}}}"#, Some("a"), &[]);
        check(r#"{"auths":{"a":{"auth":"x"},"b":null,"c":{"auth":7}}}"#, Some("b"), &["a", "c"]);
        check(r#"{"auths":{"a":{"auth":"x"}}}"#, None, &["a"]);
        check(r#"{"auths":{"a":{"auth":null}}} trailing"#, None, &["a"]);
        check(r#"{"auths":{"a":{"auth":"\ud83d"}}}"#, None, &["a"]);
        check("{}", None, &[]);
    }

    #[test]
    fn the_daemon_reads_every_recorded_case_as_yarn_does() {
        let cases = include_str!("../../../hadoop-rules/testdata/docker_config.jsonl");
        for line in cases.lines() {
            let case: serde_json::Value = serde_json::from_str(line).expect("a case");
            let bytes = match (case["content"].as_str(), case["content_b64"].as_str()) {
                (Some(text), _) => text.as_bytes().to_vec(),
                (None, Some(encoded)) => STANDARD.decode(encoded).expect("base64"),
                (None, None) => continue,
            };
            let (document, error) = PublishedDocument::read(&Document::new(bytes.clone()));
            let hadoop = &case["3.5.0"];
            assert_eq!(error.is_some(), !hadoop["error"].is_null(), "{}", case["id"]);
            assert_eq!(error, client_config::read(&bytes).err(), "{}", case["id"]);
            if error.is_none() {
                assert_eq!(Some(document.entries.len() as u64), hadoop["tokens"].as_u64(), "{}", case["id"]);
            }
        }
    }

    #[test]
    fn the_tokens_own_word_counts_more_than_our_object() {
        let password = STANDARD.encode(r#"{"expiration":500}"#);
        let auth = STANDARD.encode(format!("AWS:{password}"));
        let check = |said: &str, expected: i64| {
            let text = format!(
                r#"{{"auths":{{"a":{{"auth":"{auth}"}}}},"emr-ecr-agent":{{"expires_at":{{"a":"{said}"}}}}}}"#
            );
            let (document, _) = PublishedDocument::read(&Document::new(text.into_bytes()));
            assert_eq!(document.expires_at(&host("a")), Some(at(expected)), "{said}");
        };
        check("9999-01-01T00:00:00Z", 500);
        check("1970-01-01T00:01:00Z", 500);
    }

    #[test]
    fn a_rejected_entry_gives_way_to_anything() {
        let mut by = context(150);
        assert_eq!(published("a", 250).merged(&wanted("a", 200), &by), None);
        by.rejections.add(host("a"), auth_of(250));
        let merged = published("a", 250).merged(&wanted("a", 200), &by).expect("it yields");
        assert_eq!(merged.expires_at(&host("a")), Some(at(200)));
        assert_eq!(published("a", 250).merged(&wanted("a", 250), &by), None, "nothing yields to itself");
    }

    #[test]
    fn a_token_does_not_give_way_to_itself() {
        let password = STANDARD.encode(r#"{"expiration":1000}"#);
        let auth = Secret::new(STANDARD.encode(format!("AWS:{password}")));
        let token = Token {
            auth,
            issued_at: at(900),
            expires_at: Timestamp::constant(1000, 640_000_000),
            origin: Origin::default(),
            predecessor: None,
        };
        let wanted: Credentials = [(host("a"), Credential::Token(token))].into();
        let merged =
            PublishedDocument::default().merged(&wanted, &context(900)).expect("an empty one takes any");
        let (in_place, _) = PublishedDocument::read(&merged.render());
        for now in [900, 950, 999, 1001] {
            assert_eq!(in_place.merged(&wanted, &context(now)), None, "{now}");
        }
    }
}
