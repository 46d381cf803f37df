//! What a job requests, and the environment variables that request it.

use super::template::is_unresolved;
use crate::findings::{Finding, Fix, codes};

pub(super) const TYPE: &str = "YARN_CONTAINER_RUNTIME_TYPE";
pub(super) const IMAGE: &str = "YARN_CONTAINER_RUNTIME_DOCKER_IMAGE";
pub(super) const MOUNTS: &str = "YARN_CONTAINER_RUNTIME_DOCKER_MOUNTS";
pub(super) const NETWORK: &str = "YARN_CONTAINER_RUNTIME_DOCKER_CONTAINER_NETWORK";
pub(super) const CLIENT_CONFIG: &str = "YARN_CONTAINER_RUNTIME_DOCKER_CLIENT_CONFIG";
pub(super) const TMPFS: &str = "YARN_CONTAINER_RUNTIME_DOCKER_TMPFS_MOUNTS";
pub(super) const RUNTIME: &str = "YARN_CONTAINER_RUNTIME_DOCKER_RUNTIME";
pub(super) const PID_NAMESPACE: &str = "YARN_CONTAINER_RUNTIME_DOCKER_PID_NAMESPACE";
pub(super) const HOSTNAME: &str = "YARN_CONTAINER_RUNTIME_DOCKER_CONTAINER_HOSTNAME";
pub(super) const ENTRY_POINT: &str = "YARN_CONTAINER_RUNTIME_DOCKER_RUN_OVERRIDE_DISABLE";
const PRIVILEGED: &str = "YARN_CONTAINER_RUNTIME_DOCKER_RUN_PRIVILEGED_CONTAINER";
/// The prefix of the variables that YARN's container runtimes read.
pub(super) const PREFIX: &str = "YARN_CONTAINER_RUNTIME_";
/// All of these variables, in any version of Hadoop.
pub(super) const VARIABLES: [&str; 18] = [
    TYPE,
    IMAGE,
    MOUNTS,
    CLIENT_CONFIG,
    HOSTNAME,
    NETWORK,
    "YARN_CONTAINER_RUNTIME_DOCKER_DELAYED_REMOVAL",
    "YARN_CONTAINER_RUNTIME_DOCKER_IMAGE_FILE",
    PID_NAMESPACE,
    "YARN_CONTAINER_RUNTIME_DOCKER_PORTS_MAPPING",
    RUNTIME,
    "YARN_CONTAINER_RUNTIME_DOCKER_RUN_ENABLE_USER_REMAPPING",
    ENTRY_POINT,
    PRIVILEGED,
    "YARN_CONTAINER_RUNTIME_DOCKER_SERVICE_MODE",
    TMPFS,
    "YARN_CONTAINER_RUNTIME_RUNC_IMAGE",
    "YARN_CONTAINER_RUNTIME_YARN_SYSFS_ENABLE",
];

/// What a job would request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    pub images: Vec<Vec<u8>>,
    pub privileged: bool,
    /// The job's list, split at its commas.
    pub mounts: Vec<Vec<u8>>,
    /// `None` is the NodeManager's default network.
    pub network: Option<String>,
    /// The submitter; `None` leaves users unchecked.
    pub user: Option<String>,
    /// The job's environment variables whose values are known.
    pub environment: Vec<(String, String)>,
    /// The variables whose values a tool or a shell has yet to substitute.
    pub open: Vec<(String, String)>,
}

impl Request {
    /// The request of a job that sets these variables and nothing else.
    pub fn of_environment(environment: Vec<(String, String)>) -> Self {
        // The check of images has its own answer to an image that is not known yet.
        let is_open = |(name, value): &(String, String)| name != IMAGE && is_unresolved(value.as_bytes());
        let (open, environment): (Vec<_>, Vec<_>) = environment.into_iter().partition(is_open);
        let set =
            |name: &str| environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        Self {
            images: set(IMAGE).map(|image| image.as_bytes().to_vec()).into_iter().collect(),
            privileged: set(PRIVILEGED).is_some_and(|value| value.eq_ignore_ascii_case("true")),
            mounts: set(MOUNTS)
                .into_iter()
                .flat_map(|text| text.split(','))
                .map(|mount| mount.as_bytes().to_vec())
                .collect(),
            // An empty name stands for the default.
            network: set(NETWORK).filter(|network| !network.is_empty()).map(str::to_owned),
            user: None,
            open,
            environment,
        }
    }

    /// This request, with gaps filled from the other.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let or = |mine: Vec<Vec<u8>>, theirs| if mine.is_empty() { theirs } else { mine };
        let mut environment = self.environment;
        let more =
            other.environment.into_iter().filter(|(name, _)| environment.iter().all(|(set, _)| set != name));
        let more: Vec<_> = more.collect();
        environment.extend(more);
        let is_settled = |name: &str| match name {
            MOUNTS => !self.mounts.is_empty(),
            NETWORK => self.network.is_some(),
            _ => environment.iter().any(|(set, _)| set == name),
        };
        let open = self.open.into_iter().chain(other.open).filter(|(name, _)| !is_settled(name)).collect();
        Self {
            images: or(self.images, other.images),
            privileged: self.privileged || other.privileged,
            mounts: or(self.mounts, other.mounts),
            network: self.network.or(other.network),
            user: self.user.or(other.user),
            environment,
            open,
        }
    }

    /// Whether the NodeManager's default network counts, as far as is known.
    pub(super) fn uses_default_network(&self) -> bool {
        self.network.is_none() && self.open.iter().all(|(name, _)| name != NETWORK)
    }

    /// Whether the job sets the variable to true, as Java parses it.
    pub fn is_set(&self, name: &str) -> bool {
        self.environment.iter().any(|(key, value)| key == name && value.eq_ignore_ascii_case("true"))
    }
}

/// The finding for a variable that looks like one of YARN's but is not; the job writes `prefix` before its name.
pub(super) fn unknown_variable(prefix: &str, name: &str) -> Option<Finding> {
    if !name.starts_with(PREFIX) || VARIABLES.contains(&name) {
        return None;
    }
    let nearest = VARIABLES.into_iter().min_by_key(|known| strsim::levenshtein(name, known))?;
    let fix = Fix::manual(format!("write {prefix}{nearest}, if that is meant"));
    Some(Finding::new(codes::JOB_VARIABLE_UNKNOWN, format!("YARN reads no variable `{name}`")).fix(fix))
}
