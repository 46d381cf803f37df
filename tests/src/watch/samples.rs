//! What a launch would have come to, and whether health told the truth about it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde_json::Value;

/// Why a launch would have failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wrong {
    Missing,
    /// Not a whole JSON document of so many bytes.
    Torn(usize),
    /// No credential for the registry, or an entry that fails every launch.
    Lacking,
    Expired(Timestamp),
    /// The file could not be read at all, which is not the file's fault.
    Outage(String),
}

/// One read, and what health said before and after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sample {
    pub launch: Result<(), Wrong>,
    /// Both times.
    pub ready: bool,
    /// How often the agent had gone round, if it answered.
    pub passes: Option<u64>,
}

/// All that was seen, in short.
#[derive(Debug, Default)]
pub(super) struct Story {
    pub reads: u64,
    pub outages: u64,
    /// What was wrong with the file after the first good read, each kind once in a row.
    pub wrong: Vec<Wrong>,
    /// What health called ready.
    pub lies: Vec<Wrong>,
    was_good: bool,
    /// How often the agent had gone round when launches began to fail.
    failing_since: Option<u64>,
}

/// Looks at the next pass, and the one under way; and one that only just began.
const PASSES_TO_NOTICE: u64 = 3;

impl Story {
    pub fn note(&mut self, Sample { launch, ready, passes }: Sample) {
        self.reads += 1;
        let Err(wrong) = launch else {
            self.was_good = true;
            self.failing_since = None;
            return;
        };
        let had_time = match (passes, self.failing_since) {
            (Some(now), Some(since)) if now >= since => now - since >= PASSES_TO_NOTICE,
            // The agent has only just started, or launches only just fail.
            (Some(now), _) => {
                self.failing_since = Some(now);
                false
            }
            (None, _) => false,
        };
        if ready && (had_time || matches!(wrong, Wrong::Expired(_))) {
            push_new(&mut self.lies, &wrong);
        }
        match wrong {
            Wrong::Outage(_) => self.outages += 1,
            Wrong::Torn(_) => push_new(&mut self.wrong, &wrong),
            _ if self.was_good => push_new(&mut self.wrong, &wrong),
            _ => {}
        }
    }
}

/// Whether YARN and docker get a living credential for `registry` from this content.
pub(super) fn judge(bytes: &[u8], registry: &str, now: Timestamp) -> Result<(), Wrong> {
    let document: Value = serde_json::from_slice(bytes).map_err(|_| Wrong::Torn(bytes.len()))?;
    let auths = document["auths"].as_object().ok_or(Wrong::Lacking)?;
    if auths.values().any(|entry| !entry["auth"].is_string()) {
        return Err(Wrong::Lacking);
    }
    let auth = auths.get(registry).and_then(|entry| entry["auth"].as_str()).ok_or(Wrong::Lacking)?;
    match end(auth) {
        Some(end) if end <= now => Err(Wrong::Expired(end)),
        _ => Ok(()),
    }
}

/// The second that an ECR password itself names as its end; others never end.
fn end(auth: &str) -> Option<Timestamp> {
    let decoded = BASE64.decode(auth).ok()?;
    let (_user, password) = str::from_utf8(&decoded).ok()?.split_once(':')?;
    let stated: Value = serde_json::from_slice(&BASE64.decode(password).ok()?).ok()?;
    Timestamp::from_second(stated["expiration"].as_i64()?).ok()
}

fn push_new(list: &mut Vec<Wrong>, wrong: &Wrong) {
    if list.last() != Some(wrong) {
        list.push(wrong.clone());
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD as BASE64;
    use jiff::Timestamp;

    use super::{Sample, Story, Wrong, judge};

    fn auth(expiration: i64) -> String {
        let password = BASE64.encode(format!("{{\"expiration\":{expiration}}}"));
        BASE64.encode(format!("AWS:{password}"))
    }

    #[test]
    fn a_launch_takes_a_whole_document_with_a_living_credential() {
        let check = |text: &str, expected: Result<(), Wrong>| {
            assert_eq!(judge(text.as_bytes(), "r", Timestamp::constant(100, 0)), expected, "{text}");
        };
        let entry = |expiration| format!(r#"{{"auths":{{"r":{{"auth":"{}"}}}}}}"#, auth(expiration));
        check(&entry(101), Ok(()));
        check(&entry(100), Err(Wrong::Expired(Timestamp::constant(100, 0))));
        check(r#"{"auths":{"r":{"auth":"aHViOmh1Yg=="}}}"#, Ok(()));
        check(r#"{"auths":{"r":{"auth":"x"},"s":{}}}"#, Err(Wrong::Lacking));
        check(r#"{"auths":{}}"#, Err(Wrong::Lacking));
        check("", Err(Wrong::Torn(0)));
        check("{", Err(Wrong::Torn(1)));
    }

    #[test]
    fn health_may_take_some_passes_to_notice_but_not_to_foresee() {
        let ended = Wrong::Expired(Timestamp::UNIX_EPOCH);
        let check = |samples: &[(Result<(), Wrong>, bool, u64)], wrong: usize, lies: usize| {
            let mut story = Story::default();
            for (launch, ready, passes) in samples.iter().cloned() {
                story.note(Sample { launch, ready, passes: Some(passes) });
            }
            assert_eq!((story.wrong.len(), story.lies.len()), (wrong, lies), "{samples:?}");
        };
        let missing = || Err(Wrong::Missing);
        check(&[(missing(), false, 0), (Ok(()), true, 1)], 0, 0);
        check(&[(Err(Wrong::Torn(1)), false, 0)], 1, 0);
        check(&[(Ok(()), true, 1), (missing(), true, 2), (missing(), true, 4), (Ok(()), true, 5)], 1, 0);
        check(&[(Ok(()), true, 1), (missing(), true, 2), (missing(), true, 5)], 1, 1);
        check(&[(missing(), true, 9), (missing(), true, 1), (missing(), true, 3)], 0, 0);
        check(&[(Ok(()), true, 1), (Err(ended.clone()), false, 1)], 1, 0);
        check(&[(Ok(()), true, 1), (Err(ended.clone()), true, 1)], 1, 1);
    }
}
