//! What a cluster and its jobs are configured with: EMR's configuration JSON, and the properties of a job.

pub mod emr_config;
pub mod submission;

/// The registries that EMR trusts by itself, and that a configured list replaces.
pub(crate) const DEFAULT_TRUSTED_REGISTRIES: [&str; 2] = ["local", "centos"];
/// Turns on EMR's own ECR authentication.
pub(crate) const AUTO_AUTH_KEY: &str =
    "yarn.nodemanager.runtime.linux.docker.ecr-auto-authentication.enabled";
