//! Why a launch is refused, in the words of either generation of the native code.

use thiserror::Error;

use super::super::Rules;
use super::super::ere::InvalidPattern;
use super::super::mounts::MountRefusal;
use super::super::trust::PrivilegedRefusal;

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
    #[error("the driver of the network cannot be found out")]
    NetworkDriver,
    #[error("a port mapping is not understood")]
    PortsMapping,
    #[error("the host's process namespace is not enabled")]
    HostPidDisabled,
    #[error("the process namespace is not `host`")]
    PidNamespace,
    #[error("the mounts are refused")]
    Mount(#[source] MountRefusal),
    #[error("a tmpfs mount is not an absolute path without options")]
    TmpfsMount,
    #[error("the container may not run privileged")]
    Privileged(#[source] PrivilegedRefusal),
    #[error("the user of the privileged container is not known to the node")]
    UnknownUser,
    #[error("a capability is not allowed")]
    Capability,
    #[error("the runtime is not allowed, or the image that asks for it is not trusted")]
    Runtime,
    #[error("a device is not allowed, or the image that asks for it is not trusted")]
    Device,
    #[error("an allowed device holds a pattern that cannot be compiled")]
    DevicePattern(#[source] InvalidPattern),
    #[error("service mode is not enabled")]
    ServiceModeDisabled,
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
            // These two are exit codes: the native code gives up without an error of docker's.
            (Self::UnknownUser, _) => Some((20, "INITIALIZE_USER_FAILED")),
            (Self::DevicePattern(_), _) => Some((42, "ERROR_COMPILING_REGEX")),
            (_, Rules::V3_2) => self.native_3_2(),
            (_, Rules::V3_3) => self.native_3_3(),
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
            Self::PortsMapping => (10, "INVALID_DOCKER_PORTS_MAPPING"),
            Self::Capability => (11, "INVALID_DOCKER_CAPABILITY"),
            Self::Privileged(_) => (12, "PRIVILEGED_CONTAINERS_DISABLED"),
            Self::Mount(mount) => named(mount, Rules::V3_2),
            Self::Device => (17, "INVALID_DOCKER_DEVICE"),
            Self::HostPidDisabled => (23, "PID_HOST_DISABLED"),
            Self::PidNamespace => (24, "INVALID_PID_NAMESPACE"),
            Self::TmpfsMount => (26, "INVALID_DOCKER_TMPFS_MOUNT"),
            Self::Runtime => (27, "INVALID_DOCKER_RUNTIME"),
            Self::NetworkDriver | Self::ServiceModeDisabled | Self::UnknownUser | Self::DevicePattern(_) => {
                return None;
            }
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
            Self::PortsMapping => (61, "INVALID_DOCKER_PORTS_MAPPING"),
            Self::Capability => (62, "INVALID_DOCKER_CAPABILITY"),
            Self::Privileged(_) => (63, "PRIVILEGED_DOCKER_CONTAINERS_DISABLED"),
            Self::Device => (64, "INVALID_DOCKER_DEVICE"),
            Self::HostPidDisabled => (70, "DOCKER_PID_HOST_DISABLED"),
            Self::PidNamespace => (71, "INVALID_DOCKER_PID_NAMESPACE"),
            Self::TmpfsMount => (73, "INVALID_DOCKER_TMPFS_MOUNT"),
            Self::Runtime => (74, "INVALID_DOCKER_RUNTIME"),
            Self::ServiceModeDisabled => (75, "DOCKER_SERVICE_MODE_DISABLED"),
            Self::NetworkDriver | Self::UnknownUser | Self::DevicePattern(_) => return None,
        })
    }
}

fn named(mount: &MountRefusal, rules: Rules) -> (i32, &'static str) {
    (mount.native_number(rules), mount.native_name(rules))
}
