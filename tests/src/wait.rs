//! Waits for conditions.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

#[derive(Debug, thiserror::Error)]
#[error("timed out after {} s waiting for {what}; last: {last}", deadline.as_secs_f32())]
pub struct TimedOut {
    what: String,
    deadline: Duration,
    last: String,
}

/// Calls `probe` until it succeeds. Its errors describe what is still missing; the last one goes into the message.
/// The deadline also interrupts a probe that hangs.
pub async fn until<T, E: Display>(
    what: &str,
    deadline: Duration,
    mut probe: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, TimedOut> {
    let start = Instant::now();
    let end = start + deadline;
    let mut last = "the first attempt has not ended".to_owned();
    loop {
        match timeout_at(end, probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(reason)) => last = reason.to_string(),
            Err(_elapsed) => {}
        }
        let pause = (start.elapsed() / 10).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        if Instant::now() + pause >= end {
            return Err(TimedOut { what: what.to_owned(), deadline, last });
        }
        sleep(pause).await;
    }
}

// Pause for a tenth of the time waited so far: probing is most of the cost of a long wait.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
