//! One `source:destination:mode` of a launch command.

use alloc::vec::Vec;

use super::super::Rules;
use super::MountRefusal;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// As requested.
    pub mount: Vec<u8>,
    pub source: Vec<u8>,
    pub read_write: bool,
    /// As passed to docker.
    pub volume: Vec<u8>,
}

const PROPAGATIONS: [&[u8]; 6] = [b"shared", b"rshared", b"slave", b"rslave", b"private", b"rprivate"];

impl Request {
    pub(super) fn parse(mount: &[u8], rules: Rules) -> Result<Self, MountRefusal> {
        let parse = match rules {
            Rules::V3_2 => parse_3_2,
            Rules::V3_3 | Rules::V3_4 => parse_3_3,
        };
        parse(mount).ok_or_else(|| MountRefusal::Malformed { mount: mount.to_vec() })
    }
}

/// The mode is what follows the last colon: two letters, then any one byte, then a propagation.
fn parse_3_2(mount: &[u8]) -> Option<Request> {
    let (source, mode) = source_and_mode(mount)?;
    let propagation = match mode.get(..2)? {
        b"ro" | b"rw" => &mode[2..],
        _ => return None,
    };
    let mut volume = mount.to_vec();
    if !propagation.is_empty() {
        if mode.len() < SHORTEST_WITH_PROPAGATION || !PROPAGATIONS.contains(&&propagation[1..]) {
            return None;
        }
        let separator = mount.len() - propagation.len();
        volume[separator] = b',';
    }
    Some(Request {
        mount: mount.to_vec(),
        source: source.to_vec(),
        read_write: mode.starts_with(b"rw"),
        volume,
    })
}

/// The mode is one word, or the first two words between `+`; the last `ro` or `rw` counts, and neither means
/// read-only. The destination is the text between the first two colons.
fn parse_3_3(mount: &[u8]) -> Option<Request> {
    let (source, mode) = source_and_mode(mount)?;
    let after_source = &mount[source.len() + 1..];
    let destination = after_source.split(|byte| *byte == b':').next()?;
    let count = match mode.len() {
        2 => 1,
        SHORTEST_WITH_PROPAGATION.. => 2,
        _ => return None,
    };
    let words: Vec<_> =
        mode.split(|byte| *byte == b'+').filter(|word| !word.is_empty()).take(count).collect();
    let mut read_write = false;
    for word in &words {
        match *word {
            b"rw" => read_write = true,
            b"ro" => read_write = false,
            word if PROPAGATIONS.contains(&word) => {}
            _ => return None,
        }
    }
    if words.len() < count {
        return None;
    }
    let volume = [source, b":", destination, b":", &words.join(&b","[..])].concat();
    Some(Request { mount: mount.to_vec(), source: source.to_vec(), read_write, volume })
}

/// The length of `ro+slave`.
const SHORTEST_WITH_PROPAGATION: usize = 8;

/// The text before the first and after the last colon.
fn source_and_mode(mount: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_colon = |byte: &u8| *byte == b':';
    let first = mount.iter().position(is_colon)?;
    let last = mount.iter().rposition(is_colon)?;
    Some((&mount[..first], &mount[last + 1..]))
}
