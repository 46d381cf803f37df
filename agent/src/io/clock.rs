//! The clocks: wall-clock time, which may jump, and the time since start, which does not.

use std::time::Instant;

use domain::time::Moment;
use jiff::Timestamp;

/// Started once; read at the start of an operation.
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
