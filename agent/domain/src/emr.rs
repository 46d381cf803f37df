//! What a cluster and its jobs are configured with: EMR's configuration JSON, and the properties of a job.

pub mod emr_config;
pub mod submission;
