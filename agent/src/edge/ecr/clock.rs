//! The server's clock, read off the `Date` of its answers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use aws_sdk_ecr::config::interceptors::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_ecr::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_ecr::error::BoxError;
use jiff::{SignedDuration, Timestamp};

use crate::model::schedule::saturating_add;

/// A Date header counts whole seconds, and the answer was under way: less than this is no disagreement.
const UNCERTAIN: SignedDuration = SignedDuration::from_secs(2);

/// Reads the server's clock off its answers.
#[derive(Debug, Clone, Default)]
pub(super) struct ServerClock(Arc<Mutex<Reading>>);

#[derive(Debug, Default)]
struct Reading {
    sent_at: Option<SystemTime>,
    skew: Option<SignedDuration>,
}

impl ServerClock {
    /// Server clock minus local clock, once an answer came.
    pub(super) fn skew(&self) -> Option<SignedDuration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).skew
    }
}

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for ServerClock {
    fn name(&self) -> &'static str {
        "ServerClock"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).sent_at = Some(SystemTime::now());
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let mut reading = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(sent_at), Some(date)) = (reading.sent_at, context.response().headers().get("date")) {
            reading.skew = skew(date, sent_at, SystemTime::now());
        }
        Ok(())
    }
}

/// How far the server's Date is ahead of the middle of the call; small differences count as none.
fn skew(date: &str, sent_at: SystemTime, received_at: SystemTime) -> Option<SignedDuration> {
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
