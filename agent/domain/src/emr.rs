//! What a cluster and its jobs are configured with: EMR's configuration JSON, and the properties of a job.

pub mod emr_config;
pub mod properties;
pub mod spark_submit;
pub mod submission;

/// The registries that EMR trusts by itself, and that a configured list replaces.
pub(crate) const DEFAULT_TRUSTED_REGISTRIES: [&str; 2] = ["local", "centos"];
/// What EMR allows as a read-only mount by itself, and a configured list replaces.
pub(crate) const DEFAULT_RO_MOUNTS: [&str; 4] = ["/sys/fs/cgroup", "/etc/passwd", "/usr/lib", "/usr/share"];
/// Turns on EMR's own ECR authentication.
pub(crate) const AUTO_AUTH_KEY: &str =
    "yarn.nodemanager.runtime.linux.docker.ecr-auto-authentication.enabled";
