//! What container-executor makes of one `docker run` that YARN asks for: the arguments for docker, or a
//! refusal with its native name and number.
//!
//! Covered are the keys that the NodeManager writes for batch containers: no port mappings, devices,
//! foreign process namespaces or service mode.

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

/// What only the node can tell.
pub trait Host: Paths {
    /// The resolved path of container-executor's configuration.
    fn executor_config_path(&self) -> Vec<u8>;
    /// The driver of a Docker network, as `docker network inspect` prints it.
    fn network_driver(&self, network: &[u8]) -> Option<Vec<u8>>;
    /// What the user may do with Docker.
    fn docker_access(&self, user: &[u8]) -> DockerAccess;
}

/// What a user may do with Docker on the node itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DockerAccess {
    /// In the group root or docker, or allowed to run docker through sudo.
    Granted,
    /// None of that.
    Denied,
    /// The node has no such user.
    UnknownUser,
}

/// The words of the docker command line, the binary first.
///
/// Whether Docker is enabled is a separate question: see [`ExecutorConfig::docker_supported`].
pub fn decide(
    config: &ExecutorConfig,
    command: &LaunchCommand,
    host: &dyn Host,
) -> Result<Vec<Vec<u8>>, Refusal> {
    Launch::new(config, command, host).run()
}
