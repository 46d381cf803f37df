//! What a job requests apart from its image, checked by the NodeManager's rules and by those of container-executor
//! that do not depend on the image.

use hadoop_rules::executor_config::{ExecutorConfig, lossy};
use hadoop_rules::mounts::{self, RequestError, RequestedMount};
use hadoop_rules::users::{self, UserRefusal};

use super::inputs::{Account, Inputs};
use super::launch::{check_network, unknown_network};
use super::request::{ENTRY_POINT, HOSTNAME, PID_NAMESPACE, RUNTIME, Request, TMPFS, TYPE};
use super::spark::job_outside_docker;
use super::yarn_settings::YarnSettings;
use crate::findings::{Effect, Finding, Findings, Fix, codes};

/// Checks the request against yarn-site.xml, container-executor.cfg and the node.
pub(super) fn check(
    path: &str,
    config: Option<&ExecutorConfig>,
    settings: Option<&YarnSettings>,
    inputs: &Inputs<'_>,
    request: &Request,
) -> Findings {
    let mut found = Findings::default();
    let runtime = request.environment.iter().find(|(name, _)| name == TYPE);
    if let Some((_, value)) = runtime.filter(|(_, value)| value != "docker") {
        found.add(job_outside_docker(format!("{TYPE} is `{value}`, not `docker`")));
    }
    if let Some(config) = config {
        check_native_network(path, config, settings, inputs, request, &mut found);
    }
    if let Some(settings) = settings {
        check_network_of_job(settings, request, &mut found);
        check_privileges(settings, request, &mut found);
        check_environment(settings, request, &mut found);
    }
    if let (Some(user), Some(config)) = (&request.user, config) {
        check_user(path, user, config, settings, inputs, &mut found);
    }
    found
}

/// What the job's launches depend on and cannot be checked here.
pub(super) fn unknown(
    config: Option<&ExecutorConfig>,
    settings: Option<&YarnSettings>,
    inputs: &Inputs<'_>,
    request: &Request,
) -> Vec<String> {
    let open = request.open.iter();
    let mut unknown: Vec<_> = open.map(|(name, value)| format!("the value of `{value}` in {name}")).collect();
    if let (Some(job_user), Some(config), None) = (&request.user, config, &inputs.node) {
        let user = run_as(settings, job_user);
        if let Err(UserRefusal::Unknown { .. }) = users::check(config, user.as_bytes(), None) {
            let least = users::minimum_id(config).unwrap_or_default();
            unknown.push(format!("whether the nodes have a user {user}, with an id of at least {least}"));
        }
    }
    if request.is_set(ENTRY_POINT) {
        unknown.push("whether the image's entry point runs what the job passes to it".to_owned());
    }
    if settings.is_some_and(|settings| !settings.remaps_users) {
        unknown.push("whether the image's own /etc/passwd has the user".to_owned());
    }
    unknown
}

fn check_native_network(
    path: &str,
    config: &ExecutorConfig,
    settings: Option<&YarnSettings>,
    inputs: &Inputs<'_>,
    request: &Request,
    found: &mut Findings,
) {
    let Some(network) = &request.network else { return };
    if settings.is_none_or(|settings| settings.networks.contains(network)) {
        check_network(path, config, network, Effect::ImageLaunchesFail, found);
    }
    let networks = inputs.node.as_ref().and_then(|node| node.docker.as_ref()).map(|docker| &docker.networks);
    if networks.and_then(|networks| networks.get(network)) == Some(&false) {
        found.add(unknown_network(network));
    }
}

fn check_network_of_job(settings: &YarnSettings, request: &Request, found: &mut Findings) {
    let Some(network) = &request.network else { return };
    if !settings.networks.contains(network) {
        let message = format!(
            "the job asks for the network `{network}`, which is not among {}",
            settings.networks.join(",")
        );
        let fix = Fix::manual("name one of them, or allow it in allowed-container-networks of yarn-site.xml");
        found.add(Finding::new(codes::NETWORK_NOT_ALLOWED, message).fix(fix).in_file(&settings.file));
    }
}

fn check_privileges(settings: &YarnSettings, request: &Request, found: &mut Findings) {
    if !request.privileged {
        return;
    }
    let refused = |message: &str| {
        let fix = Fix::manual(
            "run the job without privileges, or set privileged-containers.allowed and .acl in yarn-site.xml",
        );
        Finding::new(codes::PRIVILEGED_NOT_ALLOWED, message).fix(fix).in_file(&settings.file)
    };
    if !settings.privileged_allowed {
        found.add(refused("yarn-site.xml does not allow privileged containers"));
        return;
    }
    let (users, _groups) = settings.privileged_acl.split_once(' ').unwrap_or((&settings.privileged_acl, ""));
    let is_listed = |user: &String| users == "*" || users.split(',').any(|listed| listed.trim() == user);
    if let Some(user) = request.user.as_ref().filter(|user| !is_listed(user)) {
        found.add(refused(&format!("the ACL for privileged containers does not name the user {user}")));
    }
    if !request.is_set(ENTRY_POINT) && request.user.is_some() {
        found.add(refused(&format!(
            "privileged containers run their image's entry point only, so the job must set {ENTRY_POINT}=true"
        )));
    }
}

fn check_environment(settings: &YarnSettings, request: &Request, found: &mut Findings) {
    let mut refuse = |name: &str, why: String| {
        let message = format!("{name}: {why}");
        let fix = Fix::manual("correct the variable, or leave it out");
        let finding = Finding::new(codes::JOB_SETTING_REFUSED, message).fix(fix);
        found.add(finding.about(name.as_bytes()));
    };
    for (name, value) in &request.environment {
        match name.as_str() {
            TMPFS => {
                let is_path = |mount: &str| mount.starts_with('/') && !mount.contains(':') && mount.len() > 1;
                if let Some(mount) = value.split(',').find(|mount| !is_path(mount)) {
                    refuse(name, format!("`{mount}` is not an absolute path without options"));
                }
            }
            RUNTIME if !settings.container_runtimes.contains(value) => {
                let allowed = settings.container_runtimes.join(",");
                refuse(name, format!("`{value}` is not among the allowed-container-runtimes {allowed}"));
            }
            PID_NAMESPACE if value != "host" => {
                refuse(name, format!("`{value}` is not `host`, the only value that YARN accepts"));
            }
            PID_NAMESPACE if !settings.host_pids_allowed => {
                refuse(name, "host-pid-namespace.allowed of yarn-site.xml is not true".to_owned());
            }
            HOSTNAME if !is_host_name(value) => {
                refuse(name, format!("`{value}` is not a host name that Docker accepts"));
            }
            _ => {}
        }
    }
}

fn is_host_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    name.len() > 1 && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(allowed)
}

/// The user that the containers run as.
fn run_as<'u>(settings: Option<&'u YarnSettings>, job_user: &'u str) -> &'u str {
    settings.and_then(|settings| settings.local_user.as_deref()).unwrap_or(job_user)
}

fn check_user(
    path: &str,
    job_user: &str,
    config: &ExecutorConfig,
    settings: Option<&YarnSettings>,
    inputs: &Inputs<'_>,
    found: &mut Findings,
) {
    if settings.is_some_and(|settings| settings.local_user.is_some()) {
        // All jobs run as one user, which the check of yarn-site.xml covers.
        return;
    }
    if let Some(refusal) = user_refusal(job_user, config, settings, inputs) {
        let fix = Fix::manual(
            "submit as another user, or change the limits: banned.users, min.user.id and allowed.system.users \
             in container-executor.cfg, the thresholds of user remapping in yarn-site.xml",
        );
        found.add(Finding::new(codes::USER_REFUSED, refusal).fix(fix).in_file(path));
    }
}

/// Why this user's containers do not start, if known here.
pub(super) fn user_refusal(
    user: &str,
    config: &ExecutorConfig,
    settings: Option<&YarnSettings>,
    inputs: &Inputs<'_>,
) -> Option<String> {
    let account = inputs.node.as_ref().and_then(|_| inputs.machine.account(user.as_bytes()));
    // The check of container-executor.cfg reports a value that is not a number.
    let minimum = users::minimum_id(config).unwrap_or(users::MINIMUM_ID);
    match users::check_from(minimum, config, user.as_bytes(), account.map(|account| account.uid)) {
        // Which users the nodes have is not known.
        Err(UserRefusal::Unknown { .. }) if inputs.node.is_none() => return None,
        Err(refusal) => return Some(refusal.to_string()),
        Ok(()) => {}
    }
    let settings = settings.filter(|settings| settings.remaps_users)?;
    let Account { uid, gid } = account?;
    let below = |(kind, id, threshold)| {
        (id < threshold).then(|| format!("{kind} {id} of user {user} is below the threshold {threshold}"))
    };
    [("uid", uid, settings.least_uid), ("gid", gid, settings.least_gid)].into_iter().find_map(below)
}

/// The job's mounts as the NodeManager passes them on; `None` and a finding if it rejects them.
pub(super) fn mounts(request: &Request, found: &mut Findings) -> Option<Vec<RequestedMount>> {
    if request.mounts.is_empty() {
        return Some(Vec::new());
    }
    let list = lossy(&request.mounts.join(&b","[..])).into_owned();
    let error = match mounts::parse_list(&list) {
        Ok(mounts) => return Some(mounts),
        Err(error) => error,
    };
    let fix = match error {
        RequestError::NotUnderstood { .. } => {
            Fix::manual("write SRC:DST, SRC:DST:ro or SRC:DST:rw, separated only by commas")
        }
        RequestError::Relative { .. } => Fix::manual("name the source by its absolute path on the node"),
    };
    found.add(Finding::new(codes::MOUNT_NOT_UNDERSTOOD, error.to_string()).fix(fix));
    None
}
