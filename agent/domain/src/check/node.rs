//! What only the node tells: owners and modes, groups, the binary, AWS, clocks.

use std::slice;

use hadoop_rules::executor_config::{DOCKER, ExecutorConfig, HEAD, lossy};
use hadoop_rules::setup::{self, Content, Setup, SetupFault};

use super::collector::Collector;
use super::facts::{AwsOutcome, Facts, NodeFacts};
use crate::credentials::TokenScope;
use crate::findings::{Code, Finding, codes};
use crate::registry::Service;

const DOCKER_BINARY_KEY: &str = "docker.binary";
const DOCKER_BINARY: &[u8] = b"/usr/bin/docker";
/// Less is the ordinary disagreement of clocks.
const MUCH_SKEW: i64 = 30;

pub(super) fn judge(
    node: &NodeFacts,
    facts: &Facts<'_>,
    config: Option<&ExecutorConfig>,
    found: &mut Collector,
) {
    let path = facts.executor_cfg.as_ref().map(|file| file.path.as_str()).unwrap_or_default();
    if let Some(config) = config {
        judge_setup(path, node, facts, config, found);
        judge_docker_binary(path, node, facts, config, found);
    }
    judge_aws(node, found);
    if node.clock_skew.abs() >= MUCH_SKEW {
        let message = format!("the local clock differs from AWS's by {} seconds", node.clock_skew);
        found.add(Finding::new(codes::CLOCK_SKEW, message, "start chronyd: systemctl enable --now chronyd"));
    }
}

fn judge_setup(
    path: &str,
    node: &NodeFacts,
    facts: &Facts<'_>,
    config: &ExecutorConfig,
    found: &mut Collector,
) {
    let check = |setup: &Setup<'_>, found: &mut Collector| {
        if let Err(fault) = setup::check(setup)
            && let Some(code) = code_of(&fault)
        {
            found.add(finding(path, code, &fault));
        }
    };
    let group = config.nm_group().and_then(|name| facts.machine.group_id(name));
    let content = Content::File(Ok(config));
    for owned in &node.chain {
        let chain = slice::from_ref(owned);
        check(&Setup { chain, content, group: Some(0), binary: None }, found);
    }
    let root = [setup::Owned { path: "/".into(), uid: 0, mode: 0o755 }];
    check(&Setup { chain: &root, content, group, binary: node.binary }, found);
}

/// The code, unless the file's own judgement already told the fault.
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

fn finding(path: &str, code: Code, fault: &SetupFault) -> Finding {
    let binary = "the container-executor binary (/usr/lib/hadoop-yarn/bin/container-executor on EMR)";
    let remedy = match fault {
        SetupFault::Owner { path, .. } => format!("chown root {path}"),
        SetupFault::Writable { path, .. } => format!("chmod go-w {path}"),
        SetupFault::UnknownGroup { .. } => {
            "name the group of the binary, which is yarn on EMR, or create the group".to_owned()
        }
        SetupFault::BinaryOwner => format!("chown root {binary}"),
        SetupFault::BinaryGroup { .. } => format!("chgrp {binary} to the group that the file names"),
        _ => format!("chmod 6050 {binary}"),
    };
    Finding::new(code, fault.to_string(), remedy).in_file(path)
}

fn judge_docker_binary(
    path: &str,
    node: &NodeFacts,
    facts: &Facts<'_>,
    config: &ExecutorConfig,
    found: &mut Collector,
) {
    if !node.runs_containers || !config.docker_supported() {
        return;
    }
    let entry = config.entry(DOCKER, DOCKER_BINARY_KEY).or_else(|| config.entry(HEAD, DOCKER_BINARY_KEY));
    let binary = entry.map_or(DOCKER_BINARY, |entry| entry.value);
    if facts.machine.realpath(binary).is_none() {
        let binary = lossy(binary);
        let remedy = format!("install Docker, or name where it is: {DOCKER_BINARY_KEY}=/usr/bin/docker");
        let message = format!("the docker binary {binary} is not on this node");
        let finding = Finding::new(codes::DOCKER_BINARY_MISSING, message, remedy);
        found.add(finding.in_file(path).at(entry.map(|entry| entry.line)));
    }
}

fn role_of(scope: &TokenScope) -> String {
    let role = scope.identity.role.as_ref();
    role.map_or_else(|| "the instance profile's role".to_owned(), |role| role.arn.to_string())
}

fn actions(service: Service) -> &'static str {
    match service {
        Service::Private => r#""ecr:GetAuthorizationToken""#,
        Service::Public => r#"["ecr-public:GetAuthorizationToken","sts:GetServiceBearerToken"]"#,
    }
}

fn judge_aws(node: &NodeFacts, found: &mut Collector) {
    for answer in &node.aws {
        let scope = &answer.scope;
        let finding = match answer.outcome {
            AwsOutcome::NoCredentials => Finding::new(
                codes::NO_AWS_CREDENTIALS,
                format!("there are no AWS credentials to ask {scope} with"),
                "give the cluster an instance profile, and let this user reach the instance metadata (IMDSv2)",
            ),
            AwsOutcome::Denied => Finding::new(
                codes::IAM_ACTION_MISSING,
                format!("{scope} denied GetAuthorizationToken"),
                format!(
                    r#"allow {}: {{"Effect":"Allow","Action":{},"Resource":"*"}}"#,
                    role_of(scope),
                    actions(scope.service)
                ),
            ),
            AwsOutcome::RoleDenied => Finding::new(
                codes::IAM_ACTION_MISSING,
                format!("STS denied AssumeRole for {scope}"),
                "allow the instance profile's role sts:AssumeRole on that role, and let its trust policy name the instance profile's role, with the external id if it asks for one",
            ),
            AwsOutcome::Token | AwsOutcome::Other => continue,
        };
        found.add(finding);
    }
}
