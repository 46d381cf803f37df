//! Keeps the ECR credentials that YARN hands to Docker fresh on the nodes of an Amazon EMR cluster.

pub mod agent;
pub mod assembly;
pub mod cli;
pub mod edge;
pub mod model;
pub mod place;
