//! Numbers that stand for a failure: exit codes, and container-executor's own errors, which Hadoop 3.2 and 3.3
//! number differently.

use super::texts::Author;
use crate::findings::{Code, codes};

/// What a number stands for.
#[derive(Debug, Clone, Copy)]
pub struct Number {
    pub author: Author,
    pub value: i32,
    /// The versions that give the number this meaning, in words.
    pub hadoop: &'static str,
    pub means: &'static str,
    pub finding: Option<Code>,
}

const ANY: &str = "3.2 and later";
const OLD: &str = "3.2";
const NEW: &str = "3.3 and later";

/// A container's exit codes, whatever ended it.
pub const EXIT_CODES: &[Number] = &[
    node_manager(-1, "the NodeManager itself refused the launch: its exception message says why"),
    node_manager(
        -100,
        "the container was released, or its node was lost: unhealthy, decommissioned or unreachable",
    ),
    node_manager(-101, "the node's local or log directories are full or broken"),
    node_manager(-102, "YARN preempted the container"),
    node_manager(-103, "the container used more virtual memory than YARN allows"),
    node_manager(-104, "the container used more memory than it asked for"),
    node_manager(-105, "the application master ended the container"),
    node_manager(-106, "the ResourceManager ended the container"),
    node_manager(-107, "the container was ended because its application had ended"),
    Number {
        finding: Some(codes::RUNTIME_NOT_ALLOWED),
        ..node_manager(
            -1000,
            "the NodeManager refused the launch before it began and gave the job no reason: the runtime is not allowed, or a file could not be localized; its own log says which",
        )
    },
    executor(3, "container-executor was given a command that it does not know, or one that it refuses", None),
    executor(5, "container-executor found no usable local directory of the NodeManager", None),
    executor(6, "container-executor could not change its user", None),
    executor(7, "docker run failed: docker's output says why", None),
    executor(8, "container-executor could not signal the container", None),
    executor(9, "container-executor was given a wrong process id", None),
    executor(
        18,
        "container-executor ran out of memory, or its configuration has a repeated empty section",
        None,
    ),
    executor(20, "container-executor could not look up the user on the node", Some(codes::USER_REFUSED)),
    executor(
        22,
        "the owner, the group or the mode of the container-executor binary is wrong; the node is UNHEALTHY until its NodeManager restarts",
        Some(codes::BINARY_OWNER),
    ),
    executor(
        24,
        "container-executor rejects container-executor.cfg: a line that it cannot parse, or the owner or mode of the file or a directory above it; the node is UNHEALTHY until its NodeManager restarts",
        Some(codes::NO_EQUALS_SIGN),
    ),
    executor(25, "container-executor could not make a session", None),
    executor(26, "container-executor could not write the process id", None),
    executor(27, "container-executor could not write to a control group", None),
    executor(28, "container-executor could not set up traffic control", None),
    executor(
        29,
        "container-executor refused the docker command, or could not query docker: the line `Error constructing docker command` gives the error",
        None,
    ),
    executor(30, "container-executor could not open the launch command", None),
    executor(31, "container-executor could not read the launch command", None),
    executor(
        32,
        "Docker is switched off in container-executor.cfg: module.enabled is not exactly `true`",
        Some(codes::DOCKER_OFF),
    ),
    executor(33, "container-executor could not copy the launch script", None),
    executor(34, "container-executor could not copy the container's credentials", None),
    executor(35, "container-executor could not create the work directory", None),
    executor(36, "container-executor could not create the log directory", None),
    executor(37, "container-executor could not create the temporary directory", None),
    executor(38, "container-executor was given wrong directories", None),
    executor(39, "container-executor refused the docker command", None),
    executor(40, "container-executor refused the image's name", Some(codes::IMAGE_INVALID)),
    executor(
        42,
        "a `regex:` entry of container-executor.cfg cannot be compiled",
        Some(codes::MOUNT_LIST_BREAKS_LAUNCHES),
    ),
    executor(43, "container-executor was given a name that is not a container ID", None),
    executor(44, "docker exec failed", None),
    docker(125, "docker could not create the container: docker's output says why", None),
    docker(126, "the container's program cannot be executed", None),
    docker(
        127,
        "a program was not found in the container: an untrusted image gets no mounts, so that its launch script is missing, or the image lacks bash or Java",
        Some(codes::IMAGE_NOT_TRUSTED),
    ),
    container(134, "the program in the container aborted (SIGABRT)"),
    container(137, "the container was killed (SIGKILL): out of memory, or ended by YARN"),
    container(139, "the program in the container crashed (SIGSEGV)"),
    container(143, "the container was told to stop (SIGTERM): by YARN, or because its application had ended"),
    node_manager(
        154,
        "the NodeManager was restarted while the container started or ran, and could not learn how it ended",
    ),
    executor(
        255,
        "container-executor refused the user: banned.users, min.user.id or allowed.system.users",
        Some(codes::USER_REFUSED),
    ),
];

/// The numbers of `docker error code=...`. Those of the two generations do not overlap, so a number implies the
/// version.
pub const DOCKER_ERRORS: &[Number] = &[
    error(OLD, 1, "the launch command cannot be read", None),
    error(OLD, 2, "the launch command is not docker run", None),
    error(OLD, 3, "the docker command has too many words", None),
    error(OLD, 4, "the container's name is not a container ID", None),
    error(
        OLD,
        5,
        "container-executor does not accept the image's name; a digest (`@sha256:...`) counts as part of it",
        Some(codes::IMAGE_BY_DIGEST),
    ),
    error(OLD, 6, "the launch command names no user", None),
    error(OLD, 9, NETWORK, Some(codes::NETWORK_REFUSED)),
    error(OLD, 10, "a port mapping is wrong", None),
    error(OLD, 11, CAPABILITY, Some(codes::CAPABILITY_REFUSED)),
    error(OLD, 12, PRIVILEGED, Some(codes::PRIVILEGED_REFUSED)),
    error(OLD, 13, MOUNT, Some(codes::MOUNT_REFUSED)),
    error(OLD, 14, READ_ONLY, Some(codes::MOUNT_REFUSED)),
    error(OLD, 15, READ_WRITE, Some(codes::MOUNT_REFUSED)),
    error(OLD, 16, MOUNT_ACCESS, Some(codes::MOUNT_LIST_BREAKS_LAUNCHES)),
    error(OLD, 17, DEVICE, Some(codes::LAUNCH_REFUSED)),
    error(OLD, 23, PID_HOST, Some(codes::LAUNCH_REFUSED)),
    error(OLD, 24, PID_NAMESPACE, Some(codes::LAUNCH_REFUSED)),
    error(OLD, 25, TRUST, Some(codes::IMAGE_NOT_TRUSTED)),
    error(OLD, 26, TMPFS, Some(codes::JOB_SETTING_REFUSED)),
    error(OLD, 27, RUNTIME, Some(codes::LAUNCH_REFUSED)),
    error(NEW, 48, "the docker command has too many words", None),
    error(NEW, 49, MOUNT, Some(codes::MOUNT_REFUSED)),
    error(NEW, 50, READ_ONLY, Some(codes::MOUNT_REFUSED)),
    error(NEW, 51, READ_WRITE, Some(codes::MOUNT_REFUSED)),
    error(NEW, 52, MOUNT_ACCESS, Some(codes::MOUNT_LIST_BREAKS_LAUNCHES)),
    error(NEW, 53, "the launch command cannot be read", None),
    error(NEW, 54, "the launch command is not docker run", None),
    error(NEW, 55, "the container's name is not a container ID", None),
    error(
        NEW,
        56,
        "container-executor does not accept the image's name; a digest (`@sha256:...`) counts as part of it",
        Some(codes::IMAGE_BY_DIGEST),
    ),
    error(NEW, 57, "the launch command names no user", None),
    error(NEW, 60, NETWORK, Some(codes::NETWORK_REFUSED)),
    error(NEW, 61, "a port mapping is wrong", None),
    error(NEW, 62, CAPABILITY, Some(codes::CAPABILITY_REFUSED)),
    error(NEW, 63, PRIVILEGED, Some(codes::PRIVILEGED_REFUSED)),
    error(NEW, 64, DEVICE, Some(codes::LAUNCH_REFUSED)),
    error(NEW, 70, PID_HOST, Some(codes::LAUNCH_REFUSED)),
    error(NEW, 71, PID_NAMESPACE, Some(codes::LAUNCH_REFUSED)),
    error(NEW, 72, TRUST, Some(codes::IMAGE_NOT_TRUSTED)),
    error(NEW, 73, TMPFS, Some(codes::JOB_SETTING_REFUSED)),
    error(NEW, 74, RUNTIME, Some(codes::LAUNCH_REFUSED)),
    error(
        NEW,
        75,
        "docker.service-mode.enabled of container-executor.cfg is off",
        Some(codes::LAUNCH_REFUSED),
    ),
    error(ANY, -1, "Docker did not answer, or has no network of that name", Some(codes::DOCKER_UNREACHABLE)),
];

const NETWORK: &str = "docker.allowed.networks of container-executor.cfg does not name the network";
const CAPABILITY: &str = "docker.allowed.capabilities of container-executor.cfg does not name a capability that yarn-site.xml asks for";
const PRIVILEGED: &str = "container-executor.cfg does not allow this privileged container";
const MOUNT: &str = "a mount cannot be read, or its source is not on the node";
const READ_ONLY: &str =
    "the source of a mount is in neither docker.allowed.ro-mounts nor docker.allowed.rw-mounts";
const READ_WRITE: &str = "the source of a mount with `rw` is not in docker.allowed.rw-mounts";
const MOUNT_ACCESS: &str = "an entry of docker.allowed.ro-mounts or docker.allowed.rw-mounts is not a path on this node that the NodeManager's user can reach";
const DEVICE: &str = "a device is not in docker.allowed.devices";
const PID_HOST: &str = "docker.host-pid-namespace.enabled of container-executor.cfg is off";
const PID_NAMESPACE: &str = "the PID namespace is not `host`";
const TRUST: &str = "no list of trusted registries has an entry for the image";
const TMPFS: &str = "a tmpfs mount is not an absolute path without options";
const RUNTIME: &str = "docker.allowed.runtimes of container-executor.cfg does not name the runtime, or the image is not trusted";

/// What the number stands for, if known.
pub(super) fn named(numbers: &'static [Number], text: &str) -> Option<&'static Number> {
    let value: i32 = text.parse().ok()?;
    numbers.iter().find(|number| number.value == value)
}

const fn node_manager(value: i32, means: &'static str) -> Number {
    Number { author: Author::NodeManager, value, hadoop: ANY, means, finding: None }
}

const fn executor(value: i32, means: &'static str, finding: Option<Code>) -> Number {
    Number { author: Author::ContainerExecutor, value, hadoop: ANY, means, finding }
}

const fn docker(value: i32, means: &'static str, finding: Option<Code>) -> Number {
    Number { author: Author::Docker, value, hadoop: ANY, means, finding }
}

const fn container(value: i32, means: &'static str) -> Number {
    Number { author: Author::Container, value, hadoop: ANY, means, finding: None }
}

const fn error(hadoop: &'static str, value: i32, means: &'static str, finding: Option<Code>) -> Number {
    Number { author: Author::ContainerExecutor, value, hadoop, means, finding }
}

#[cfg(test)]
mod tests {
    use hadoop_rules::Rules;
    use hadoop_rules::launch::Refusal;
    use hadoop_rules::mounts::MountRefusal;

    use super::*;

    #[test]
    fn numbers_are_those_of_the_rules() {
        let mount = || b"/a:/b:ro".to_vec();
        for (refusal, code) in [
            (Refusal::ImageName, codes::IMAGE_BY_DIGEST),
            (Refusal::Network, codes::NETWORK_REFUSED),
            (Refusal::Capability, codes::CAPABILITY_REFUSED),
            (Refusal::TmpfsMount, codes::JOB_SETTING_REFUSED),
            (Refusal::Runtime, codes::LAUNCH_REFUSED),
            (Refusal::NetworkDriver, codes::DOCKER_UNREACHABLE),
            (Refusal::Mount(MountRefusal::SourceMissing { mount: mount() }), codes::MOUNT_REFUSED),
            (Refusal::Mount(MountRefusal::ReadOnly { mount: mount() }), codes::MOUNT_REFUSED),
            (Refusal::Mount(MountRefusal::ReadWrite { mount: mount() }), codes::MOUNT_REFUSED),
            (
                Refusal::Mount(MountRefusal::AllowedMountMissing { key: "", entry: mount() }),
                codes::MOUNT_LIST_BREAKS_LAUNCHES,
            ),
        ] {
            for (rules, hadoop) in [(Rules::V3_2, OLD), (Rules::V3_3, NEW), (Rules::V3_4, NEW)] {
                let value = refusal.native_number(rules).to_string();
                let number = named(DOCKER_ERRORS, &value).unwrap_or_else(|| panic!("{refusal:?}: {value}"));
                assert_eq!(number.finding, Some(code), "{refusal:?}: {value}");
                assert!(number.hadoop == hadoop || number.hadoop == ANY, "{refusal:?}: {value}");
            }
        }
    }

    #[test]
    fn no_number_is_told_twice() {
        for numbers in [EXIT_CODES, DOCKER_ERRORS] {
            let mut values: Vec<i32> = numbers.iter().map(|number| number.value).collect();
            values.sort_unstable();
            let count = values.len();
            values.dedup();
            assert_eq!(values.len(), count);
        }
    }
}
