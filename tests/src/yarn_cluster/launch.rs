//! One container, as a user requests it, and its outcome.

use serde_json::{Value, json};

use super::ClusterNode;

/// A launch of one container: an application whose master it is.
#[derive(Debug, Clone)]
pub struct Launch {
    pub(super) user: &'static str,
    command: String,
    environment: Vec<(&'static str, String)>,
    label: Option<String>,
}

impl Launch {
    /// A launch without Docker, as user hadoop.
    pub fn plain(command: &str) -> Self {
        Self { user: "hadoop", command: command.to_owned(), environment: Vec::new(), label: None }
    }

    /// A launch in a container of this image.
    pub fn docker(image: &str, command: &str) -> Self {
        Self::plain(command)
            .environment("YARN_CONTAINER_RUNTIME_TYPE", "docker")
            .environment("YARN_CONTAINER_RUNTIME_DOCKER_IMAGE", image)
    }

    /// Sets the file with the credentials for pulls.
    pub fn client_config(self, uri: &str) -> Self {
        self.environment("YARN_CONTAINER_RUNTIME_DOCKER_CLIENT_CONFIG", uri)
    }

    /// Mounts are `source:destination:mode`.
    pub fn mounts(self, mounts: &[&str]) -> Self {
        self.environment("YARN_CONTAINER_RUNTIME_DOCKER_MOUNTS", &mounts.join(","))
    }

    pub fn network(self, network: &str) -> Self {
        self.environment("YARN_CONTAINER_RUNTIME_DOCKER_CONTAINER_NETWORK", network)
    }

    pub fn privileged(self) -> Self {
        self.environment("YARN_CONTAINER_RUNTIME_DOCKER_RUN_PRIVILEGED_CONTAINER", "true")
    }

    pub fn environment(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    pub fn by(self, user: &'static str) -> Self {
        Self { user, ..self }
    }

    pub fn on(self, node: &ClusterNode) -> Self {
        Self { label: Some(node.label()), ..self }
    }

    /// The body of the request that submits the launch, to this partition unless the launch names another.
    pub(super) fn submission(&self, application: &str, partition: &str) -> Value {
        let environment: Vec<Value> =
            self.environment.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
        json!({
            "application-id": application,
            "application-name": "launch",
            "application-type": "YARN",
            "max-app-attempts": 1,
            "am-container-spec": {
                "commands": { "command": self.command },
                "environment": { "entry": environment },
            },
            "resource": { "memory": 128, "vCores": 1 },
            "am-container-node-label-expression": self.label.as_deref().unwrap_or(partition),
        })
    }
}

/// How a launch ended.
#[derive(Debug, Clone)]
pub struct Launched {
    /// The container's exit code, or YARN's substitute for it; `None` if YARN never came that far.
    pub exit_code: Option<i32>,
    /// YARN's message to the user, including container-executor's standard error.
    pub diagnostics: String,
    pub application: String,
    /// The node's name in YARN; empty if the container was never assigned one.
    pub host: String,
}

impl Launched {
    pub(super) fn of(report: &Value) -> Self {
        let text = |name: &str| report[name].as_str().unwrap_or_default().to_owned();
        let diagnostics = text("diagnostics");
        // YARN has no field for the exit code: users find it in the diagnostics, too.
        let exit_code = diagnostics.split("exitCode: ").nth(1).and_then(|rest| {
            rest.split(|end: char| !end.is_ascii_digit() && end != '-').next()?.parse().ok()
        });
        let address = text("amHostHttpAddress");
        let host = address.split(':').next().unwrap_or_default().to_owned();
        Self { exit_code, diagnostics, application: text("id"), host }
    }
}
