//! The whole judgement of container-executor on one `docker run` that YARN asks for.
//!
//! It ends in the argument line for docker or in a refusal with its native name and number. That
//! the image can be pulled, or the container run, is not judged.

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
    /// The driver of a Docker network, as `docker network inspect` tells it.
    fn network_driver(&self, network: &[u8]) -> Option<Vec<u8>>;
    fn docker_access(&self, user: &[u8]) -> DockerAccess;
}

/// What a user may do with Docker on the node itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DockerAccess {
    /// In the group root or docker, or allowed to run docker through sudo.
    Granted,
    Denied,
    UnknownUser,
}

/// The words of the docker command line, the binary first.
///
/// Whether Docker is enabled at all is asked before this, and is not part of it: see
/// [`ExecutorConfig::docker_supported`].
pub fn decide(
    config: &ExecutorConfig,
    command: &LaunchCommand,
    host: &dyn Host,
) -> Result<Vec<Vec<u8>>, Refusal> {
    Launch::new(config, command, host).run()
}
