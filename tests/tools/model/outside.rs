//! The world around the nodes: time, ECR and its registry, the published file and the refresh lock.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::credentials::{Origin, Secret, Token};
use domain::documents::{Document, PublishedDocument};
use jiff::Timestamp;
use serde_json::json;

use crate::node::Site;

/// Time advances in ticks of one pass interval.
pub(crate) const TICK: Duration = Duration::from_secs(60);
/// Short enough that a life fits into the bound, but longer than all of the agent's waits.
pub(crate) const LIFE: u16 = 16;
const BOOT: Timestamp = Timestamp::constant(1_800_000_000, 0);
pub(crate) const HOST: &str = "123456789123.dkr.ecr.us-east-1.amazonaws.com";

/// The state shared by all nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outside {
    pub tick: u16,
    pub file: Option<Arc<File>>,
    pub lock: Option<Lock>,
    /// The number of locks written so far; the next one has a new mark.
    pub marks: u16,
    /// A call that the NameNode has yet to execute, although its node has given up on it.
    pub late: Option<Late>,
    troubles: [bool; Trouble::ALL.len()],
    /// Whether the nodes were ever unable to see each other's tokens, and so called ECR themselves.
    pub were_apart: bool,
    /// The tokens issued by ECR.
    pub issued: Vec<Arc<Token>>,
}

/// The published file.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub document: Document,
    /// The document, parsed.
    pub content: PublishedDocument,
    /// The credential that readers get for the registry.
    pub auth: Option<Secret>,
    /// Until when the registry accepts it.
    good_until: Option<Timestamp>,
    is_usable: bool,
    /// A hash of the content without publisher and publication time.
    essence: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lock {
    pub mark: u16,
    /// The node that the lock names.
    pub node: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Late {
    Rename(Arc<File>),
    CreateLock(usize),
}

/// Trouble that lasts until it ends on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Trouble {
    NoRegistry,
    NoEcr,
    NoHdfs,
    /// An attacker rewrites the lock in every tick.
    LockKept,
}

impl Trouble {
    pub(crate) const ALL: [Self; 4] = [Self::NoRegistry, Self::NoEcr, Self::NoHdfs, Self::LockKept];
}

/// What an attacker writes to the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Plant {
    /// A credential that the registry rejects, with plausible times.
    Forged,
    /// Like `Forged`, but it expires just after the current one.
    EndsJustAfter,
    /// Like `Forged`, but with a longer life than ECR grants.
    Impossible,
    /// An entry that Docker rejects.
    Poison,
    /// The first token that ECR issued.
    Replayed,
}

impl Outside {
    pub(crate) fn new() -> Self {
        Self {
            tick: 0,
            file: None,
            lock: None,
            marks: 0,
            late: None,
            troubles: [false; Trouble::ALL.len()],
            were_apart: false,
            issued: Vec::new(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        at(self.tick)
    }

    pub(crate) fn has(&self, trouble: Trouble) -> bool {
        self.troubles[trouble as usize]
    }

    /// Advances time by one tick.
    pub(crate) fn tick(&mut self) {
        self.tick += 1;
        if self.has(Trouble::LockKept) {
            self.create_lock(None);
        }
    }

    pub(crate) fn begin(&mut self, trouble: Trouble) {
        self.troubles[trouble as usize] = true;
        self.were_apart |= matches!(trouble, Trouble::NoHdfs | Trouble::NoRegistry);
        if trouble == Trouble::LockKept {
            self.create_lock(None);
        }
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.troubles == [false; Trouble::ALL.len()]
    }

    /// How many tokens ECR has issued.
    pub(crate) fn calls(&self) -> u16 {
        u16::try_from(self.issued.len()).unwrap_or(u16::MAX)
    }

    pub(crate) fn end(&mut self, trouble: Trouble) {
        self.troubles[trouble as usize] = false;
    }

    pub(crate) fn issue(&mut self) -> Token {
        let token = genuine(self.issued.len(), self.tick);
        self.issued.push(Arc::new(token.clone()));
        token
    }

    /// Until when the registry accepts `auth`; `None` if ECR never issued it.
    pub(crate) fn taken_until(&self, auth: &Secret) -> Option<Timestamp> {
        self.issued.iter().find(|token| token.auth == *auth).map(|token| token.expires_at)
    }

    pub(crate) fn file_is_good(&self) -> bool {
        self.file.as_ref().is_some_and(|file| file.is_good(self.now()))
    }

    pub(crate) fn create_lock(&mut self, node: Option<usize>) {
        self.marks += 1;
        self.lock = Some(Lock { mark: self.marks, node });
    }

    pub(crate) fn apply_late(&mut self) {
        match self.late.take() {
            Some(Late::Rename(file)) => self.file = Some(file),
            Some(Late::CreateLock(node)) if self.lock.is_none() => self.create_lock(Some(node)),
            Some(Late::CreateLock(_)) | None => {}
        }
    }

    pub(crate) fn plant(&mut self, plant: Plant) {
        let now = self.now();
        let (auth, issued, expires) = match plant {
            Plant::Forged => (forged(at(self.tick + 700)), now, at(self.tick + 700)),
            Plant::EndsJustAfter => {
                let ends = self.file.as_ref().and_then(|file| file.good_until).unwrap_or(now);
                let ends = ends + TICK;
                (forged(ends), now, ends)
            }
            Plant::Impossible => (forged(at(self.tick + 800)), now, at(self.tick + 800)),
            Plant::Poison => (Secret::new("eA=="), now, at(self.tick + LIFE)),
            Plant::Replayed => {
                let Some(token) = self.issued.first() else { return };
                (token.auth.clone(), token.issued_at, token.expires_at)
            }
        };
        let text = json!({
            "auths": { HOST: { "auth": auth.expose() } },
            "emr-ecr-agent": { "issued_at": { HOST: issued }, "expires_at": { HOST: expires } },
        });
        self.file = Some(Arc::new(File::new(Document::new(text.to_string().into_bytes()), self)));
    }
}

impl Hash for Outside {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { tick, file, lock, marks: _, late, troubles, were_apart, issued } = self;
        // A node's view of the lock's mark is part of the node.
        let holder = lock.map(|lock| lock.node);
        let first = issued.first().map(|token| token.issued_at);
        (tick, file, holder, late, troubles, were_apart, issued.len(), first).hash(state);
    }
}

impl File {
    pub(crate) fn new(document: Document, outside: &Outside) -> Self {
        let (content, error) = PublishedDocument::read(&document);
        let auth = content.auth(&Site::get().entry).cloned();
        let is_usable = error.is_none() && !content.is_poisonous();
        let good_until = auth.as_ref().filter(|_| is_usable).and_then(|auth| outside.taken_until(auth));
        let claim = content.token(&Site::get().entry, None).map(|token| (token.issued_at, token.expires_at));
        let essence = hash(&(&auth, claim, is_usable));
        Self { document, content, auth, good_until, is_usable, essence }
    }

    pub(crate) fn is_good(&self, now: Timestamp) -> bool {
        self.good_until > Some(now)
    }

    /// Returns whether the file may hold a living credential, as far as can be known without a probe.
    pub(crate) fn is_believable(&self, now: Timestamp) -> bool {
        self.is_usable && self.auth.is_some() && self.good_until.is_none_or(|until| until > now)
    }

    pub(crate) fn ends_before(&self, other: &Self) -> bool {
        self.good_until < other.good_until
    }
}

impl PartialEq for File {
    fn eq(&self, other: &Self) -> bool {
        self.document == other.document
    }
}

impl Eq for File {}

impl Hash for File {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.essence.hash(state);
    }
}

pub(crate) fn at(tick: u16) -> Timestamp {
    BOOT + TICK * u32::from(tick)
}

fn genuine(number: usize, tick: u16) -> Token {
    let expires_at = at(tick + LIFE);
    let auth = password("genuine", expires_at, number);
    Token { auth, issued_at: at(tick), expires_at, origin: Origin::default(), predecessor: None }
}

fn forged(expires_at: Timestamp) -> Secret {
    password("forged", expires_at, 0)
}

/// A password like ECR's, which contains its expiry.
fn password(kind: &str, expires_at: Timestamp, number: usize) -> Secret {
    let json = format!(r#"{{"payload":"{kind}-{number}","expiration":{}}}"#, expires_at.as_second());
    Secret::new(STANDARD.encode(format!("AWS:{}", STANDARD.encode(json))))
}

pub(crate) fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
