//! The agent's pure logic: no files, sockets, environment, async runtime or clock. All inputs, including `now`, are
//! arguments.

#![warn(unreachable_pub)]
#![forbid(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]

pub mod check;
pub mod cluster;
pub mod credentials;
pub mod documents;
pub mod emr;
pub mod explain;
pub mod findings;
pub mod health;
pub mod problem;
pub mod redaction;
pub mod refresh;
pub mod registry;
pub mod settings;
mod shell;
pub mod status;
pub mod time;
pub mod warming;
