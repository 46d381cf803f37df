//! Keeps the ECR credentials that YARN hands to Docker fresh on the nodes of an Amazon EMR cluster.

pub mod agent;
pub mod cli;
pub mod io;
pub mod place;
mod wiring;
