//! An agent.toml that tests change by key.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;

use super::{Error, Node};

/// Displays as the file's text: dotted keys, one per line, then tables.
#[derive(Debug, Clone)]
pub struct Settings {
    values: BTreeMap<&'static str, Value>,
    tables: String,
}

impl Settings {
    /// Uses paths and addresses that differ from EMR's, and shorter intervals.
    pub fn of(node: &Node, published: &str, listen: SocketAddr) -> Self {
        let mut settings = Self { values: BTreeMap::new(), tables: String::new() };
        settings
            .set("published.path", published)
            .set("published.replication", 1)
            .set("hadoop.conf_dir", text(&node.conf_dir()))
            .set("node.info_dir", text(&node.info_dir()))
            .set("refresh.jitter", 0.0)
            .set("refresh.minimum_validity", "1s")
            .set("refresh.pass_interval", "1s")
            .set("refresh.isolated_jitter", "0s")
            .set("health.listen", listen.to_string())
            .set("health.socket", text(&node.path("status.sock")))
            .docker_config(&node.docker_config(), "0600");
        settings
    }

    /// Sets a key by its dotted name.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) -> &mut Self {
        self.values.insert(key, value.into());
        self
    }

    /// Resets a key to its default.
    pub fn unset(&mut self, key: &'static str) -> &mut Self {
        self.values.remove(key);
        self
    }

    /// Lets only file changes and signals wake the agent.
    pub fn no_timer(&mut self) -> &mut Self {
        self.set("refresh.pass_interval", "1h")
    }

    /// Adds a registry to the discovered ones.
    pub fn registry(&mut self, host: &str, aliases: &[&str]) -> &mut Self {
        self.tables.push_str(&format!("\n[[registries]]\nhost = {host:?}\naliases = {aliases:?}\n"));
        self
    }

    /// Adds a registry with additional keys, all strings.
    pub fn registry_with(&mut self, host: &str, keys: &[(&str, &str)]) -> &mut Self {
        self.registry(host, &[]);
        for (key, value) in keys {
            self.tables.push_str(&format!("{key} = {value:?}\n"));
        }
        self
    }

    /// Replaces all tables with a single Docker config with this mode and owner.
    pub fn local_rights(&mut self, path: &Path, mode: &str, owner: &str) -> &mut Self {
        self.tables.clear();
        self.docker_config(path, mode);
        self.tables.push_str(&format!("owner = {owner:?}\n"));
        self
    }

    /// Adds a local Docker config.
    pub fn docker_config(&mut self, path: &Path, mode: &str) -> &mut Self {
        self.tables.push_str(&format!("\n[[docker_configs]]\npath = {path:?}\nmode = {mode:?}\n"));
        self
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, value) in &self.values {
            // JSON strings, numbers and booleans are valid TOML.
            writeln!(f, "{key} = {value}")?;
        }
        f.write_str(&self.tables)
    }
}

impl Node {
    /// Replaces agent.toml as a whole, since an agent may be reading it.
    pub fn write_settings(&self, settings: &Settings) -> Result<(), Error> {
        self.replace("agent.toml", &settings.to_string())
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
