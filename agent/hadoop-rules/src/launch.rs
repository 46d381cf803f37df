//! What container-executor does with a `docker run` from YARN: the arguments for docker, or a refusal with its
//! native name and number.
//!
//! Covers the keys that the NodeManager writes for batch containers, but no port mappings, devices, foreign process
//! namespaces or service mode.

mod arguments;
mod command;
mod refusal;
mod steps;

#[cfg(test)]
mod tests;

use alloc::vec::Vec;

pub use command::LaunchCommand;
pub use refusal::Refusal;

use self::steps::Launch;
use super::executor_config::ExecutorConfig;
use super::mounts::Paths;

/// Facts that only the node knows.
pub trait Host: Paths {
    /// The resolved path of container-executor's configuration.
    fn executor_config_path(&self) -> Vec<u8>;
    /// The driver of a Docker network, as `docker network inspect` prints it.
    fn network_driver(&self, network: &[u8]) -> Option<Vec<u8>>;
    /// The user's access to Docker.
    fn docker_access(&self, user: &[u8]) -> DockerAccess;
}

/// A user's access to Docker on the node itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DockerAccess {
    /// In the group root or docker, or allowed to run docker through sudo.
    Granted,
    /// Neither.
    Denied,
    /// The node has no such user.
    UnknownUser,
}

/// The words of the docker command line, starting with the binary.
///
/// Whether Docker is enabled is a separate question: see [`ExecutorConfig::docker_supported`].
pub fn decide(
    config: &ExecutorConfig,
    command: &LaunchCommand,
    host: &dyn Host,
) -> Result<Vec<Vec<u8>>, Refusal> {
    Launch::new(config, command, host).run()
}
