//! The server's clock, from the `Date` header of its responses.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_ecr::config::interceptors::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_ecr::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_ecr::error::BoxError;
use domain::time::skew;
use jiff::{SignedDuration, Timestamp};

/// Reads the `Date` header of responses.
#[derive(Debug, Clone, Default)]
pub(super) struct DateReader(Arc<Mutex<Reading>>);

#[derive(Debug, Default)]
struct Reading {
    sent_at: Option<Timestamp>,
    skew: Option<SignedDuration>,
}

impl DateReader {
    /// Server clock minus local clock, once there is a response.
    pub(super) fn skew(&self) -> Option<SignedDuration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).skew
    }
}

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for DateReader {
    fn name(&self) -> &'static str {
        "DateReader"
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
