//! The documents the agent reads and writes, and what to change in them.

mod contents;
mod docker_config;
mod document;
pub mod plan;
mod published_document;
mod published_path;
mod sink_kind;

pub use contents::{Contents, Held};
pub use docker_config::{DockerConfig, NotDockerConfig};
pub use document::Document;
pub use published_document::{Keep, MergeContext, Publication, PublishedDocument, claimed_expiries};
pub use published_path::PublishedPath;
pub use sink_kind::SinkKind;
