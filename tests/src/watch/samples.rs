//! Whether a launch would have succeeded, and whether health was truthful about it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde_json::Value;

/// Why a launch would have failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Flaw {
    Missing,
    /// Not a complete JSON document; its size in bytes.
    Torn(usize),
    /// No credential for the registry, or an entry that fails every launch.
    NoCredential,
    Expired(Timestamp),
    /// The file could not be read at all.
    Outage(String),
    /// The server that did not respond in time.
    Silence(&'static str),
}

/// One read, and what health reported before and after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sample {
    pub launch: Result<(), Flaw>,
    /// Before and after.
    pub ready: bool,
    /// How often the agent has reconciled the sink, if it answered.
    pub looked: Option<u64>,
}

/// A summary of all samples.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub reads: u64,
    pub outages: u64,
    /// The file's distinct flaws after the first good read.
    pub flaws: Vec<Flaw>,
    /// The flaws despite which health reported ready.
    pub false_ready: Vec<Flaw>,
    was_good: bool,
    /// The number of reconciliations when launches began to fail.
    failing_since: Option<u64>,
}

/// The one under way, one that only compares the stamp, one that notices, and one after which health shows it.
const RECONCILIATIONS_TO_NOTICE: u64 = 4;

impl Summary {
    pub(super) fn note(&mut self, Sample { launch, ready, looked }: Sample) {
        self.reads += 1;
        let Err(flaw) = launch else {
            self.was_good = true;
            self.failing_since = None;
            return;
        };
        let had_time = match (looked, self.failing_since) {
            (Some(now), Some(since)) if now >= since => now - since >= RECONCILIATIONS_TO_NOTICE,
            // The agent has just started, or launches have just begun to fail.
            (Some(now), _) => {
                self.failing_since = Some(now);
                false
            }
            (None, _) => false,
        };
        if ready && (had_time || matches!(flaw, Flaw::Expired(_))) {
            push_new(&mut self.false_ready, &flaw);
        }
        match flaw {
            Flaw::Outage(_) | Flaw::Silence(_) => self.outages += 1,
            Flaw::Torn(_) => push_new(&mut self.flaws, &flaw),
            _ if self.was_good => push_new(&mut self.flaws, &flaw),
            _ => {}
        }
    }
}

/// Checks that YARN and docker get a valid credential for `registry` from this content.
pub(super) fn check_launch(bytes: &[u8], registry: &str, now: Timestamp) -> Result<(), Flaw> {
    let document: Value = serde_json::from_slice(bytes).map_err(|_| Flaw::Torn(bytes.len()))?;
    let auths = document["auths"].as_object().ok_or(Flaw::NoCredential)?;
    if auths.values().any(|entry| !entry["auth"].is_string()) {
        return Err(Flaw::NoCredential);
    }
    let auth = auths.get(registry).and_then(|entry| entry["auth"].as_str()).ok_or(Flaw::NoCredential)?;
    match end(auth) {
        Some(end) if end <= now => Err(Flaw::Expired(end)),
        _ => Ok(()),
    }
}

/// The expiry in an ECR password; other passwords never expire.
fn end(auth: &str) -> Option<Timestamp> {
    let decoded = BASE64.decode(auth).ok()?;
    let (_user, password) = str::from_utf8(&decoded).ok()?.split_once(':')?;
    let stated: Value = serde_json::from_slice(&BASE64.decode(password).ok()?).ok()?;
    Timestamp::from_second(stated["expiration"].as_i64()?).ok()
}

fn push_new(list: &mut Vec<Flaw>, flaw: &Flaw) {
    if list.last() != Some(flaw) {
        list.push(flaw.clone());
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD as BASE64;
    use jiff::Timestamp;

    use super::{Flaw, Sample, Summary, check_launch};

    fn auth(expiration: i64) -> String {
        let password = BASE64.encode(format!("{{\"expiration\":{expiration}}}"));
        BASE64.encode(format!("AWS:{password}"))
    }

    #[test]
    fn launch_needs_complete_document_with_valid_credential() {
        let check = |text: &str, expected: Result<(), Flaw>| {
            assert_eq!(check_launch(text.as_bytes(), "r", Timestamp::constant(100, 0)), expected, "{text}");
        };
        let entry = |expiration| format!(r#"{{"auths":{{"r":{{"auth":"{}"}}}}}}"#, auth(expiration));
        check(&entry(101), Ok(()));
        check(&entry(100), Err(Flaw::Expired(Timestamp::constant(100, 0))));
        check(r#"{"auths":{"r":{"auth":"aHViOmh1Yg=="}}}"#, Ok(()));
        check(r#"{"auths":{"r":{"auth":"x"},"s":{}}}"#, Err(Flaw::NoCredential));
        check(r#"{"auths":{}}"#, Err(Flaw::NoCredential));
        check("", Err(Flaw::Torn(0)));
        check("{", Err(Flaw::Torn(1)));
    }

    #[test]
    fn health_may_lag_a_little_but_not_past_expiry() {
        let ended = Flaw::Expired(Timestamp::UNIX_EPOCH);
        let check = |samples: &[(Result<(), Flaw>, bool, u64)], flaws: usize, false_ready: usize| {
            let mut summary = Summary::default();
            for (launch, ready, looked) in samples.iter().cloned() {
                summary.note(Sample { launch, ready, looked: Some(looked) });
            }
            assert_eq!((summary.flaws.len(), summary.false_ready.len()), (flaws, false_ready), "{samples:?}");
        };
        let missing = || Err(Flaw::Missing);
        check(&[(missing(), false, 0), (Ok(()), true, 1)], 0, 0);
        check(&[(Err(Flaw::Torn(1)), false, 0)], 1, 0);
        check(&[(Ok(()), true, 1), (missing(), true, 2), (missing(), true, 5), (Ok(()), true, 5)], 1, 0);
        check(&[(Ok(()), true, 1), (missing(), true, 2), (missing(), true, 6)], 1, 1);
        check(&[(missing(), true, 9), (missing(), true, 1), (missing(), true, 3)], 0, 0);
        check(&[(Ok(()), true, 1), (Err(ended.clone()), false, 1)], 1, 0);
        check(&[(Ok(()), true, 1), (Err(ended.clone()), true, 1)], 1, 1);
    }
}
