//! The clocks: wall-clock time, which may jump, and the time since start, which does not.

use std::time::Duration;

use domain::time::Moment;
use jiff::Timestamp;
use nix::time::ClockId;

/// Started once; read at the start of an operation.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Since boot.
    started: Duration,
}

impl Clock {
    pub fn start() -> Self {
        Self { started: Self::since_boot() }
    }

    /// The uptime counts sleep: tokens age through it.
    pub fn now(&self) -> Moment {
        Moment { wall: Timestamp::now(), uptime: Self::since_boot().saturating_sub(self.started) }
    }

    /// Time since boot, including sleep.
    pub fn since_boot() -> Duration {
        // Every kernel that the agent runs on has this clock.
        ClockId::CLOCK_BOOTTIME.now().map_or(Duration::ZERO, Duration::from)
    }
}
