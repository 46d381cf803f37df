//! What only the node knows: owners and modes, groups, the binary, AWS, clocks.

use std::slice;

use hadoop_rules::Rules;
use hadoop_rules::executor_config::{DOCKER, Entry, ExecutorConfig, HEAD, NM_GROUP_KEY, lossy};
use hadoop_rules::setup::{self, ConfigTarget, Setup, SetupFault};

use super::image::update_without_credential;
use super::inputs::{AwsOutcome, Inputs, NodeDockerConfig, NodeInputs};
use super::registries::trusted_ecr_registries;
use super::yarn_settings::YarnSettings;
use crate::credentials::TokenScope;
use crate::findings::{Code, Finding, Findings, Fix, codes};
use crate::registry::EcrRegistry;

/// EMR's path of container-executor.
pub const CONTAINER_EXECUTOR: &str = "/usr/lib/hadoop-yarn/bin/container-executor";
const DOCKER_BINARY_KEY: &str = "docker.binary";
const DOCKER_BINARY: &[u8] = b"/usr/bin/docker";
/// Directories meant to be world-writable.
const SHARED: [&str; 4] = ["/tmp", "/var/tmp", "/dev/shm", "/mnt/tmp"];
/// In bytes; with less, no container starts.
const LEAST_FREE: u64 = 16 << 20;
/// In seconds; smaller differences are normal.
const MUCH_SKEW: i64 = 30;
/// In seconds. Container tokens last ten minutes by the ResourceManager's clock, but the NodeManager checks them by
/// its own. The last seconds are too short for a launch.
const TOKENS_EXPIRED: i64 = 590;

pub(super) fn check(
    node: &NodeInputs,
    inputs: &Inputs<'_>,
    config: Option<&ExecutorConfig>,
    settings: Option<&YarnSettings>,
    found: &mut Findings,
) {
    let path = inputs.executor_cfg.as_ref().map(|file| file.path.as_str()).unwrap_or_default();
    if let Some(config) = config {
        check_setup(path, node, inputs, config, found);
        check_docker(path, node, inputs, config, found);
        check_engine(node, settings, config, found);
        check_reach(path, inputs, found);
    }
    if let Some(settings) = settings.filter(|settings| settings.image_update) {
        let update =
            |registry: &EcrRegistry| update_without_credential(registry, false).in_file(&settings.file);
        let named = config.map(trusted_ecr_registries).unwrap_or_default();
        let lacking = named.iter().filter(|registry| !node.root_pulls_from(registry));
        lacking.for_each(|registry| found.add(update(registry)));
    }
    if let Some(binary) = node.binary_path.as_ref().filter(|_| node.binary_is_missing) {
        let message = format!("yarn-site.xml names {binary} as container-executor, which does not exist");
        let fix = Fix::manual("remove yarn.nodemanager.linux-container-executor.path, or correct it");
        found.add(Finding::new(codes::BINARY_MISSING, message).fix(fix));
    }
    check_helpers(node, inputs, config, found);
    check_aws(node, found);
    let fix = || Fix::run("systemctl enable --now chronyd");
    if node.clock_skew <= -TOKENS_EXPIRED {
        let message = format!("the local clock is {} seconds ahead of AWS's", -node.clock_skew);
        found.add(Finding::new(codes::CLOCK_AHEAD, message).fix(fix()));
    } else if node.clock_skew.abs() >= MUCH_SKEW {
        let message = format!("the local clock differs from AWS's by {} seconds", node.clock_skew);
        found.add(Finding::new(codes::CLOCK_SKEW, message).fix(fix()));
    }
}

fn check_setup(
    path: &str,
    node: &NodeInputs,
    inputs: &Inputs<'_>,
    config: &ExecutorConfig,
    found: &mut Findings,
) {
    let binary = node.binary_path.as_deref().unwrap_or(CONTAINER_EXECUTOR);
    let check = |setup: &Setup<'_>, found: &mut Findings| {
        if let Err(fault) = setup::check(setup)
            && let Some(code) = code_of(&fault)
        {
            found.add(finding(path, binary, code, &fault));
        }
    };
    let group = config.nm_group().and_then(|name| inputs.machine.group_id(name));
    let content = ConfigTarget::File(Ok(config));
    for owned in &node.chain {
        let chain = slice::from_ref(owned);
        check(&Setup { chain, content, group: Some(0), binary: None }, found);
    }
    let root = [setup::Owned { path: "/".into(), uid: 0, mode: 0o755 }];
    check(&Setup { chain: &root, content, group, binary: node.binary }, found);
}

/// The code, unless the check of the file itself already reports the fault.
fn code_of(fault: &SetupFault) -> Option<Code> {
    match fault {
        SetupFault::Owner { .. } => Some(codes::CONFIG_OWNER),
        SetupFault::Writable { .. } => Some(codes::CONFIG_WRITABLE),
        SetupFault::UnknownGroup { .. } => Some(codes::GROUP_UNKNOWN),
        SetupFault::BinaryOwner => Some(codes::BINARY_OWNER),
        SetupFault::BinaryGroup { .. } => Some(codes::BINARY_GROUP),
        SetupFault::BinaryOpen => Some(codes::BINARY_OPEN_TO_OTHERS),
        SetupFault::BinaryNotSetuid => Some(codes::BINARY_NOT_SETUID),
        SetupFault::Missing
        | SetupFault::Directory { .. }
        | SetupFault::Unparsable { .. }
        | SetupFault::NoGroup => None,
    }
}

fn finding(path: &str, binary: &str, code: Code, fault: &SetupFault) -> Finding {
    let fix = match fault {
        SetupFault::Owner { path, .. } => Fix::run(format!("chown root {path}")),
        SetupFault::Writable { path, .. } if SHARED.contains(&path.as_str()) => {
            Fix::manual(format!("move the configuration elsewhere: everyone can write to {path}"))
        }
        SetupFault::Writable { path, .. } => Fix::run(format!("chmod go-w {path}")),
        SetupFault::UnknownGroup { .. } => {
            Fix::manual(format!("set {NM_GROUP_KEY} to the group of the binary, usually yarn, or create it"))
        }
        // Changing the owner or group clears the set-user-ID bit.
        SetupFault::BinaryOwner => Fix::run(format!("chown root {binary} && chmod 6050 {binary}")),
        SetupFault::BinaryGroup { expected, .. } => {
            Fix::run(format!("chgrp {expected} {binary} && chmod 6050 {binary}"))
        }
        _ => Fix::run(format!("chmod 6050 {binary}")),
    };
    Finding::new(code, fault.to_string()).fix(fix).in_file(path)
}

fn check_docker(
    path: &str,
    node: &NodeInputs,
    inputs: &Inputs<'_>,
    config: &ExecutorConfig,
    found: &mut Findings,
) {
    if !node.runs_containers || !config.docker_supported() {
        return;
    }
    let entry = docker_entry(config);
    let binary = entry.map_or(DOCKER_BINARY, |entry| entry.value);
    let fault = |binary: &[u8]| match inputs.machine.realpath(binary) {
        None => Some("is not on this node"),
        Some(real) if !inputs.machine.is_executable(&real) => Some("cannot be executed"),
        Some(_) => None,
    };
    if let Some(why) = fault(binary) {
        let binary = lossy(binary);
        let fix = Fix::manual(format!("install Docker, or set {DOCKER_BINARY_KEY} to its path"));
        let message = format!("the docker binary {binary} {why}");
        let finding = Finding::new(codes::DOCKER_BINARY_MISSING, message).fix(fix);
        found.add(finding.in_file(path).at(entry.map(|entry| entry.line)));
    } else if inputs.hadoop.rules != Rules::V3_2
        && let Some(why) = fault(DOCKER_BINARY)
    {
        let message = format!(
            "{} {why}: container-executor queries it for the network, regardless of {DOCKER_BINARY_KEY}",
            lossy(DOCKER_BINARY)
        );
        let fix = Fix::run(format!("ln -s {} {}", lossy(binary), lossy(DOCKER_BINARY)));
        found.add(Finding::new(codes::DOCKER_BINARY_MISSING, message).fix(fix).in_file(path));
    }
    if let Some(why) = node.docker.as_ref().and_then(|docker| docker.failure.as_ref()) {
        let message = format!("the Docker engine does not answer: {why}");
        found.add(Finding::new(codes::DOCKER_UNREACHABLE, message).fix(Fix::run("systemctl start docker")));
    }
}

fn docker_entry(config: &ExecutorConfig) -> Option<Entry<'_>> {
    config.entry(DOCKER, DOCKER_BINARY_KEY).or_else(|| config.entry(HEAD, DOCKER_BINARY_KEY))
}

/// The docker command that container-executor is configured to run; the default if its config is unreadable.
pub fn docker_program(inputs: &Inputs<'_>) -> Vec<u8> {
    let bytes = inputs.executor_cfg.as_ref().and_then(|file| file.bytes());
    let config = bytes.and_then(|bytes| ExecutorConfig::parse(bytes, inputs.hadoop.rules).ok());
    let named = config.as_ref().and_then(docker_entry).map(|entry| entry.value.to_vec());
    named.unwrap_or_else(|| DOCKER_BINARY.to_vec())
}

/// Checks how the Docker engine is set up.
fn check_engine(
    node: &NodeInputs,
    settings: Option<&YarnSettings>,
    config: &ExecutorConfig,
    found: &mut Findings,
) {
    let Some(engine) = node.docker.as_ref().filter(|_| node.runs_containers && config.docker_supported())
    else {
        return;
    };
    if let Some(root) = engine.data_root.as_ref().filter(|root| root.free < LEAST_FREE) {
        let message = format!("Docker's data root {} has {} KiB left", root.path, root.free >> 10);
        let fix =
            Fix::manual("free space there, as with `docker image prune`, or give it a larger file system");
        found.add(Finding::new(codes::DOCKER_DATA_ROOT_FULL, message).fix(fix));
    }
    let driver = engine.cgroup_driver.as_deref();
    if let Some(settings) = settings.filter(|settings| settings.uses_cgroups && driver == Some("systemd")) {
        let message = "Docker's cgroup driver is systemd, but the NodeManager uses cgroup names in the format \
                       of cgroupfs";
        let fix = Fix::manual(
            r#"set "exec-opts": ["native.cgroupdriver=cgroupfs"] in /etc/docker/daemon.json, or turn the NodeManager's cgroups off"#,
        );
        found.add(Finding::new(codes::CGROUP_DRIVER_DIFFERS, message).fix(fix).in_file(&settings.file));
    }
}

/// container-executor looks up its configuration again as the NodeManager's user.
fn check_reach(path: &str, inputs: &Inputs<'_>, found: &mut Findings) {
    if inputs.machine.realpath(path.as_bytes()).is_none() {
        let message = format!("the NodeManager's user cannot reach {path}");
        let fix = Fix::manual("let everyone enter the directories above the file: chmod o+x");
        found.add(Finding::new(codes::CONFIG_CLOSED, message).fix(fix).in_file(path));
    }
}

/// Docker asks a credential helper before it reads an entry.
fn check_helpers(
    node: &NodeInputs,
    inputs: &Inputs<'_>,
    config: Option<&ExecutorConfig>,
    found: &mut Findings,
) {
    let trusted = config.map(trusted_ecr_registries).unwrap_or_default();
    for NodeDockerConfig { path, store, helpers } in &node.docker_configs {
        for registry in
            trusted.iter().chain(inputs.registries.iter().filter(|named| !trusted.contains(named)))
        {
            let host = registry.host().as_str();
            let (setting, helper) = match (helpers.get(host), store) {
                (Some(helper), _) => ("credHelpers", helper),
                (None, Some(store)) => ("credsStore", store),
                (None, None) => continue,
            };
            let message = format!(
                "{setting} names `{helper}`, which docker asks for {host} before it looks at the entry"
            );
            let fix = Fix::manual(format!("remove it from {setting}, or let only the helper serve {host}"));
            found.add(Finding::new(codes::CREDENTIAL_HELPER_FIRST, message).fix(fix).in_file(path));
        }
    }
}

fn role_of(scope: &TokenScope) -> String {
    let role = scope.identity.role.as_ref();
    role.map_or_else(|| "the instance profile's role".to_owned(), |role| role.arn.to_string())
}

fn check_aws(node: &NodeInputs, found: &mut Findings) {
    for answer in &node.aws {
        let scope = &answer.scope;
        let finding = match answer.outcome {
            AwsOutcome::NoCredentials => Finding::new(
                codes::NO_AWS_CREDENTIALS,
                format!("there are no AWS credentials to call {scope} with"),
            )
            .fix(Fix::manual(
                "give the cluster an instance profile, and let this user reach the instance metadata (IMDSv2)",
            )),
            AwsOutcome::Denied => Finding::new(
                codes::IAM_ACTION_MISSING,
                format!("{scope} denied GetAuthorizationToken"),
            )
            .fix(Fix::manual(format!(
                r#"allow {}: {{"Effect":"Allow","Action":{},"Resource":"*"}}"#,
                role_of(scope),
                serde_json::Value::from(scope.service.token_actions())
            ))),
            AwsOutcome::RoleDenied => Finding::new(
                codes::IAM_ACTION_MISSING,
                format!("STS denied AssumeRole for {scope}"),
            )
            .fix(Fix::manual(
                "allow the instance profile's role sts:AssumeRole on that role, and let its trust policy name the instance profile's role, with the external id if it asks for one",
            )),
            _ => continue,
        };
        found.add(finding);
    }
}
