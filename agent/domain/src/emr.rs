//! The configuration of a cluster and its jobs: EMR's configuration JSON, and a job's properties.

pub mod emr_config;
pub mod properties;
pub mod spark_submit;
pub mod submission;

/// The registries that EMR trusts by default; a configured list replaces them.
pub(crate) const DEFAULT_TRUSTED_REGISTRIES: [&str; 2] = ["local", "centos"];
/// The read-only mounts that EMR allows by default; a configured list replaces them.
pub(crate) const DEFAULT_RO_MOUNTS: [&str; 4] = ["/sys/fs/cgroup", "/etc/passwd", "/usr/lib", "/usr/share"];
/// Turns on EMR's own ECR authentication.
pub(crate) const AUTO_AUTH_KEY: &str =
    "yarn.nodemanager.runtime.linux.docker.ecr-auto-authentication.enabled";
