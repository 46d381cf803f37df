//! Waiting for something to become true, instead of sleeping and hoping.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

#[derive(Debug, thiserror::Error)]
#[error("waited {} s in vain for {what}; at the last look: {last}", deadline.as_secs_f32())]
pub struct TimedOut {
    what: String,
    deadline: Duration,
    last: String,
}

/// Asks `probe` until it succeeds. Its errors say what is still missing; the last one is kept for the message.
/// A probe that hangs is cut off at the deadline as well.
pub async fn until<T, E: Display>(
    what: &str,
    deadline: Duration,
    mut probe: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, TimedOut> {
    let end = Instant::now() + deadline;
    let mut last = "the first look has not ended".to_owned();
    loop {
        match timeout_at(end, probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(reason)) => last = reason.to_string(),
            Err(_elapsed) => {}
        }
        if Instant::now() + PAUSE >= end {
            return Err(TimedOut { what: what.to_owned(), deadline, last });
        }
        sleep(PAUSE).await;
    }
}

const PAUSE: Duration = Duration::from_millis(40);
