//! What container-executor writes to its standard output and error. Texts that Hadoop 3.2 words differently have an
//! entry for each wording.

use super::{CHECK, CHECK_IMAGE, CHECK_MOUNT, CHECK_USER, Text};
use crate::findings::{Code, codes};

pub(super) const TEXTS: &[Text] = &[
    of(
        "image: {image} is not trusted",
        "no entry of docker.trusted.registries is the beginning of {image} up to a `/`, so the container gets no mounts, and its launch script is missing in it (exit code 127)",
        codes::IMAGE_NOT_TRUSTED,
        CHECK_IMAGE,
    ),
    consequence(
        "Disable mount volume for untrusted image",
        "the container of an untrusted image gets no mounts",
        CHECK_IMAGE,
    ),
    consequence(
        "Disable cap-add for untrusted image",
        "the container of an untrusted image gets no capabilities",
        CHECK_IMAGE,
    ),
    consequence(
        "Docker capability disabled for untrusted image",
        "the container of an untrusted image drops every capability",
        CHECK_IMAGE,
    ),
    of(
        "Feature disabled: docker",
        "module.enabled in the section [docker] of container-executor.cfg is not exactly `true`",
        codes::DOCKER_OFF,
        CHECK,
    ),
    of(
        "configuration tokenization failed, error with line {line..}",
        "container-executor.cfg has a line that is neither empty, a comment in the first column, a section header nor `key=value`: `{line}`",
        codes::NO_EQUALS_SIGN,
        CHECK,
    ),
    consequence("Error parsing line", "container-executor.cfg has a line that Hadoop cannot parse", CHECK),
    of(
        "Can't get configured value for yarn.nodemanager.linux-container-executor.group",
        "container-executor.cfg names no group of the NodeManager above its first section: the key is absent, in a section, or behind a byte order mark",
        codes::GROUP_MISSING,
        CHECK,
    ),
    of(
        "Can't get group information for {group}",
        "the group {group} of container-executor.cfg does not exist on the node",
        codes::GROUP_UNKNOWN,
        CHECK,
    ),
    of(
        "Empty configuration file provided",
        "container-executor.cfg sets nothing",
        codes::NOTHING_CONFIGURED,
        CHECK,
    ),
    of(
        "File {file} must not be world or group writable, but is {mode}",
        "{file} has mode {mode}: container-executor.cfg and every directory above it must be writable by their owner alone",
        codes::CONFIG_WRITABLE,
        CHECK,
    ),
    of(
        "File {file} must be owned by root, but is owned by {owner}",
        "{file} is owned by uid {owner}: root must own container-executor.cfg and every directory above it",
        codes::CONFIG_OWNER,
        CHECK,
    ),
    of(
        "Configuration file {file} not found",
        "{file} does not exist, or the NodeManager's user cannot enter a directory above it",
        codes::CONFIG_MISSING,
        CHECK,
    ),
    of(
        "Line read returned -1 without eof",
        "container-executor.cfg is a directory",
        codes::CONFIG_IS_DIRECTORY,
        CHECK,
    ),
    of(
        "The container-executor binary should be user-owned by root",
        "the container-executor binary is not owned by root",
        codes::BINARY_OWNER,
        CHECK,
    ),
    of(
        "The configured nodemanager group {group} is different from the group of the executable {other}",
        "the container-executor binary belongs to the group {other}, container-executor.cfg names {group}",
        codes::BINARY_GROUP,
        CHECK,
    ),
    of(
        "The container-executor binary should not have {}for others",
        "the mode of the container-executor binary lets others use it",
        codes::BINARY_OPEN_TO_OTHERS,
        CHECK,
    ),
    of(
        "The container-executor binary should be set setuid",
        "the mode of the container-executor binary lacks setuid",
        codes::BINARY_NOT_SETUID,
        CHECK,
    ),
    of(
        "Invalid permissions on container-executor binary",
        "the owner, the group or the mode of the container-executor binary is wrong: they must be root, the group that container-executor.cfg names, and 6050",
        codes::BINARY_OWNER,
        CHECK,
    ),
    consequence(
        "Could not determine real path of mount '{mount}'",
        "{mount} does not exist on the node, or the NodeManager's user cannot reach it",
        CHECK,
    ),
    of(
        "Unable to find permitted mounts on disk",
        "`{mount}` in docker.allowed.ro-mounts or docker.allowed.rw-mounts is not a path on this node that the NodeManager's user can reach: it does not exist, starts with a space, or ends with a mode",
        codes::MOUNT_LIST_BREAKS_LAUNCHES,
        CHECK,
    ),
    of(
        "Invalid mount src='{source}', dest='{destination}'",
        "{source}, which is to be mounted, does not exist on the node, or the NodeManager's user cannot reach it",
        codes::MOUNT_REFUSED,
        "emr-ecr-agent check --image {image} --mount {source}:{destination}:ro",
    ),
    of(
        "Configuration does not allow mount src='{source}', dest='{destination}'",
        "{source} is in no list of container-executor.cfg that allows the mount: docker.allowed.ro-mounts or rw-mounts for `ro`, docker.allowed.rw-mounts for `rw`; the NodeManager's local and log directories need rw",
        codes::MOUNT_REFUSED,
        "emr-ecr-agent check --image {image} --mount {source}:{destination}:ro",
    ),
    of(
        "Configuration does not allow docker mount '{mount}', realpath={source}",
        "{source} is in no list of container-executor.cfg that allows the mount: docker.allowed.ro-mounts or rw-mounts for `ro`, docker.allowed.rw-mounts for `rw`",
        codes::MOUNT_REFUSED,
        CHECK_MOUNT,
    ),
    of(
        "Attempting to mount a parent directory of container-executor.cfg as read-write",
        "a mount with `rw` would let the container change container-executor.cfg",
        codes::MOUNT_REFUSED,
        CHECK_IMAGE,
    ),
    of(
        "Invalid docker mount '{mount}'",
        "container-executor cannot read the mount `{mount}`: a `=` or `#` cuts the list there, or its source does not exist",
        codes::MOUNT_REFUSED,
        CHECK_IMAGE,
    ),
    of(
        "error message='Invalid docker image name'",
        "container-executor does not accept the image's name; a digest (`@sha256:...`) counts as part of it",
        codes::IMAGE_BY_DIGEST,
        CHECK_IMAGE,
    ),
    of(
        "Could not find requested network in allowed networks",
        "docker.allowed.networks of container-executor.cfg does not name the network `{value}`, byte by byte: a space after a comma is part of the name",
        codes::NETWORK_REFUSED,
        "emr-ecr-agent check --image {image} --network {value}",
    ),
    of(
        "Invalid docker capability requested",
        "docker.allowed.capabilities of container-executor.cfg does not name the capability `{value}`, byte by byte, which yarn-site.xml asks for",
        codes::CAPABILITY_REFUSED,
        CHECK,
    ),
    consequence(
        "Invalid param '{value}' requested",
        "a list of container-executor.cfg does not allow `{value}`",
        CHECK,
    ),
    of(
        "Requested user {user} is banned",
        "banned.users of container-executor.cfg names {user}",
        codes::USER_REFUSED,
        CHECK_USER,
    ),
    of(
        "Requested user {user} is not whitelisted and has id {id},which is below the minimum allowed {minimum}",
        "the uid {id} of {user} is below min.user.id={minimum}, and allowed.system.users does not name the user",
        codes::USER_REFUSED,
        CHECK_USER,
    ),
    of(
        "Illegal value of {value} for min.user.id in configuration",
        "min.user.id={value} is not a number, which makes every launch fail",
        codes::MINIMUM_ID_INVALID,
        CHECK,
    ),
    of(
        "failed to execute docker command! error: {..}",
        "docker.binary of container-executor.cfg is not a program that root can run; the path is used literally, including quotes",
        codes::DOCKER_BINARY_MISSING,
        CHECK,
    ),
    of(
        "Privileged containers are disabled for non-entry-point mode",
        "a privileged container must run its image's entry point: YARN_CONTAINER_RUNTIME_DOCKER_RUN_OVERRIDE_DISABLE=true",
        codes::PRIVILEGED_REFUSED,
        "emr-ecr-agent check --image {image} --privileged",
    ),
    of(
        "Privileged containers are disabled from untrusted source",
        "docker.privileged-containers.registries has no entry for the image",
        codes::PRIVILEGED_REFUSED,
        "emr-ecr-agent check --image {image} --privileged",
    ),
    of(
        "Privileged containers are disabled for user: {user}",
        "the user {user} may run neither docker nor sudo on the node, which privileged containers need",
        codes::PRIVILEGED_REFUSED,
        "emr-ecr-agent check --image {image} --privileged --user {user}",
    ),
    of(
        "Privileged containers are disabled",
        "docker.privileged-containers.enabled of container-executor.cfg is off",
        codes::PRIVILEGED_REFUSED,
        "emr-ecr-agent check --image {image} --privileged",
    ),
    consequence(
        "Could not inspect docker network to get type",
        "Docker did not describe the network: none has that name, or the daemon is down",
        CHECK_IMAGE,
    ),
    consequence(
        "Could not inspect docker to get pid",
        "the container ended before container-executor could ask for its process: its own standard error says why",
        "yarn logs -applicationId APPLICATION -log_files stderr",
    ),
];

const fn of(says: &'static str, cause: &'static str, finding: Code, command: &'static str) -> Text {
    super::of(super::Author::ContainerExecutor, says, cause, Some(finding), command)
}

const fn consequence(says: &'static str, cause: &'static str, command: &'static str) -> Text {
    super::consequence(super::Author::ContainerExecutor, says, cause, command)
}
