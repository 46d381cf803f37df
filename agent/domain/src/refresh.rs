//! When tokens are fetched, by which node, and whether their registries accept them.

mod knowledge;
mod lock_state;
mod probes;
pub mod schedule;
mod tokens;

pub use knowledge::{Audience, Knowledge, ProbeTask};
pub use lock_state::LockState;
pub use probes::{Probe, ProbeResult, Probes};
pub use tokens::{Attempts, LockHolder, LockWait, Proof, Tokens};
