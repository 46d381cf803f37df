//! The clocks: wall-clock time, which may jump, and the time since start, which does not.

use std::time::{Duration, Instant};

use domain::time::Moment;
use jiff::Timestamp;
use nix::time::ClockId;

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

    /// Time since the machine started, sleep included.
    pub fn since_boot() -> Duration {
        // No kernel that the agent runs on lacks this clock.
        ClockId::CLOCK_BOOTTIME.now().map_or(Duration::ZERO, Duration::from)
    }
}
