//! The same file under attack: mallory can write its directory, as anyone can on EMR without Kerberos. He randomly
//! plants bad credentials and worse, touches the refresh lock, and floods the directory.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hyper::header::AUTHORIZATION;
use hyper::{Request, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::Error;
use crate::agent::Agent;
use crate::ecr::Ecr;
use crate::listener::{Listener, Reply};
use crate::node::{AwsEndpoints, TRUSTED_REGISTRY};
use crate::testbed::{Published, SOON, Testbed, planted};
use crate::tls::{Route, TlsProxy};
use crate::wait;

/// The life of a token, which makes about one call to ECR a minute necessary.
const TOKEN_LIFE: SignedDuration = SignedDuration::from_secs(120);
/// The agents' pass interval.
const INTERVAL: Duration = Duration::from_secs(5);
/// Plants that readers may see are gone after this many intervals.
const MOST_INTERVALS: u32 = 2;
const MOST_CALLS_A_MINUTE: usize = 2;
const MOST_FILES: u32 = 300;

/// What the attacker plants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    Garbage,
    FromTheFuture,
    LongLife,
    NotBase64,
    Oversized,
    Closed,
    Nothing,
}

const PLANTS: [Plant; 7] = [
    Plant::Garbage,
    Plant::FromTheFuture,
    Plant::LongLife,
    Plant::NotBase64,
    Plant::Oversized,
    Plant::Closed,
    Plant::Nothing,
];

/// The result of an attack.
#[derive(Debug, Clone)]
pub struct Attack {
    pub length: Duration,
    /// The plants, each with how long readers saw it.
    pub planted: Vec<(Plant, Duration)>,
    pub lock_touches: u32,
    pub files: u32,
    pub ecr_calls: usize,
    pub most_calls_a_minute: usize,
}

/// Runs `agents` nodes of one cluster, with their own ECR and registry, and the attacker, for `length`.
pub async fn attack(length: Duration, agents: usize) -> Result<Attack, Error> {
    let published = Published::shared("hadoop", "0777").await?;
    let cluster = Cluster::start(&published, agents).await?;
    cluster.is_healed(&published).await?;
    let lock = published.beside(".config.json.emr-ecr-agent-lock");
    let (mut planted, mut lock_touches, mut files) = (Vec::new(), 0, 0);
    let began = Instant::now();
    while began.elapsed() < length || planted.is_empty() {
        match fastrand::u8(0..4) {
            0 => {
                published.shell(&["-touchz", &lock]).await?;
                lock_touches += 1;
            }
            1 if files < MOST_FILES => {
                let names: Vec<String> =
                    (0..50).map(|number| published.beside(&format!(".flood-{files}-{number}"))).collect();
                let words = std::iter::once("-touchz").chain(names.iter().map(String::as_str));
                published.shell(&words.collect::<Vec<_>>()).await?;
                files += 50;
            }
            _ => {
                let plant = PLANTS[fastrand::usize(..PLANTS.len())];
                plant.put(&published).await?;
                let since = Instant::now();
                cluster.is_healed(&published).await?;
                planted.push((plant, since.elapsed()));
            }
        }
    }
    let calls: Vec<Timestamp> = cluster.ecr.calls().iter().map(|call| call.at).collect();
    let minute = SignedDuration::from_mins(1);
    let in_minute_of = |first: &Timestamp| {
        calls.iter().filter(|at| **at >= *first && at.duration_since(*first) < minute).count()
    };
    let most_calls_a_minute = calls.iter().map(in_minute_of).max().unwrap_or_default();
    Ok(Attack {
        length: began.elapsed(),
        planted,
        lock_touches,
        files,
        ecr_calls: calls.len(),
        most_calls_a_minute,
    })
}

impl Plant {
    async fn put(self, published: &Published) -> Result<(), Error> {
        let now = Timestamp::now();
        let hours = SignedDuration::from_hours;
        let good = BASE64.encode(format!("AWS:planted-{}", fastrand::u64(..)));
        let text = match self {
            Plant::Nothing => {
                published.shell(&["-rm", "-f", "-skipTrash", published.path()]).await?;
                return Ok(());
            }
            Plant::Garbage | Plant::Closed => planted(&good, now, now + hours(12)),
            Plant::FromTheFuture => planted(&good, now + hours(1), now + hours(12)),
            Plant::LongLife => planted(&good, now, now + hours(24 * 365)),
            Plant::NotBase64 => planted("neither base64 nor a token", now, now + hours(12)),
            Plant::Oversized => {
                json!({ "auths": { TRUSTED_REGISTRY: { "auth": good } }, "padding": "x".repeat(300 << 10) })
                    .to_string()
            }
        };
        published.put(&text).await?;
        if self == Plant::Closed {
            published.shell(&["-chmod", "600", published.path()]).await?;
        }
        Ok(())
    }
}

/// Tokens with their expiry.
type Living = Arc<Mutex<Vec<(String, Timestamp)>>>;

struct Cluster {
    ecr: Ecr,
    issued: Living,
    _nodes: Vec<(Testbed, Agent)>,
    _registry: Listener,
    _proxy: TlsProxy,
}

impl Cluster {
    async fn start(published: &Published, agents: usize) -> Result<Self, Error> {
        let ecr = Ecr::start(TOKEN_LIFE).await?;
        let issued = Living::default();
        let tokens = Arc::clone(&issued);
        ecr.on_issue(move |token| {
            tokens.lock().unwrap_or_else(PoisonError::into_inner).push((token.auth(), token.expires_at));
        });
        let known = Arc::clone(&issued);
        let registry = Listener::start(move |request| Reply::Whole(answer(&request, &known))).await?;
        let route = Route { host: TRUSTED_REGISTRY.to_owned(), server: registry.address() };
        let proxy = TlsProxy::start(vec![route]).await?;
        let mut nodes = Vec::new();
        for _ in 0..agents {
            let mut testbed = Testbed::publishing(published).await?;
            testbed
                .node
                .write_aws_config(AwsEndpoints { ecr: ecr.address(), imds: testbed.imds.address() })?;
            testbed.use_proxy(&proxy)?;
            testbed.settings.set("refresh.pass_interval", format!("{}s", INTERVAL.as_secs()));
            let agent = testbed.start()?;
            nodes.push((testbed, agent));
        }
        // A node without a token must request one, whatever is in the file.
        for (_, agent) in &mut nodes {
            agent.wait_ready(SOON).await?;
        }
        Ok(Self { ecr, issued, _nodes: nodes, _registry: registry, _proxy: proxy })
    }

    /// Waits until the file holds a credential that the registry accepts, and launches can read it.
    async fn is_healed(&self, published: &Published) -> Result<(), Error> {
        wait::until("a good credential in the file", SOON, async || {
            let client = published.client();
            let text = client.fs_shell(crate::yarn::USER, &["-cat", published.path()]).await;
            let text = text.map_err(|error| error.to_string())?;
            let found: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
            let auth = found["auths"][TRUSTED_REGISTRY]["auth"].as_str().unwrap_or_default();
            if accepts(&self.issued, auth) { Ok(()) } else { Err("the registry refuses it".to_owned()) }
        })
        .await?;
        Ok(())
    }
}

/// Accepts any living token, as ECR does.
fn accepts(issued: &Living, auth: &str) -> bool {
    let issued = issued.lock().unwrap_or_else(PoisonError::into_inner);
    issued.iter().any(|(known, expires_at)| known == auth && *expires_at > Timestamp::now())
}

fn answer(request: &Request<Bytes>, issued: &Living) -> Response<Bytes> {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let auth = header.and_then(|value| value.strip_prefix("Basic ")).unwrap_or_default();
    let mut response = Response::new(Bytes::new());
    if !accepts(issued, auth) {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
    }
    response
}

impl Attack {
    /// The attacks that the agents did not withstand.
    pub fn faults(&self) -> Vec<String> {
        let longest = INTERVAL * MOST_INTERVALS;
        let late = self.planted.iter().filter(|(_, lived)| *lived > longest);
        let mut faults: Vec<String> = late
            .map(|(plant, lived)| format!("{plant:?} lived for {lived:.1?}, more than {longest:?}"))
            .collect();
        if self.most_calls_a_minute > MOST_CALLS_A_MINUTE {
            faults.push(format!("ECR was asked {} times in a minute", self.most_calls_a_minute));
        }
        if self.planted.is_empty() {
            faults.push("nothing was planted".to_owned());
        }
        faults
    }

    pub fn json(&self) -> Value {
        let planted = self.planted.iter();
        let planted = planted.map(|(plant, lived)| json!([format!("{plant:?}"), lived.as_secs_f64()]));
        json!({
            "seconds": self.length.as_secs(),
            "planted": planted.collect::<Vec<_>>(),
            "lock_touches": self.lock_touches,
            "files": self.files,
            "ecr_calls": self.ecr_calls,
            "most_calls_a_minute": self.most_calls_a_minute,
        })
    }
}

impl fmt::Display for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<20}{:>7}{:>12}{:>12}", "planted", "times", "mean life", "longest")?;
        let kinds: BTreeSet<String> = self.planted.iter().map(|(plant, _)| format!("{plant:?}")).collect();
        for kind in kinds {
            let lives = self.planted.iter().filter(|(plant, _)| format!("{plant:?}") == kind);
            let lives: Vec<Duration> = lives.map(|(_, lived)| *lived).collect();
            let mean = lives.iter().sum::<Duration>() / u32::try_from(lives.len().max(1)).unwrap_or(1);
            let longest = lives.iter().max().copied().unwrap_or_default();
            writeln!(f, "{kind:<20}{:>7}{mean:>12.1?}{longest:>12.1?}", lives.len())?;
        }
        write!(
            f,
            "the lock touched {} times, {} files; ECR asked {} times in {} s, {} times a minute at most",
            self.lock_touches,
            self.files,
            self.ecr_calls,
            self.length.as_secs(),
            self.most_calls_a_minute
        )
    }
}
