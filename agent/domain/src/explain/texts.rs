//! The table of known texts: who writes them, what causes them, and what to do.

mod container_executor;
mod docker;
mod node_manager;
mod spark;

use serde::Serialize;

use crate::findings::Code;

/// Who writes a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Author {
    Docker,
    ContainerExecutor,
    NodeManager,
    Spark,
    /// The program in the container.
    Container,
}

/// A text that a failed launch leaves behind.
#[derive(Debug, Clone, Copy)]
pub struct Text {
    pub author: Author,
    /// With gaps, as in `image: {image} is not trusted`.
    pub says: &'static str,
    /// The cause of the failure, without a full stop; gaps as in `says`.
    pub cause: &'static str,
    pub finding: Option<Code>,
    /// The command that shows more; gaps as in `says`, or from an earlier line.
    pub command: &'static str,
    pub role: Role,
}

/// What a text shows, and when; those of an earlier role take precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Cause,
    /// A cause within the stack trace of a NullPointerException that does not show its cause itself. Behind other
    /// exceptions the text shows nothing.
    CauseOfNullPointer,
    /// A cause, unless the same line shows another, which is more specific.
    LoneCause,
    /// It only reports that something failed; another line, or the rest of its own, gives the reason.
    Consequence,
}

/// The command for what depends on the image.
const CHECK_IMAGE: &str = "emr-ecr-agent check --image {image}";
/// The command for what depends on the node alone.
const CHECK: &str = "emr-ecr-agent check";
const CHECK_USER: &str = "emr-ecr-agent check --user {user}";
const CHECK_MOUNT: &str = "emr-ecr-agent check --image {image} --mount {mount}";
const CHECK_CLIENT_CONFIG: &str = "emr-ecr-agent check --client-config {uri}";
const CHECK_NETWORK: &str = "emr-ecr-agent check --image {image} --network {network}";
const STATUS: &str = "emr-ecr-agent status";

/// Every known text; of two that match the same words, the first counts.
pub fn all() -> impl Iterator<Item = &'static Text> {
    [docker::TEXTS, container_executor::TEXTS, node_manager::TEXTS, spark::TEXTS].into_iter().flatten()
}

impl Role {
    pub(super) const ALL: [Self; 4] =
        [Self::Cause, Self::CauseOfNullPointer, Self::LoneCause, Self::Consequence];
}

impl Author {
    /// The name in prose.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::ContainerExecutor => "container-executor",
            Self::NodeManager => "the NodeManager",
            Self::Spark => "Spark",
            Self::Container => "the container",
        }
    }
}

const fn of(
    author: Author,
    says: &'static str,
    cause: &'static str,
    finding: Option<Code>,
    command: &'static str,
) -> Text {
    Text { author, says, cause, finding, command, role: Role::Cause }
}

const fn consequence(author: Author, says: &'static str, cause: &'static str, command: &'static str) -> Text {
    Text { author, says, cause, finding: None, command, role: Role::Consequence }
}
