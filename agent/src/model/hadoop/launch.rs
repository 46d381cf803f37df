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
    /// Whether the user is in the group root or docker, or may run docker through sudo.
    fn user_may_run_docker(&self, user: &[u8]) -> bool;
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
