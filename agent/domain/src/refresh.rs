//! When a token is fetched, by which node, and whether its registry takes it.

pub mod schedule;
mod tokens;
mod trials;
mod turn;

pub use tokens::{Attempts, Tokens};
pub use trials::{Probed, Trials, Verdict};
pub use turn::TurnMemory;
