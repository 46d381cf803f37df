//! Why a launch is refused, with the native numbers and names of each generation.

use thiserror::Error;

use super::super::Rules;
use super::super::mounts::MountRefusal;
use super::super::trust::PrivilegedRefusal;

/// Why container-executor refuses a launch; the messages describe the variants.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("the launch command is not a docker run")]
    NotRun,
    #[error("the docker command line would have more than 1024 words")]
    TooManyArguments,
    #[error("the container name is not a container id")]
    ContainerName,
    #[error("the launch command names no user")]
    NoUser,
    #[error("the image name is missing or not accepted")]
    ImageName,
    #[error("the network is not allowed")]
    Network,
    #[error("the driver of the network cannot be determined")]
    NetworkDriver,
    #[error("the mounts are refused")]
    Mount(#[source] MountRefusal),
    #[error("a tmpfs mount is not an absolute path without options")]
    TmpfsMount,
    #[error("the container may not run privileged")]
    Privileged(#[source] PrivilegedRefusal),
    #[error("the user of the privileged container does not exist on the node")]
    UnknownUser,
    #[error("a capability is not allowed")]
    Capability,
    #[error("the runtime is not allowed, or the image that asks for it is not trusted")]
    Runtime,
}

impl Refusal {
    /// The name of the native error code; None where the native code has no name for it.
    pub fn native_name(&self, rules: Rules) -> Option<&'static str> {
        self.native(rules).1
    }

    /// The number in `docker error code=…`.
    pub fn native_number(&self, rules: Rules) -> i32 {
        self.native(rules).0
    }

    fn native(&self, rules: Rules) -> (i32, Option<&'static str>) {
        let number_and_name = match (self, rules) {
            // An exit code: the native code gives up without a docker error.
            (Self::UnknownUser, _) => Some((20, "INITIALIZE_USER_FAILED")),
            (_, Rules::V3_2) => self.native_3_2(),
            (_, Rules::V3_3 | Rules::V3_4) => self.native_3_3(),
        };
        number_and_name.map_or((-1, None), |(number, name)| (number, Some(name)))
    }

    fn native_3_2(&self) -> Option<(i32, &'static str)> {
        Some(match self {
            Self::NotRun => (2, "INCORRECT_COMMAND"),
            Self::TooManyArguments => (3, "BUFFER_TOO_SMALL"),
            Self::ContainerName => (4, "INVALID_DOCKER_CONTAINER_NAME"),
            Self::ImageName => (5, "INVALID_DOCKER_IMAGE_NAME"),
            Self::NoUser => (6, "INVALID_DOCKER_USER_NAME"),
            Self::Network => (9, "INVALID_DOCKER_NETWORK"),
            Self::Capability => (11, "INVALID_DOCKER_CAPABILITY"),
            Self::Privileged(_) => (12, "PRIVILEGED_CONTAINERS_DISABLED"),
            Self::Mount(mount) => named(mount, Rules::V3_2),
            Self::TmpfsMount => (26, "INVALID_DOCKER_TMPFS_MOUNT"),
            Self::Runtime => (27, "INVALID_DOCKER_RUNTIME"),
            Self::NetworkDriver | Self::UnknownUser => return None,
        })
    }

    fn native_3_3(&self) -> Option<(i32, &'static str)> {
        Some(match self {
            Self::TooManyArguments => (48, "BUFFER_TOO_SMALL"),
            Self::Mount(mount) => named(mount, Rules::V3_3),
            Self::NotRun => (54, "INCORRECT_DOCKER_COMMAND"),
            Self::ContainerName => (55, "INVALID_DOCKER_CONTAINER_NAME"),
            Self::ImageName => (56, "INVALID_DOCKER_IMAGE_NAME"),
            Self::NoUser => (57, "INVALID_DOCKER_USER_NAME"),
            Self::Network => (60, "INVALID_DOCKER_NETWORK"),
            Self::Capability => (62, "INVALID_DOCKER_CAPABILITY"),
            Self::Privileged(_) => (63, "PRIVILEGED_DOCKER_CONTAINERS_DISABLED"),
            Self::TmpfsMount => (73, "INVALID_DOCKER_TMPFS_MOUNT"),
            Self::Runtime => (74, "INVALID_DOCKER_RUNTIME"),
            Self::NetworkDriver | Self::UnknownUser => return None,
        })
    }
}

fn named(mount: &MountRefusal, rules: Rules) -> (i32, &'static str) {
    (mount.native_number(rules), mount.native_name(rules))
}
