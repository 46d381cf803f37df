//! A server's clock, as the `Date` of an answer tells it.

use jiff::{SignedDuration, Timestamp};

use crate::schedule::saturating_add;

/// A Date header counts whole seconds, and the answer was under way: less than this is no disagreement.
const UNCERTAIN: SignedDuration = SignedDuration::from_secs(2);

/// How far the server's Date is ahead of the middle of the call; small differences count as none.
pub fn skew(date: &str, sent_at: Timestamp, received_at: Timestamp) -> Option<SignedDuration> {
    let server = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    let middle = saturating_add(sent_at, received_at.duration_since(sent_at) / 2);
    let skew = server.duration_since(middle);
    Some(if skew.abs() <= UNCERTAIN { SignedDuration::ZERO } else { skew })
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::skew;

    #[test]
    fn skew_is_told_from_the_middle_of_the_call() {
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
