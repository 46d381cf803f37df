//! Moments, and the server's clock, which decides what has expired.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, Unit};

/// A moment, read once at the start of an operation and passed down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Moment {
    /// The local clock, which may be wrong and may jump.
    pub wall: Timestamp,
    /// Time since the program started, which does neither.
    pub uptime: Duration,
}

/// The server's clock: its last response, advanced by uptime; before the first response, the local clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ServerClock {
    seen: Option<Moment>,
}

/// Smaller differences do not count: a Date header has whole seconds, and the response takes time to arrive.
const UNCERTAIN: SignedDuration = SignedDuration::from_secs(2);

impl ServerClock {
    /// Whether any server has answered yet.
    pub fn is_known(self) -> bool {
        self.seen.is_some()
    }

    /// The clock from a response that arrived at `now`; `skew` is the server's clock minus the local one.
    pub fn from_skew(skew: SignedDuration, now: Moment) -> Self {
        Self { seen: Some(Moment { wall: saturating_add(now.wall, skew), ..now }) }
    }

    pub fn at(self, now: Moment) -> Timestamp {
        let Some(seen) = self.seen else { return now.wall };
        let passed = now.uptime.saturating_sub(seen.uptime);
        saturating_add(seen.wall, SignedDuration::try_from(passed).unwrap_or(SignedDuration::MAX))
    }

    /// The server's clock minus the local one.
    pub fn skew(self, now: Moment) -> SignedDuration {
        self.at(now).duration_since(now.wall)
    }
}

/// How far the server's Date is ahead of the midpoint of the call; small differences count as none.
pub fn skew(date: &str, sent_at: Timestamp, received_at: Timestamp) -> Option<SignedDuration> {
    let server = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    let middle = saturating_add(sent_at, received_at.duration_since(sent_at) / 2);
    let skew = server.duration_since(middle);
    Some(if skew.abs() <= UNCERTAIN { SignedDuration::ZERO } else { skew })
}

/// Formats to the minute, or to the second if short, such as `11h 20m`.
pub fn friendly(left: SignedDuration) -> String {
    let unit = if left >= SignedDuration::from_mins(2) { Unit::Minute } else { Unit::Second };
    left.round(unit).map_or_else(|_| left.to_string(), |rounded| format!("{rounded:#}"))
}

/// `at + by`, clamped to the range of timestamps.
pub fn saturating_add(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(if by.is_negative() { Timestamp::MIN } else { Timestamp::MAX })
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::skew;

    #[test]
    fn skew_is_measured_from_the_middle_of_the_call() {
        let sent = Timestamp::constant(784_111_777, 0);
        let check = |date: &str, expected: Option<i64>| {
            let skew = skew(date, sent, sent + SignedDuration::from_secs(2));
            assert_eq!(skew, expected.map(SignedDuration::from_secs), "{date}");
        };
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(0));
        check("Sun, 06 Nov 1994 08:49:40 GMT", Some(0));
        check("Sun, 06 Nov 1994 09:49:38 GMT", Some(3600));
        check("Sun, 06 Nov 1994 07:49:38 GMT", Some(-3600));
        check("yesterday", None);
    }
}
