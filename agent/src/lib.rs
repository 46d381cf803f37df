//! Keeps the ECR credentials that YARN hands to Docker fresh on the nodes of an Amazon EMR cluster.

// `print!` and `eprint!` panic on a closed pipe; `cli::output` does not.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod agent;
pub mod cli;
pub mod io;
pub mod sink;
mod wiring;

/// Identifies the sources of this build: 16 hexadecimal digits from build.rs.
pub const BUILD_ID: &str = env!("EMR_ECR_AGENT_BUILD_ID");
/// The commit that a package was built from; `unknown` in other builds.
pub const COMMIT: &str = env!("EMR_ECR_AGENT_COMMIT");
