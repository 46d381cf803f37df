//! What the NodeManager and the ResourceManager write.

use super::{CHECK, CHECK_CLIENT_CONFIG, CHECK_IMAGE, CHECK_MOUNT, CHECK_NETWORK, CHECK_USER, Role, Text};
use crate::findings::{Code, codes};

pub(super) const TEXTS: &[Text] = &[
    of(
        "Image name '{image}' doesn't match docker image name pattern",
        "the NodeManager does not accept the image's name: upper case in the repository, a space, quotes, a scheme, `+`, an empty tag or a port that is no number",
        codes::IMAGE_INVALID,
        CHECK_IMAGE,
    ),
    of(
        "Image name '{image}",
        "the image's name ends in a newline, which the NodeManager does not accept",
        codes::IMAGE_INVALID,
        CHECK_IMAGE,
    ),
    of(
        "YARN_CONTAINER_RUNTIME_DOCKER_IMAGE not set!",
        "the job requests Docker but names no image",
        codes::JOB_WITHOUT_IMAGE,
        "emr-ecr-agent submit-args --image {image}",
    ),
    of(
        "Disallowed network:  '{network}' specified. Allowed networks: are {..}",
        "allowed-container-networks of yarn-site.xml does not name the network `{network}`",
        codes::NETWORK_NOT_ALLOWED,
        CHECK_NETWORK,
    ),
    of(
        "in user supplied mount list: {mount..}",
        "a part of the job's mounts is not SRC:DST, SRC:DST:ro or SRC:DST:rw, or is empty: `{mount}`",
        codes::MOUNT_NOT_UNDERSTOOD,
        CHECK_MOUNT,
    ),
    of(
        "Unable to parse user supplied mount list: {mount..}",
        "the job's mounts are not SRC:DST, SRC:DST:ro or SRC:DST:rw, separated only by commas: `{mount}`",
        codes::MOUNT_NOT_UNDERSTOOD,
        CHECK_MOUNT,
    ),
    of(
        "Mount must be a localized resource: {source..}",
        "the source of a mount is not an absolute path: it is relative, begins with a space or a newline, or names a volume",
        codes::MOUNT_NOT_UNDERSTOOD,
        CHECK_IMAGE,
    ),
    of(
        "Invalid mount : {mount..}",
        "default-ro-mounts or default-rw-mounts of yarn-site.xml has `{mount}`, which is not SRC:DST: every launch on the node fails",
        codes::DEFAULT_MOUNT_INVALID,
        CHECK,
    ),
    of(
        "Invalid tmpfs mount : {mount..}",
        "YARN_CONTAINER_RUNTIME_DOCKER_TMPFS_MOUNTS takes absolute paths alone, without options",
        codes::JOB_SETTING_REFUSED,
        "emr-ecr-agent check --image {image} --env YARN_CONTAINER_RUNTIME_DOCKER_TMPFS_MOUNTS={mount}",
    ),
    of(
        "Fail to read additional docker client config file from {uri}",
        "the NodeManager's user could not read {uri} as a config.json: it does not exist, is closed to that user or is a directory, is not JSON (a byte order mark counts), or is on a file system that cannot be reached",
        codes::CLIENT_CONFIG_UNREADABLE,
        CHECK_CLIENT_CONFIG,
    ),
    of(
        r#"JsonNode.has(String)" because "rootNode" is null"#,
        "the file that the job names in YARN_CONTAINER_RUNTIME_DOCKER_CLIENT_CONFIG is empty",
        codes::CLIENT_CONFIG_POISONOUS,
        CHECK_CLIENT_CONFIG,
    ),
    of(
        r#"JsonNode.asText()" because the return value of "com.fasterxml.jackson.databind.JsonNode.get(String)" is null"#,
        "an entry of the file that the job names in YARN_CONTAINER_RUNTIME_DOCKER_CLIENT_CONFIG has no `auth`, as Docker with a credential store or helper writes it: one such entry makes every launch fail",
        codes::CLIENT_CONFIG_POISONOUS,
        CHECK_CLIENT_CONFIG,
    ),
    Text {
        role: Role::CauseOfNullPointer,
        ..of(
            "at org.apache.hadoop.yarn.util.DockerClientConfigHandler.readCredentialsFromConfigFile",
            "the file that the job names in YARN_CONTAINER_RUNTIME_DOCKER_CLIENT_CONFIG is empty, or one of its entries has no `auth`: YARN threw a NullPointerException while reading it",
            codes::CLIENT_CONFIG_POISONOUS,
            CHECK_CLIENT_CONFIG,
        )
    },
    consequence(
        "DockerClientConfigHandler.readCredentialsFromConfigFile",
        "YARN failed while it read the file that the job names in YARN_CONTAINER_RUNTIME_DOCKER_CLIENT_CONFIG; the preceding exception says why",
        CHECK_CLIENT_CONFIG,
    ),
    of(
        "java.net.URISyntaxException: Illegal character in scheme name at index {}: {uri}",
        "the URI of the client config is wrapped in quotes or starts with a space",
        codes::CLIENT_CONFIG_URI,
        CHECK_CLIENT_CONFIG,
    ),
    of(
        "java.net.UnknownHostException: {host}",
        "the host `{host}` has no address; if it is the first directory of the client config's path, the URI lacks a slash: hdfs:///user/..., not hdfs://user/...",
        codes::CLIENT_CONFIG_URI,
        CHECK_CLIENT_CONFIG,
    ),
    of(
        "This token is expired. current time is {now} found {end}",
        "the node's clock is ahead: by that clock, the container's ten-minute token from the ResourceManager has already expired",
        codes::CLOCK_AHEAD,
        CHECK,
    ),
    of("id: '{user}': no such user", "the node has no user {user}", codes::USER_REFUSED, CHECK_USER),
    of("id: {user}: no such user", "the node has no user {user}", codes::USER_REFUSED, CHECK_USER),
    of(
        "uid: {id} below threshold: {threshold}",
        "the uid {id} of the job's user is below userremapping-uid-threshold={threshold} of yarn-site.xml",
        codes::USER_REFUSED,
        CHECK_USER,
    ),
    of(
        "gid: {id} below threshold: {threshold}",
        "the gid {id} of the job's user is below userremapping-gid-threshold={threshold} of yarn-site.xml",
        codes::USER_REFUSED,
        CHECK_USER,
    ),
    of(
        "Privileged container being requested but privileged containers are not enabled on this cluster",
        "privileged-containers.allowed of yarn-site.xml is not true",
        codes::PRIVILEGED_NOT_ALLOWED,
        "emr-ecr-agent check --image {image} --privileged",
    ),
    of(
        "Submitting user ({user}) fails ACL check",
        "privileged-containers.acl of yarn-site.xml does not name {user}",
        codes::PRIVILEGED_NOT_ALLOWED,
        "emr-ecr-agent check --image {image} --privileged --user {user}",
    ),
    of(
        "Requested runtime not allowed",
        "allowed-runtimes of yarn-site.xml does not name the runtime that the job asks for, or the job misspells `docker`; the job itself sees only exit code -1000",
        codes::RUNTIME_NOT_ALLOWED,
        CHECK,
    ),
    of(
        "Invalid runtime set in yarn.nodemanager.runtime.linux.allowed-runtimes : {value} : Missing configuration",
        "allowed-runtimes of yarn-site.xml names a runtime that does not exist: `{value}`; names are separated by commas",
        codes::RUNTIME_UNKNOWN,
        CHECK,
    ),
    of(
        "Default network: {network} is not in the set of allowed networks: {..}",
        "default-container-network of yarn-site.xml, {network}, is not in allowed-container-networks: the NodeManager does not start",
        codes::DEFAULT_NETWORK_NOT_ALLOWED,
        CHECK,
    ),
    of(
        "Mixing capabilities with the none keyword is not supported",
        "capabilities of yarn-site.xml has `none` together with others: the NodeManager does not start",
        codes::CAPABILITIES_MIXED,
        CHECK,
    ),
    of(
        "java.lang.ClassNotFoundException: Class org.apache.hadoop.yarn.server.nodemanager.{class} not found",
        "yarn.nodemanager.container-executor.class of yarn-site.xml names a class that does not exist, {class}: the NodeManager does not start",
        codes::WRONG_EXECUTOR_CLASS,
        CHECK,
    ),
    of(
        "Linux container executor not configured properly (error=-1)",
        "the NodeManager finds no container-executor where yarn-site.xml says it is, and does not start",
        codes::BINARY_MISSING,
        CHECK,
    ),
    of(
        "Linux container executor not configured properly (error=22)",
        "the owner, the group or the mode of the container-executor binary is wrong, and the NodeManager does not start",
        codes::BINARY_OWNER,
        CHECK,
    ),
    of(
        "Linux container executor not configured properly (error=24)",
        "container-executor rejects container-executor.cfg: a line that it cannot parse, or the owner or mode of the file or a directory above it; the NodeManager does not start",
        codes::NO_EQUALS_SIGN,
        CHECK,
    ),
    consequence(
        "Linux Container Executor reached unrecoverable exception",
        "container-executor ended with 22 or 24, and the node stays UNHEALTHY until its NodeManager restarts; the NodeManager's own log names the file at fault",
        CHECK,
    ),
    super::of(
        super::Author::NodeManager,
        "beyond the 'PHYSICAL' memory limit",
        "the container used more memory than YARN gave it, so the NodeManager killed it: raise the memory or, with Spark, spark.executor.memoryOverhead",
        None,
        "yarn logs -applicationId {application}",
    ),
    consequence(
        "Container released on a *lost* node",
        "the node of the container became unhealthy or went away; the NodeManager's log of that node says why, often a broken container-executor.cfg",
        "yarn node -list -all",
    ),
    consequence(
        "Exception from container-launch",
        "the launch failed; the lines that follow it say why",
        CHECK_IMAGE,
    ),
];

const fn of(says: &'static str, cause: &'static str, finding: Code, command: &'static str) -> Text {
    super::of(super::Author::NodeManager, says, cause, Some(finding), command)
}

const fn consequence(says: &'static str, cause: &'static str, command: &'static str) -> Text {
    super::consequence(super::Author::NodeManager, says, cause, command)
}
