//! The clocks: the wall's, which may jump, and the time since start, which does not.

use std::time::{Instant, SystemTime};

use jiff::{SignedDuration, Timestamp};

use crate::model::schedule::saturating_add;
use crate::model::status::Moment;

/// A Date header counts whole seconds, and the answer was under way: less than this is no disagreement.
const UNCERTAIN: SignedDuration = SignedDuration::from_secs(2);

/// Started once; told the time at the edge of an operation.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    pub fn now(&self) -> Moment {
        Moment { wall: Timestamp::now(), uptime: self.started.elapsed() }
    }
}

/// How far the server's Date is ahead of the middle of the call; small differences count as none.
pub fn skew(date: &str, sent_at: SystemTime, received_at: SystemTime) -> Option<SignedDuration> {
    let server = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    let (sent, received) = (Timestamp::try_from(sent_at).ok()?, Timestamp::try_from(received_at).ok()?);
    let middle = saturating_add(sent, received.duration_since(sent) / 2);
    let skew = server.duration_since(middle);
    Some(if skew.abs() <= UNCERTAIN { SignedDuration::ZERO } else { skew })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use jiff::SignedDuration;

    use super::skew;

    #[test]
    fn skew_is_told_from_the_middle_of_the_call() {
        let sent = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let check = |date: &str, expected: Option<i64>| {
            let skew = skew(date, sent, sent + Duration::from_secs(2));
            assert_eq!(skew, expected.map(SignedDuration::from_secs), "{date}");
        };
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(0));
        check("Sun, 06 Nov 1994 08:49:40 GMT", Some(0));
        check("Sun, 06 Nov 1994 09:49:38 GMT", Some(3600));
        check("Sun, 06 Nov 1994 07:49:38 GMT", Some(-3600));
        check("yesterday", None);
    }
}
