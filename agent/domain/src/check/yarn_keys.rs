//! Keys and values of yarn-site.xml that the NodeManager ignores, or that stop it.

use hadoop_rules::site::{Resolved, Site};

use super::yarn_settings::{DEFAULT_IMAGE_KEY, YarnSettings};
use crate::emr::AUTO_AUTH_KEY;
use crate::findings::{Code, Finding, Findings, Fix, codes};

const RUNTIME: &str = "yarn.nodemanager.runtime.linux.";
/// Keys that the Linux runtimes read, in any version up to 3.4 and on EMR.
const KEYS: [&str; 22] = [
    "yarn.nodemanager.runtime.linux.allowed-runtimes",
    "yarn.nodemanager.runtime.linux.type",
    "yarn.nodemanager.runtime.linux.docker.allowed-container-networks",
    "yarn.nodemanager.runtime.linux.docker.allowed-container-runtimes",
    "yarn.nodemanager.runtime.linux.docker.capabilities",
    "yarn.nodemanager.runtime.linux.docker.default-container-network",
    "yarn.nodemanager.runtime.linux.docker.default-ro-mounts",
    "yarn.nodemanager.runtime.linux.docker.default-rw-mounts",
    "yarn.nodemanager.runtime.linux.docker.default-tmpfs-mounts",
    "yarn.nodemanager.runtime.linux.docker.delayed-removal.allowed",
    "yarn.nodemanager.runtime.linux.docker.docker-client-credential-provider.class",
    AUTO_AUTH_KEY,
    "yarn.nodemanager.runtime.linux.docker.enable-userremapping.allowed",
    "yarn.nodemanager.runtime.linux.docker.host-pid-namespace.allowed",
    "yarn.nodemanager.runtime.linux.docker.image-file",
    DEFAULT_IMAGE_KEY,
    "yarn.nodemanager.runtime.linux.docker.image-update",
    "yarn.nodemanager.runtime.linux.docker.privileged-containers.acl",
    "yarn.nodemanager.runtime.linux.docker.privileged-containers.allowed",
    "yarn.nodemanager.runtime.linux.docker.stop.grace-period",
    "yarn.nodemanager.runtime.linux.docker.userremapping-gid-threshold",
    "yarn.nodemanager.runtime.linux.docker.userremapping-uid-threshold",
];
/// Keys of other runtimes are not checked.
const OTHERS: [&str; 2] =
    ["yarn.nodemanager.runtime.linux.runc.", "yarn.nodemanager.runtime.linux.sandbox-mode"];
const TYPE_KEY: &str = "yarn.nodemanager.runtime.linux.type";
const HEALTH_SCRIPTS_KEY: &str = "yarn.nodemanager.health-checker.scripts";
const MOST_UNKNOWN: usize = 25;

pub(super) fn check(
    file: &str,
    site: &Site,
    resolved: &Resolved,
    settings: &YarnSettings,
    found: &mut Findings,
) {
    let finding = |code: Code, key: &str, message: String, fix: &str| {
        let finding = Finding::new(code, message).fix(Fix::manual(fix)).about(key.as_bytes());
        match site.property(key) {
            Some(property) => finding.in_file(&property.origin.file).at(property.origin.line),
            None => finding.in_file(file),
        }
    };
    let of_linux = resolved.values().keys().filter(|key| key.starts_with(RUNTIME));
    let unknown = of_linux
        .filter(|key| !KEYS.contains(&key.as_str()) && !OTHERS.iter().any(|other| key.starts_with(other)));
    for key in unknown.take(MOST_UNKNOWN) {
        let nearest = KEYS.into_iter().min_by_key(|known| strsim::levenshtein(key, known));
        let near = nearest.filter(|known| strsim::levenshtein(key, known) <= known.len() / 8);
        let meant = near.map_or_else(String::new, |known| format!("; {known} was probably meant"));
        let message = format!("the NodeManager reads no {key}{meant}");
        found.add(finding(codes::SITE_KEY_UNKNOWN, key, message, "correct the name, or remove the property"));
    }
    for (key, fault) in resolved.faults().iter().filter(|(key, _)| key.starts_with("yarn.nodemanager.")) {
        let message = format!("{key} cannot be read: {fault}");
        let fix = "write the value without variables that refer to each other";
        found.add(finding(codes::SITE_VALUE_UNRESOLVABLE, key, message, fix));
    }
    if settings.docker_by_default && settings.default_image.is_none() {
        let message = format!("{TYPE_KEY} is docker, but image-name is not set");
        let fix = format!("set {DEFAULT_IMAGE_KEY}, or let jobs choose Docker by themselves");
        found.add(finding(codes::DEFAULT_IMAGE_MISSING, TYPE_KEY, message, &fix));
    }
    let scripts = resolved.list(HEALTH_SCRIPTS_KEY);
    if scripts.iter().filter(|script| !script.is_empty()).count() > 1 {
        let message =
            format!("{HEALTH_SCRIPTS_KEY} names {}, of which only the first runs", scripts.join(","));
        let fix = "let one script call the others";
        found.add(finding(codes::HEALTH_SCRIPTS_IGNORED, HEALTH_SCRIPTS_KEY, message, fix));
    }
}
