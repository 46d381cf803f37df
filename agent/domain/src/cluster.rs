//! The cluster at a glance: its nodes as YARN and as their agents see them, the published file as a job reads it, and
//! what follows for the cluster.

mod note;
mod report;
mod resource_manager;

pub use note::{LARGEST_NOTE, NodeNote, Notes};
pub use report::{ClusterReport, Found, NodeReport, Seen, Source, Word};
pub use resource_manager::{YarnNode, nodes, web_addresses};
