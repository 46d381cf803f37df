//! Keeps the ECR credentials that YARN hands to Docker fresh on the nodes of an Amazon EMR cluster.

// A closed pipe makes these panic; `cli::output` writes to it.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod agent;
pub mod cli;
pub mod io;
pub mod sink;
mod wiring;

/// Tells builds from different sources apart; 16 hexadecimal digits, made by build.rs.
pub const BUILD_ID: &str = env!("EMR_ECR_AGENT_BUILD_ID");
/// The commit that a package was built from; `unknown` in other builds.
pub const COMMIT: &str = env!("EMR_ECR_AGENT_COMMIT");
