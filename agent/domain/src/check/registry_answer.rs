//! What a registry returned for an image, and what it means for a launch on this node.

use serde::Deserialize;

use super::image::{DOCKER_HUB, registry_of};
use crate::findings::{Finding, Fix, codes};
use crate::registry::PULL_ACTIONS;

/// An image name split for the registry's API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageReference {
    /// Host, with a port if one is named.
    pub registry: String,
    pub repository: String,
    pub tag: String,
}

/// How the registry answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryAnswer {
    Found(ImageDetails),
    NotFound,
    /// The HTTP status.
    Refused(u16),
    /// There was no request, or no valid answer.
    Unknown(String),
}

/// What the manifests and the image's configuration contain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageDetails {
    /// As Docker names them: `amd64`, `arm64`.
    pub architectures: Vec<String>,
    /// `None` if no configuration for this node's architecture was read.
    pub java: Option<bool>,
}

/// The parts of an image's configuration that are read here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    pub architecture: String,
    config: ContainerConfig,
    history: Vec<HistoryStep>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ContainerConfig {
    #[serde(rename = "Env")]
    env: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct HistoryStep {
    created_by: String,
}

/// Words that a Java installation leaves in an image's history.
const TRACES_OF_JAVA: [&str; 5] = ["jdk", "jre", "java", "corretto", "temurin"];

impl ImageReference {
    /// Splits a name that container-executor accepts.
    pub fn parse(image: &str) -> Self {
        let image = image.trim();
        let registry = registry_of(image);
        let rest = image.strip_prefix(registry).and_then(|rest| rest.strip_prefix('/')).unwrap_or(image);
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, tag),
            _ => (rest, "latest"),
        };
        let official = registry == DOCKER_HUB && !repository.contains('/');
        Self {
            registry: if registry == DOCKER_HUB { "registry-1.docker.io" } else { registry }.to_owned(),
            repository: if official { format!("library/{repository}") } else { repository.to_owned() },
            tag: tag.to_owned(),
        }
    }
}

impl ImageConfig {
    /// Whether Java seems to be in the image: `JAVA_HOME` is set, or its history mentions it.
    pub fn mentions_java(&self) -> bool {
        let env = self.config.env.iter().flatten();
        let mut steps = self.history.iter().map(|step| step.created_by.to_ascii_lowercase());
        env.into_iter().any(|variable| variable.starts_with("JAVA_HOME="))
            || steps.any(|step| TRACES_OF_JAVA.iter().any(|trace| step.contains(trace)))
    }
}

/// Docker's name for an architecture, from the compilers' name.
pub fn docker_architecture(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Findings on the answer, for a node of that architecture (by Docker's name).
pub fn of_registry(image: &str, answer: &RegistryAnswer, architecture: &str) -> Vec<Finding> {
    match answer {
        RegistryAnswer::Found(inputs) => of_found(image, inputs, architecture),
        RegistryAnswer::NotFound => vec![Finding::new(
            codes::IMAGE_NOT_FOUND,
            format!("the registry has no image `{image}`"),
        )
        .fix(Fix::manual("push it, or name a repository and tag that exist"))],
        // What ECR Public returns for an expired token; private ECR returns 401 or 403.
        RegistryAnswer::Refused(400) => vec![Finding::new(
            codes::PULL_REFUSED,
            format!("the registry refused the pull of `{image}` (HTTP 400)"),
        )
        .fix(Fix::manual("the published credential may have expired: see emr-ecr-agent status on a node"))],
        RegistryAnswer::Refused(status) => vec![Finding::new(
            codes::PULL_REFUSED,
            format!("the registry refused the pull of `{image}` (HTTP {status})"),
        )
        .fix(Fix::manual(format!(
            "allow the instance profile's role {}, also in the repository's policy if another account owns it; then check the published credential",
            PULL_ACTIONS.join(", ")
        )))],
        RegistryAnswer::Unknown(why) => vec![Finding::new(
            codes::REGISTRY_UNREACHABLE,
            format!("could not reach the registry of `{image}`: {why}"),
        )
        .fix(Fix::manual(
            "check the route to the registry (NAT, or VPC endpoints for ecr.api, ecr.dkr and S3), or use --offline",
        ))],
    }
}

fn of_found(image: &str, inputs: &ImageDetails, architecture: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let offered = &inputs.architectures;
    if !offered.is_empty() && !offered.iter().any(|other| other == architecture) {
        findings.push(
            Finding::new(
                codes::ARCHITECTURE_DIFFERS,
                format!("`{image}` is built for {}, but this node is {architecture}", offered.join(", ")),
            )
            .fix(Fix::manual(format!(
                "build it for this node too: docker buildx build --platform linux/{architecture}"
            ))),
        );
    }
    if inputs.java == Some(false) {
        findings.push(
            Finding::new(
                codes::JAVA_NOT_FOUND,
                format!("`{image}` sets no JAVA_HOME, and its history does not mention Java"),
            )
            .fix(Fix::manual("base it on an image with Java, such as amazoncorretto, or set ENV JAVA_HOME")),
        );
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_as_docker_does() {
        let check = |image: &str, registry: &str, repository: &str, tag: &str| {
            let parsed = ImageReference::parse(image);
            let ImageReference { registry: r, repository: p, tag: t } = &parsed;
            assert_eq!((r.as_str(), p.as_str(), t.as_str()), (registry, repository, tag), "{image}");
        };
        check("localhost:5000/a/b:v1", "localhost:5000", "a/b", "v1");
        check("host.example/app", "host.example", "app", "latest");
        check("centos:7", "registry-1.docker.io", "library/centos", "7");
        check("team/app", "registry-1.docker.io", "team/app", "latest");
    }

    #[test]
    fn java_leaves_traces() {
        let check = |json: &str, expected: bool| {
            let config: ImageConfig = serde_json::from_str(json).expect("a configuration");
            assert_eq!(config.mentions_java(), expected, "{json}");
        };
        check(r#"{"config":{"Env":["PATH=/bin","JAVA_HOME=/opt/java"]}}"#, true);
        check(r#"{"history":[{"created_by":"RUN yum install java-17-amazon-corretto"}]}"#, true);
        check(r#"{"config":{"Env":null},"history":[{"created_by":"RUN pip install numpy"}]}"#, false);
        check("{}", false);
    }
}
