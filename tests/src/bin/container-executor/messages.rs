//! The native code's messages on standard error when it refuses a launch or does not trust an image.

use hadoop_rules::executor_config::{DOCKER, ExecutorConfig, lossy};
use hadoop_rules::launch::Refusal;
use hadoop_rules::mounts::MountRefusal;
use hadoop_rules::trust::{self, Container, PrivilegedRefusal};

const SECTION: &str = "docker-command-execution";

/// An untrusted image runs without mounts and capabilities, and only these lines report it. The native code checks
/// once for the mounts and once for the capabilities.
pub(crate) fn tell_about_trust(config: &ExecutorConfig, request: &ExecutorConfig) {
    let Some(image) = request.get(SECTION, "image") else { return };
    let has_mounts = request.get(SECTION, "mounts").is_some();
    let name = lossy(image);
    if trust::is_trusted(config, Container::Normal, image) {
        // Only `library` trusts a name without a registry.
        if !image.contains(&b'/') {
            (0..1 + usize::from(has_mounts))
                .for_each(|_| say!("image: {name} is a trusted top-level image."));
        }
        return;
    }
    if has_mounts {
        complain!("image: {name} is not trusted.");
        complain!("Disable mount volume for untrusted image");
    }
    complain!("image: {name} is not trusted.");
    complain!("Disable cap-add for untrusted image");
    complain!("Docker capability disabled for untrusted image");
}

/// Prints the line before `Error constructing docker command`.
pub(crate) fn explain(config: &ExecutorConfig, request: &ExecutorConfig, refusal: &Refusal) {
    match refusal {
        Refusal::Network => {
            complain!("{}", not_permitted(config, "docker.allowed.networks", request, "net"));
            complain!("Could not find requested network in allowed networks");
        }
        Refusal::Capability => {
            complain!("{}", not_permitted(config, "docker.allowed.capabilities", request, "cap-add"));
            complain!("Invalid docker capability requested");
        }
        Refusal::Mount(mount) => explain_mount(mount),
        Refusal::Privileged(PrivilegedRefusal::NotEntryPoint) => {
            complain!("Privileged containers are disabled for non-entry-point mode");
        }
        Refusal::Privileged(_) => complain!("Privileged containers are disabled"),
        _ => {}
    }
}

/// The text in `error message='…'`.
pub(crate) fn error_message(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NotRun => "Incorrect command",
        Refusal::TooManyArguments => "Command buffer too small",
        Refusal::ContainerName => "Invalid docker container name",
        Refusal::NoUser => "Invalid docker user name",
        Refusal::ImageName => "Invalid docker image name",
        Refusal::Network => "Invalid docker network",
        Refusal::Mount(mount) => match mount {
            MountRefusal::AllowedMountMissing { .. } => "Mount access error",
            MountRefusal::Malformed { .. } | MountRefusal::SourceMissing { .. } => "Invalid mount",
            MountRefusal::ReadOnly { .. } => "Invalid read-only mount",
            MountRefusal::ReadWrite { .. } | MountRefusal::CoversConfig { .. } => "Invalid read-write mount",
            MountRefusal::Pattern(_) => "Unknown error code",
        },
        Refusal::TmpfsMount => "Invalid docker tmpfs mount",
        Refusal::Privileged(_) => "Privileged docker containers are disabled",
        Refusal::Capability => "Invalid docker capability",
        Refusal::Runtime => "Invalid docker runtime",
        Refusal::NetworkDriver | Refusal::UnknownUser => "Unknown error code",
    }
}

/// The first value under `key` that is not in the allowed list.
fn not_permitted(config: &ExecutorConfig, allowed_key: &str, request: &ExecutorConfig, key: &str) -> String {
    let allowed = config.list(DOCKER, allowed_key);
    let mut values = request.items(SECTION, key);
    let value = values.find(|value| !allowed.is_some_and(|allowed| allowed.contains(value)));
    let value = lossy(value.unwrap_or_default());
    match allowed {
        Some(_) => format!("Invalid param '{value}' requested"),
        None => format!("Invalid param '{value}' requested, permitted values list is empty"),
    }
}

fn explain_mount(refusal: &MountRefusal) {
    match refusal {
        MountRefusal::AllowedMountMissing { entry, .. } => {
            complain!("Could not determine real path of mount '{}'", lossy(entry));
            complain!("Unable to find permitted mounts on disk");
        }
        MountRefusal::Malformed { mount } => complain!("Invalid docker mount '{}'", lossy(mount)),
        MountRefusal::SourceMissing { mount } => {
            let (source, destination) = ends(mount);
            // Once for each list that could allow the mount.
            complain!("Could not determine real path of mount '{source}'");
            complain!("Could not determine real path of mount '{source}'");
            complain!("Invalid mount src='{source}', dest='{destination}'");
        }
        MountRefusal::ReadOnly { mount } | MountRefusal::ReadWrite { mount } => {
            let (source, destination) = ends(mount);
            complain!("Configuration does not allow mount src='{source}', dest='{destination}'");
        }
        MountRefusal::CoversConfig { mount } => {
            let (source, destination) = ends(mount);
            complain!(
                "Attempting to mount a parent directory of container-executor.cfg as read-write. src='{source}', dest='{destination}'"
            );
        }
        MountRefusal::Pattern(pattern) => complain!("{pattern}"),
    }
}

fn ends(mount: &[u8]) -> (String, String) {
    let mut parts = mount.split(|byte| *byte == b':').map(|part| lossy(part).into_owned());
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}
