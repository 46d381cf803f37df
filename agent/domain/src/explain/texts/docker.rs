//! What the docker command and its daemon write.

use super::{CHECK, CHECK_IMAGE, CHECK_MOUNT, CHECK_NETWORK, Role, STATUS, Text};
use crate::findings::{Code, codes};

pub(super) const TEXTS: &[Text] = &[
    of(
        "docker: Error response from daemon: {}no basic auth credentials",
        "docker found no credential under the image's registry: the job names no published file in YARN_CONTAINER_RUNTIME_DOCKER_CLIENT_CONFIG (executors and application master each need it), or the file has no entry of exactly that host and port",
        codes::ECR_CREDENTIAL_MISSING,
        CHECK_IMAGE,
    ),
    of(
        "no basic auth credentials",
        "docker found no credential under the image's registry; if image-update is on, the NodeManager pulls before each launch with root's own Docker config, not with the job's file",
        codes::IMAGE_UPDATE_WITHOUT_CREDENTIAL,
        CHECK_IMAGE,
    ),
    of(
        "authorization token has expired",
        "the ECR token that docker was given has expired: nothing renews the file that the job names",
        codes::CREDENTIAL_EXPIRED,
        STATUS,
    ),
    of(
        "unauthorized: authentication required",
        "the registry refused the credential: it is wrong or has expired",
        codes::CREDENTIAL_EXPIRED,
        STATUS,
    ),
    of(
        "unauthorized: incorrect username or password",
        "the registry refused the credential: user or password is wrong",
        codes::PULL_REFUSED,
        CHECK_IMAGE,
    ),
    of(
        "not authorized to perform: ecr:GetAuthorizationToken",
        "the AWS role of this node may not request an authorization token",
        codes::IAM_ACTION_MISSING,
        STATUS,
    ),
    of(
        "not authorized to perform: {action} on resource",
        "the credential is valid, but its role, or the policy of the other account's repository, does not allow {action}",
        codes::PULL_REFUSED,
        CHECK_IMAGE,
    ),
    // Docker begins with these words whenever a registry refuses; what the registry itself says comes behind.
    Text {
        role: Role::LoneCause,
        ..of(
            "pull access denied for {image},",
            "the registry has no repository of that name for this credential: the name is wrong, or the policy does not allow the pull",
            codes::PULL_REFUSED,
            CHECK_IMAGE,
        )
    },
    Text {
        role: Role::LoneCause,
        ..of(
            "denied: requested access to the resource is denied",
            "the registry does not allow this credential to pull the image",
            codes::PULL_REFUSED,
            CHECK_IMAGE,
        )
    },
    Text {
        role: Role::Consequence,
        ..without_finding(
            "pull access denied for {image}, repository does not exist",
            "the registry refused the pull; the rest of the line says why",
            CHECK_IMAGE,
        )
    },
    of(
        "Error response from daemon: {}403 Forbidden",
        "the registry knows the credential and does not allow it to pull the image",
        codes::PULL_REFUSED,
        CHECK_IMAGE,
    ),
    of(
        "error parsing HTTP 403 response body",
        "the registry, or a proxy in front of it, does not allow this credential to pull the image, and does not say why",
        codes::PULL_REFUSED,
        CHECK_IMAGE,
    ),
    of(
        "illegal base64 data at input byte",
        "an `auth` in the config.json is not base64: docker drops it and, since it reads entries in random order, may drop others",
        codes::CREDENTIAL_INVALID,
        CHECK_IMAGE,
    ),
    of("manifest for {image} not found", "the registry has no such tag", codes::IMAGE_NOT_FOUND, CHECK_IMAGE),
    of("manifest unknown", "the registry has no such tag", codes::IMAGE_NOT_FOUND, CHECK_IMAGE),
    of(
        "The repository with name '{repository}' does not exist in the registry",
        "ECR has no repository {repository} in that account and Region",
        codes::IMAGE_NOT_FOUND,
        CHECK_IMAGE,
    ),
    of(
        "no matching manifest for {platform} in the manifest list",
        "the image is not built for {platform}, the architecture of this node",
        codes::ARCHITECTURE_DIFFERS,
        CHECK_IMAGE,
    ),
    of("No such image: {image}", "no image of that id is on the node", codes::IMAGE_NOT_FOUND, CHECK_IMAGE),
    of(
        "proxyconnect tcp: {..}",
        "docker cannot reach the proxy in its daemon's settings",
        codes::REGISTRY_UNREACHABLE,
        "systemctl show --property=Environment docker",
    ),
    of(
        "dial tcp: lookup {host} on {server}: no such host",
        "the registry's host name {host} has no address on this node: it is misspelt, or its VPC endpoint or DNS is missing",
        codes::REGISTRY_UNREACHABLE,
        CHECK_IMAGE,
    ),
    of(
        "dial tcp: lookup {host}: no such host",
        "the registry's host name {host} has no address on this node: it is misspelt, or its VPC endpoint or DNS is missing",
        codes::REGISTRY_UNREACHABLE,
        CHECK_IMAGE,
    ),
    of(
        "Error response from daemon: {}x509: {..}",
        "the node does not trust the registry's certificate",
        codes::REGISTRY_UNREACHABLE,
        CHECK_IMAGE,
    ),
    of(
        "Error response from daemon: {}: connect: connection refused",
        "nothing listens at the registry's address",
        codes::REGISTRY_UNREACHABLE,
        CHECK_IMAGE,
    ),
    of(
        "Error response from daemon: {}: connect: network is unreachable",
        "the node has no route to the registry: check the subnet's routes and the VPC endpoint `ecr.dkr`",
        codes::REGISTRY_UNREACHABLE,
        CHECK_IMAGE,
    ),
    of(
        "Error response from daemon: {}: connect: no route to host",
        "the node has no route to the registry: check the subnet's routes and the VPC endpoint `ecr.dkr`",
        codes::REGISTRY_UNREACHABLE,
        CHECK_IMAGE,
    ),
    of(
        "Error response from daemon: {}: connection reset by peer",
        "the registry, or a firewall or proxy in front of it, closed the connection",
        codes::REGISTRY_UNREACHABLE,
        CHECK_IMAGE,
    ),
    of(
        "Error response from daemon: {}: context deadline exceeded",
        "the registry does not answer in time: check routes, security groups and the VPC endpoint `ecr.dkr`",
        codes::REGISTRY_UNREACHABLE,
        CHECK_IMAGE,
    ),
    of(
        "Error response from daemon: {}i/o timeout",
        "the registry cannot be reached from this node: check routes, security groups and the VPC endpoint `ecr.dkr`",
        codes::REGISTRY_UNREACHABLE,
        CHECK_IMAGE,
    ),
    of(
        "Client.Timeout exceeded while awaiting headers",
        "the registry, or the node's DNS, does not answer: check routes, security groups, DNS and the VPC endpoint `ecr.dkr`",
        codes::REGISTRY_UNREACHABLE,
        CHECK_IMAGE,
    ),
    of(
        "Error response from daemon: {}TLS handshake timeout",
        "the registry did not answer in time",
        codes::REGISTRY_UNREACHABLE,
        CHECK_IMAGE,
    ),
    without_finding(
        "toomanyrequests: {..}",
        "the registry limits how often this address or account pulls",
        "emr-ecr-agent check --image {image} --offline",
    ),
    of(
        "received unexpected HTTP status: {status..}",
        "the registry, or a proxy in front of it, returned {status}",
        codes::REGISTRY_UNREACHABLE,
        CHECK_IMAGE,
    ),
    without_finding(
        "docker: unexpected EOF.",
        "the connection to the Docker daemon broke while it pulled the image: the daemon was killed or restarted",
        "systemctl status docker",
    ),
    of(
        r#"docker: Get "{url}": EOF."#,
        "the registry, or a proxy in between, cut off the transfer of a layer and all of Docker's retries",
        codes::REGISTRY_UNREACHABLE,
        CHECK_IMAGE,
    ),
    without_finding(
        "no space left on device",
        "a disk of the node is full, often Docker's data root",
        "df -h",
    ),
    of(
        "docker: invalid reference format",
        "the image's name does not follow Docker's grammar: an empty part (`//`), a part that ends in a separator, or a host that ends in a dot",
        codes::IMAGE_INVALID,
        CHECK_IMAGE,
    ),
    of(
        "repository name must not be more than 255 characters",
        "the image's name is too long for Docker",
        codes::IMAGE_INVALID,
        CHECK_IMAGE,
    ),
    of(
        r#"invalid argument "{}" for "-{}" flag"#,
        "the image's name begins with `-`, which docker takes for an option",
        codes::IMAGE_INVALID,
        CHECK_IMAGE,
    ),
    of(
        "Duplicate mount point: {destination}",
        "two mounts have the same destination; the NodeManager's own default mounts count, such as /etc/passwd",
        codes::MOUNT_IMPOSSIBLE,
        CHECK_IMAGE,
    ),
    of(
        "path {source} is mounted on {mount} but it is not a shared",
        "the mount asks for the propagation `shared` or `slave`, but the node mounts {mount} privately",
        codes::MOUNT_IMPOSSIBLE,
        CHECK_IMAGE,
    ),
    of(
        "invalid volume specification: '{mount}': {}destination can't be '/'",
        "a container cannot have `/` as the destination of a mount",
        codes::MOUNT_IMPOSSIBLE,
        CHECK_MOUNT,
    ),
    of(
        "invalid volume specification: '{mount}': {}mount path must be absolute",
        "the destination of the mount does not begin with `/`",
        codes::MOUNT_IMPOSSIBLE,
        CHECK_MOUNT,
    ),
    of(
        r#"error mounting "{source}" to rootfs at "{destination}": {}not a directory"#,
        "a file is mounted over a directory of the image, or a directory over a file",
        codes::MOUNT_IMPOSSIBLE,
        CHECK_IMAGE,
    ),
    of(
        r#"error mounting "{source}" to rootfs at "{destination}": {}read-only file system"#,
        "the mount is below another mount that is read-only, so docker cannot create {destination}",
        codes::MOUNT_IMPOSSIBLE,
        CHECK_IMAGE,
    ),
    of(
        "invalid CapAdd: unknown capability",
        "yarn-site.xml asks for a capability that Docker does not know",
        codes::CAPABILITY_UNKNOWN,
        CHECK,
    ),
    of(
        "No such network: {network}",
        "Docker on this node has no network {network}",
        codes::NETWORK_UNKNOWN,
        CHECK_NETWORK,
    ),
    of(
        "Cannot connect to the Docker daemon at {address}",
        "the Docker daemon is down, or does not listen at {address}",
        codes::DOCKER_UNREACHABLE,
        "systemctl status docker",
    ),
    without_finding(
        "unable to find user {user}: no matching entries in passwd file",
        "the image's /etc/passwd has no user {user}, and the job does not mount the node's",
        "emr-ecr-agent submit-args --image {image}",
    ),
    of(
        "exec format error",
        "the program is built for a different architecture than this node's",
        codes::ARCHITECTURE_DIFFERS,
        CHECK_IMAGE,
    ),
    without_finding(
        r#"exec: "{program}": executable file not found in $PATH"#,
        "the image has no program `{program}`; in entry-point mode, docker treats the job's whole command as one word",
        "docker image inspect {image}",
    ),
    without_finding(
        r#"exec: "{program}": stat {}: no such file or directory"#,
        "the image has no program `{program}`",
        "docker image inspect {image}",
    ),
    Text {
        role: Role::Consequence,
        ..without_finding(
            "Unable to find image '{image}' locally",
            "the image is not on the node, so docker pulls it",
            CHECK_IMAGE,
        )
    },
];

const fn of(says: &'static str, cause: &'static str, finding: Code, command: &'static str) -> Text {
    super::of(super::Author::Docker, says, cause, Some(finding), command)
}

const fn without_finding(says: &'static str, cause: &'static str, command: &'static str) -> Text {
    super::of(super::Author::Docker, says, cause, None, command)
}
