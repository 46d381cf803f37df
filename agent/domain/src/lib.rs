//! Concepts: pure logic that knows no file, socket, environment, runtime or clock. What the world
//! gives comes in as arguments, `now` among them.

#![forbid(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]

pub mod check;
pub mod credential;
pub mod docker_config;
pub mod document;
pub mod emr_config;
pub mod findings;
pub mod issuer;
pub mod plan;
pub mod published_document;
pub mod published_path;
pub mod registry;
pub mod schedule;
pub mod secret;
pub mod server_clock;
pub mod settings;
pub mod static_credentials;
pub mod status;
pub mod submission;
pub mod token;
pub mod tokens;
pub mod trials;
pub mod turn;
