//! What yarn-site.xml sets for launches, as the NodeManager reads it.

use hadoop_rules::mounts::RequestedMount;
use hadoop_rules::site::Resolved;

pub(super) const DEFAULT_IMAGE_KEY: &str = "yarn.nodemanager.runtime.linux.docker.image-name";
pub(super) const IMAGE_UPDATE_KEY: &str = "yarn.nodemanager.runtime.linux.docker.image-update";
pub(super) const NETWORKS_KEY: &str = "yarn.nodemanager.runtime.linux.docker.allowed-container-networks";
pub(super) const CAPABILITIES_KEY: &str = "yarn.nodemanager.runtime.linux.docker.capabilities";
pub(super) const RO_MOUNTS_KEY: &str = "yarn.nodemanager.runtime.linux.docker.default-ro-mounts";
const RW_MOUNTS_KEY: &str = "yarn.nodemanager.runtime.linux.docker.default-rw-mounts";
const DOCKER: &str = "yarn.nodemanager.runtime.linux.docker";
const RESOURCE_PLUGINS_KEY: &str = "yarn.nodemanager.resource-plugins";
const GPU_PLUGIN_KEY: &str = "yarn.nodemanager.resource-plugins.gpu.docker-plugin";
const LIMIT_USERS_KEY: &str = "yarn.nodemanager.linux-container-executor.nonsecure-mode.limit-users";
pub(super) const LOCAL_USER_KEY: &str = "yarn.nodemanager.linux-container-executor.nonsecure-mode.local-user";

/// What yarn-site.xml sets for launches; `None` where it sets nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct YarnSettings {
    pub file: String,
    pub default_network: Option<String>,
    pub networks: Vec<String>,
    pub capabilities: Option<Vec<String>>,
    pub default_mounts: Vec<RequestedMount>,
    /// The NodeManager's own directories.
    pub directories: Vec<String>,
    pub privileged_allowed: bool,
    pub privileged_acl: String,
    pub container_runtimes: Vec<String>,
    pub image_update: bool,
    /// Whether containers that name no runtime run in Docker.
    pub docker_by_default: bool,
    pub default_image: Option<String>,
    /// Whether the NodeManager puts containers into its own cgroups.
    pub uses_cgroups: bool,
    /// Whether containers that get a GPU run in Docker's runtime `nvidia`.
    pub adds_gpu_runtime: bool,
    /// The user that all jobs run as; `None` if each runs as its submitter.
    pub local_user: Option<String>,
    /// Whether containers run with the user's ids.
    pub remaps_users: bool,
    pub host_pids_allowed: bool,
    pub least_uid: u32,
    pub least_gid: u32,
}

impl YarnSettings {
    pub(super) fn read(file: &str, resolved: &Resolved, kerberos: bool) -> Self {
        let key = |name: &str| format!("{DOCKER}.{name}");
        let text = |name: &str| resolved.trimmed(&key(name)).map(str::to_owned);
        let number = |name: &str| text(name).and_then(|text| text.parse().ok()).unwrap_or(1);
        let limits_users = resolved.boolean(LIMIT_USERS_KEY).unwrap_or(true);
        let local_user = || {
            let set = resolved.trimmed(LOCAL_USER_KEY).filter(|user| !user.is_empty());
            set.unwrap_or("nobody").to_owned()
        };
        Self {
            file: file.to_owned(),
            default_network: text("default-container-network"),
            networks: networks(resolved),
            capabilities: resolved.get(CAPABILITIES_KEY).map(|_| list(resolved, CAPABILITIES_KEY)),
            default_mounts: default_mounts(resolved).filter_map(|(_, _, mount)| mount).collect(),
            directories: ["yarn.nodemanager.local-dirs", "yarn.nodemanager.log-dirs"]
                .iter()
                .flat_map(|key| list(resolved, key))
                .filter(|directory| directory.starts_with('/'))
                .collect(),
            privileged_allowed: resolved.boolean(&key("privileged-containers.allowed")) == Some(true),
            privileged_acl: text("privileged-containers.acl").unwrap_or_default(),
            container_runtimes: or_default(list(resolved, &key("allowed-container-runtimes")), &["runc"]),
            image_update: resolved.boolean(IMAGE_UPDATE_KEY) == Some(true),
            docker_by_default: resolved
                .trimmed("yarn.nodemanager.runtime.linux.type")
                .is_some_and(|kind| kind.eq_ignore_ascii_case("docker")),
            default_image: resolved
                .trimmed(DEFAULT_IMAGE_KEY)
                .filter(|image| !image.is_empty())
                .map(str::to_owned),
            uses_cgroups: uses_cgroups(resolved),
            adds_gpu_runtime: resolved.list(RESOURCE_PLUGINS_KEY).contains(&"yarn.io/gpu")
                && resolved.trimmed(GPU_PLUGIN_KEY) == Some("nvidia-docker-v2"),
            local_user: (limits_users && !kerberos).then(local_user),
            remaps_users: resolved.boolean(&key("enable-userremapping.allowed")).unwrap_or(true),
            host_pids_allowed: resolved.boolean(&key("host-pid-namespace.allowed")) == Some(true),
            least_uid: number("userremapping-uid-threshold"),
            least_gid: number("userremapping-gid-threshold"),
        }
    }
}

fn uses_cgroups(resolved: &Resolved) -> bool {
    const HANDLER_KEY: &str = "yarn.nodemanager.linux-container-executor.resources-handler.class";
    let is_on =
        |kind: &&str| resolved.boolean(&format!("yarn.nodemanager.resource.{kind}.enabled")) == Some(true);
    let handler = resolved.trimmed(HANDLER_KEY).and_then(|class| class.rsplit('.').next());
    handler == Some("CgroupsLCEResourcesHandler") || ["cpu", "memory", "disk", "network"].iter().any(is_on)
}

pub(super) fn list(resolved: &Resolved, key: &str) -> Vec<String> {
    resolved.list(key).into_iter().filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

fn or_default(list: Vec<String>, default: &[&str]) -> Vec<String> {
    if list.is_empty() { default.iter().map(|&item| item.to_owned()).collect() } else { list }
}

pub(super) fn networks(resolved: &Resolved) -> Vec<String> {
    or_default(list(resolved, NETWORKS_KEY), &["host", "none", "bridge"])
}

/// Key, text, and the mount that the NodeManager reads from it: only `source:destination` is one.
pub(super) fn default_mounts(
    resolved: &Resolved,
) -> impl Iterator<Item = (&'static str, String, Option<RequestedMount>)> {
    [(RO_MOUNTS_KEY, "ro"), (RW_MOUNTS_KEY, "rw")].into_iter().flat_map(move |(key, mode)| {
        list(resolved, key).into_iter().map(move |text| {
            let parts: Vec<&str> = text.split(':').filter(|part| !part.is_empty()).collect();
            let mount = match parts[..] {
                [source, destination] => Some(RequestedMount {
                    source: source.to_owned(),
                    destination: destination.to_owned(),
                    mode: mode.to_owned(),
                }),
                _ => None,
            };
            (key, text, mount)
        })
    })
}
