//! The server's clock, read off the `Date` of its answers.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_ecr::config::interceptors::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_ecr::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_ecr::error::BoxError;
use domain::time::skew;
use jiff::{SignedDuration, Timestamp};

/// Reads the server's clock off its answers.
#[derive(Debug, Clone, Default)]
pub(super) struct ServerClock(Arc<Mutex<Reading>>);

#[derive(Debug, Default)]
struct Reading {
    sent_at: Option<Timestamp>,
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner).sent_at = Some(Timestamp::now());
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
            reading.skew = skew(date, sent_at, Timestamp::now());
        }
        Ok(())
    }
}
