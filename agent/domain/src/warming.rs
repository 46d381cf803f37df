//! Image warming: which image to pull next, and when; and the mark on images that the agent itself pulled, the only
//! ones it removes.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::refresh::schedule::retry_after;

/// The repository of the marks: with them, the engine remembers what the agent pulled across restarts and reboots.
pub const MARKS: &str = "emr-ecr-agent-warm";
/// Pull retries wait longer by this factor, because a pull costs a registry more than a token costs ECR.
const SLOWER: u32 = 15;
/// How long to wait after finding the disk full.
const FULL_REST: Duration = Duration::from_secs(10 * 60);

/// The state of the wanted images. Times are uptimes.
#[derive(Debug, Default)]
pub struct Warming {
    images: BTreeMap<String, State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    OnNode,
    Missing { failures: u32, due: Duration },
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    Pull(String),
    /// Until this uptime.
    Rest(Duration),
    Nothing,
}

impl Warming {
    /// Replaces the set of wanted images; new ones are due after `delay`.
    pub fn want(&mut self, images: &[String], delay: Duration, now: Duration) {
        let known = std::mem::take(&mut self.images);
        let new = State::Missing { failures: 0, due: now + delay };
        let state = |image: &String| known.get(image).copied().unwrap_or(new);
        self.images = images.iter().map(|image| (image.clone(), state(image))).collect();
    }

    /// Makes failed images due at `at` at the latest, such as after a change of the settings or the credentials.
    pub fn retry_by(&mut self, at: Duration) {
        for state in self.images.values_mut() {
            if let State::Missing { failures: 1.., due } = state {
                *due = (*due).min(at);
            }
        }
    }

    pub fn next(&self, now: Duration) -> Next {
        let missing = self.images.iter().filter_map(|(image, state)| match state {
            State::OnNode => None,
            State::Missing { due, .. } => Some((*due, image)),
        });
        match missing.min() {
            None => Next::Nothing,
            Some((due, image)) if due <= now => Next::Pull(image.clone()),
            Some((due, _)) => Next::Rest(due),
        }
    }

    pub fn is_on_node(&mut self, image: &str) {
        self.images.entry(image.to_owned()).and_modify(|state| *state = State::OnNode);
    }

    /// Records a failed pull; `random` is in `0.0..1.0`.
    pub fn failed(&mut self, image: &str, now: Duration, random: f64) {
        self.put_off(image, |failures| now + SLOWER * retry_after(failures, random));
    }

    /// Records that the disk has no room for the image.
    pub fn disk_is_full(&mut self, image: &str, now: Duration) {
        self.put_off(image, |_| now + FULL_REST);
    }

    /// The numbers of images on the node and missing.
    pub fn count(&self) -> (usize, usize) {
        let on_node = self.images.values().filter(|state| **state == State::OnNode).count();
        (on_node, self.images.len() - on_node)
    }

    fn put_off(&mut self, image: &str, due: impl Fn(u32) -> Duration) {
        if let Some(State::Missing { failures, due: known }) = self.images.get_mut(image) {
            *failures = failures.saturating_add(1);
            *known = due(*failures);
        }
    }
}

/// The tag in [`MARKS`] of an image that the agent pulled: FNV-1a, which never changes.
pub fn mark_of(image: &str) -> String {
    let hash = image.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{FULL_REST, Next, Warming, mark_of};

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn every_image_gets_its_turn_and_failures_wait() {
        let mut warming = Warming::default();
        assert_eq!(warming.next(at(0)), Next::Nothing);
        let images = ["a".to_owned(), "b".to_owned()];
        warming.want(&images, at(60), at(0));
        assert_eq!(warming.next(at(0)), Next::Rest(at(60)));
        assert_eq!(warming.next(at(60)), Next::Pull("a".to_owned()));
        warming.failed("a", at(60), 0.5);
        assert_eq!(warming.next(at(60)), Next::Pull("b".to_owned()), "one that fails holds up no other");
        warming.is_on_node("b");
        let Next::Rest(later) = warming.next(at(60)) else { panic!("it is tried again later") };
        assert!(later > at(60));
        warming.disk_is_full("a", at(70));
        assert_eq!(warming.next(at(70)), Next::Rest(at(70) + FULL_REST));
        assert_eq!(warming.count(), (1, 1));
        warming.want(&images, at(60), at(80));
        warming.retry_by(at(80));
        assert_eq!(warming.next(at(80)), Next::Pull("a".to_owned()));
        warming.want(&images[1..], at(60), at(90));
        assert_eq!((warming.next(at(90)), warming.count()), (Next::Nothing, (1, 0)));
    }

    #[test]
    fn marks_never_change() {
        assert_eq!(mark_of(""), "cbf29ce484222325");
        assert_eq!(mark_of("a"), "af63dc4c8601ec8c");
    }
}
