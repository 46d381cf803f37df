//! The config.json that jobs name, as YARN reads it, and who may read and replace it.

use hadoop_rules::client_config::{self, ClientConfigError};
use jiff::{SignedDuration, Timestamp};

use super::collector::Collector;
use super::facts::{Access, ClientConfig, Content, Facts};
use super::report::{CredentialReport, DockerConfigReport};
use crate::credentials::stated_expiry;
use crate::documents::claimed_expiries;
use crate::findings::{Finding, codes};

/// A credential that ends within this time is about to fail.
const SOON: SignedDuration = SignedDuration::from_mins(30);
const OTHERS_READ: u32 = 0o004;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;
/// Whom the NodeManager runs as on EMR.
const NM_USER: &str = "yarn";
/// A group that holds the NodeManager's user on EMR, by the cluster's own setup.
const NM_GROUPS: [&str; 2] = ["yarn", "hadoop"];
const RENEW: &str = "let the agent publish it: emr-ecr-agent once";

pub(super) fn judge(config: &ClientConfig, facts: &Facts<'_>, found: &mut Collector) -> DockerConfigReport {
    let path = &config.file.path;
    let mut report = DockerConfigReport { path: path.clone(), error: None, credentials: Default::default() };
    if let Some(access) = &config.access {
        judge_access(path, access, found);
    }
    let Some(bytes) = config.file.bytes() else {
        let finding = match &config.file.content {
            Content::Unreadable(why) if facts.node.is_some() => Finding::new(
                codes::CLIENT_CONFIG_UNKNOWN,
                format!("{path} could not be looked at: {why}"),
                "wait until HDFS is up, or run the check where it can be reached",
            ),
            Content::Unreadable(why) => Finding::new(
                codes::CLIENT_CONFIG_UNREADABLE,
                format!("{path} cannot be read: {why}"),
                "make it readable for the NodeManager's user: mode 0644, or 0640 with a group of that user",
            ),
            Content::Directory => {
                Finding::new(codes::CLIENT_CONFIG_UNREADABLE, format!("{path} is a folder"), "remove it")
            }
            Content::Absent | Content::Bytes(_) => {
                Finding::new(codes::CLIENT_CONFIG_MISSING, format!("{path} does not exist"), RENEW)
            }
        };
        report.error = Some(finding.message.clone());
        found.add(finding.in_file(path));
        return report;
    };
    match client_config::read(bytes) {
        Ok(credentials) => {
            let claimed = claimed_expiries(bytes);
            let credentials = credentials.into_iter().map(|(registry, auth)| {
                // Anyone may write what the file claims; the token's own word can only shorten it.
                let claims = [stated_expiry(auth.expose()), claimed.get(&registry).copied()];
                let expires_at = claims.into_iter().flatten().min();
                (registry, CredentialReport { expires_at })
            });
            report.credentials = credentials.collect();
            judge_credentials(&report, facts.now, found);
        }
        Err(error) => {
            let finding = poisonous(path, &error);
            report.error = Some(finding.message.clone());
            found.add(finding);
        }
    }
    report
}

fn poisonous(path: &str, error: &ClientConfigError) -> Finding {
    let (cause, remedy) = match error {
        ClientConfigError::Empty => ("", RENEW.to_owned()),
        ClientConfigError::Malformed(_) => {
            (" (JsonParseException)", "mend the JSON, or publish anew: emr-ecr-agent once".to_owned())
        }
        ClientConfigError::EntryWithoutAuth { registry } => (
            " (NullPointerException)",
            format!(
                r#"remove the entry of {registry}, or give it one: "auth": "<base64 of user:password>"; credential stores and helpers do not work on this way"#
            ),
        ),
    };
    Finding::new(codes::CLIENT_CONFIG_POISONOUS, format!("{error}{cause}"), remedy).in_file(path)
}

fn judge_credentials(report: &DockerConfigReport, now: Timestamp, found: &mut Collector) {
    if report.credentials.is_empty() {
        let message = format!("{} holds no entry below `auths`", report.path);
        found.add(Finding::new(codes::CLIENT_CONFIG_EMPTY, message, RENEW).in_file(&report.path));
    }
    for (registry, credential) in &report.credentials {
        let Some(expires_at) = credential.expires_at else { continue };
        let left = expires_at.duration_since(now);
        let (code, message) = if left <= SignedDuration::ZERO {
            (codes::CREDENTIAL_EXPIRED, format!("the credential for {registry} ended at {expires_at}"))
        } else if left < SOON {
            (codes::CREDENTIAL_EXPIRES_SOON, format!("the credential for {registry} ends at {expires_at}"))
        } else {
            continue;
        };
        found.add(Finding::new(code, message, RENEW).in_file(&report.path));
    }
}

fn judge_access(path: &str, access: &Access, found: &mut Collector) {
    let by_owner = access.owner == NM_USER && access.mode & 0o400 != 0;
    let by_group = NM_GROUPS.contains(&access.group.as_str()) && access.mode & 0o040 != 0;
    if access.mode & OTHERS_READ == 0 && !by_owner && !by_group {
        let message = format!(
            "the file belongs to {}:{} with mode {:04o}: the NodeManager's user {NM_USER} cannot read it",
            access.owner, access.group, access.mode
        );
        let remedy = format!("hdfs dfs -chmod 644 {path}");
        found.add(Finding::new(codes::CLIENT_CONFIG_UNREADABLE, message, remedy).in_file(path));
    }
    if access.folder_mode & OTHERS_WRITE != 0 && access.folder_mode & STICKY == 0 {
        let message =
            format!("the folder {} is writable for all: mode {:04o}", access.folder, access.folder_mode);
        let remedy = "publish to a folder of the agent's own, below one that is not writable for all: [published] path in agent.toml";
        found.add(Finding::new(codes::CLIENT_CONFIG_FOLDER_OPEN, message, remedy).in_file(path));
    }
}
