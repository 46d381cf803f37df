//! When a token is fetched, by which node, and whether its registry takes it.

mod knowledge;
mod lock_state;
mod probes;
pub mod schedule;
mod tokens;

pub use knowledge::{Audience, Knowledge, ProbeTask};
pub use lock_state::LockState;
pub use probes::{Probe, ProbeResult, Probes, Verdict};
pub use tokens::{Attempts, LockHolder, LockWait, Proof, Tokens};
