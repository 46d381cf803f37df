//! The agent's configuration file for a sandbox node: everything that on EMR lies elsewhere, and a faster pace.

use std::net::SocketAddr;

use super::{Error, Node, TRUSTED_REGISTRY};

/// What differs from sandbox to sandbox. The rest follows from the node.
#[derive(Debug, Clone)]
pub struct AgentToml {
    /// A further name for the trusted registry, such as that of a real one on loopback.
    pub alias: Option<String>,
    /// The path of the published file on HDFS.
    pub published: String,
    /// Who owns it there.
    pub published_as: String,
    /// Where the health endpoint listens.
    pub listen: SocketAddr,
    /// Appended as it is.
    pub more: String,
}

impl Node {
    /// Writes agent.toml.
    pub fn write_agent_toml(&self, settings: &AgentToml) -> Result<(), Error> {
        let aliases: Vec<&str> = settings.alias.as_deref().into_iter().collect();
        let docker_config = self.docker_config();
        let (conf_dir, info_dir) = (self.conf_dir(), self.info_dir());
        let AgentToml { published, published_as, listen, more, .. } = settings;
        self.write(
            "agent.toml",
            &format!(
                r#"discover_registries = true

[[registries]]
host = "{TRUSTED_REGISTRY}"
aliases = {aliases:?}

[[docker_configs]]
path = {docker_config:?}
mode = "0600"

[published]
path = "{published}"
user = "{published_as}"
replication = 1

[hadoop]
conf_dir = {conf_dir:?}

[node]
info_dir = {info_dir:?}

[refresh]
share = 0.5
jitter = 0.0
minimum_validity = "5s"
pass_interval = "1s"

[health]
listen = "{listen}"
{more}"#
            ),
        )
    }
}
