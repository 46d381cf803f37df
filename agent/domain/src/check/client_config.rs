//! The config.json that jobs name, as YARN reads it, and who may read and replace it.

use hadoop_rules::client_config::{self, ClientConfigError};
use jiff::{SignedDuration, Timestamp};

use super::inputs::{Access, ClientConfig, Content, Inputs, Permissions, Readers};
use super::report::{CredentialReport, DockerConfigReport};
use crate::credentials::{auth_oddity, docker_accepts, stated_expiry};
use crate::documents::claimed_expiries;
use crate::findings::{Finding, Findings, Fix, codes};

/// A credential that expires within this time gets a finding.
const SOON: SignedDuration = SignedDuration::from_mins(30);
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;
/// The NodeManager's user on EMR.
pub const NM_USER: &str = "yarn";
/// Groups of the NodeManager's user on EMR.
const NM_GROUPS: [&str; 2] = ["yarn", "hadoop"];

pub(super) fn check(config: &ClientConfig, inputs: &Inputs<'_>, found: &mut Findings) -> DockerConfigReport {
    let path = &config.file.path;
    let mut report = DockerConfigReport { path: path.clone(), error: None, credentials: Default::default() };
    if let Some(access) = &config.access {
        check_access(path, access, found);
    }
    if let Readers::Nobody(why) = &config.readers {
        let fix = Fix::manual("name the published file, as in hdfs:///user/hadoop/config.json");
        found.add(Finding::new(codes::CLIENT_CONFIG_URI, why.clone()).fix(fix));
        report.error = Some(why.clone());
        return report;
    }
    let Some(bytes) = config.file.bytes() else {
        let finding = match &config.file.content {
            Content::Unreadable(why) if inputs.node.is_some() => {
                Finding::new(codes::CLIENT_CONFIG_UNKNOWN, format!("{path} could not be read: {why}")).fix(
                    Fix::manual(match config.readers {
                        Readers::NodeManagersOnly => "name the published file on HDFS, which can be checked",
                        _ => "wait until HDFS is up, or run the check where it can be reached",
                    }),
                )
            }
            Content::Unreadable(why) => Finding::new(
                codes::CLIENT_CONFIG_UNREADABLE,
                format!("{path} cannot be read: {why}"),
            )
            .fix(Fix::manual(
                "make it readable for the NodeManager's user: mode 0644, or 0640 with a group of that user",
            )),
            Content::Directory => {
                Finding::new(codes::CLIENT_CONFIG_UNREADABLE, format!("{path} is a directory"))
                    .fix(Fix::manual("remove it"))
            }
            Content::Absent | Content::Bytes(_) => {
                Finding::new(codes::CLIENT_CONFIG_MISSING, format!("{path} does not exist")).fix(publish())
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
                // Anyone can forge the file's claims, so the token's own expiry wins where it can be read.
                let expires_at = stated_expiry(auth.expose()).or_else(|| claimed.get(&registry).copied());
                let usable = docker_accepts(auth.expose());
                let fault = if usable {
                    auth_oddity(auth.expose()).map(|what| (codes::CREDENTIAL_SUSPECT, what))
                } else {
                    Some((codes::CREDENTIAL_INVALID, "it is not base64 of user:password"))
                };
                if let Some((code, what)) = fault {
                    let message = format!("the `auth` of {registry}: {what}");
                    let fix = Fix::manual("write the base64 of user:password on one line, with its padding");
                    let finding = Finding::new(code, message).fix(fix).in_file(path);
                    found.add(finding.at(line_of_member(bytes, &registry)));
                }
                (registry, CredentialReport { usable, empty: auth.expose().is_empty(), expires_at })
            });
            report.credentials = credentials.collect();
            check_credentials(&report, inputs.now, found);
        }
        Err(error) => {
            let line = match &error {
                ClientConfigError::Empty => None,
                ClientConfigError::Malformed(error) => u32::try_from(error.line).ok(),
                ClientConfigError::EntryWithoutAuth { registry } => line_of_member(bytes, registry),
            };
            let finding = poisonous(path, &error).at(line);
            report.error = Some(finding.message.clone());
            found.add(finding);
        }
    }
    report
}

/// The line where the object member of that name begins; `None` if the name is escaped differently.
fn line_of_member(bytes: &[u8], name: &str) -> Option<u32> {
    let quoted = serde_json::Value::from(name).to_string();
    let holds = |line: &[u8]| line.windows(quoted.len()).any(|window| window == quoted.as_bytes());
    (1_u32..).zip(bytes.split(|byte| *byte == b'\n')).find(|(_, line)| holds(line)).map(|(number, _)| number)
}

/// The agent replaces a broken or expired file.
fn publish() -> Fix {
    Fix::run("emr-ecr-agent once")
}

fn poisonous(path: &str, error: &ClientConfigError) -> Finding {
    let (cause, fix) = match error {
        ClientConfigError::Empty => ("", publish()),
        ClientConfigError::Malformed(_) => (" (JsonParseException)", publish()),
        ClientConfigError::EntryWithoutAuth { registry } => (
            " (NullPointerException)",
            Fix::manual(format!(
                r#"remove the entry of {registry}, or give it one: "auth": "<base64 of user:password>"; YARN does not use credential stores and helpers"#
            )),
        ),
    };
    Finding::new(codes::CLIENT_CONFIG_POISONOUS, format!("{error}{cause}")).fix(fix).in_file(path)
}

fn check_credentials(report: &DockerConfigReport, now: Timestamp, found: &mut Findings) {
    if report.credentials.is_empty() {
        let message = format!("{} has no entries under `auths`", report.path);
        found.add(Finding::new(codes::CLIENT_CONFIG_EMPTY, message).fix(publish()).in_file(&report.path));
    }
    for (registry, credential) in &report.credentials {
        let Some(expires_at) = credential.expires_at else { continue };
        let left = expires_at.duration_since(now);
        let (code, message) = if left <= SignedDuration::ZERO {
            (codes::CREDENTIAL_EXPIRED, format!("the credential for {registry} expired at {expires_at}"))
        } else if left < SOON {
            (codes::CREDENTIAL_EXPIRES_SOON, format!("the credential for {registry} expires at {expires_at}"))
        } else {
            continue;
        };
        found.add(Finding::new(code, message).fix(publish()).in_file(&report.path));
    }
}

fn check_access(path: &str, access: &Access, found: &mut Findings) {
    let Access { file, directories, .. } = access;
    if !allows(file, 0o4) {
        let message = format!(
            "the file is owned by {}:{} with mode {:04o}: the NodeManager's user {NM_USER} cannot read it",
            file.owner, file.group, file.mode
        );
        let fix = match path.strip_prefix("file://") {
            Some(path) => format!("chmod 644 {path}"),
            None => format!("hdfs dfs -chmod 644 {path}"),
        };
        found.add(Finding::new(codes::CLIENT_CONFIG_UNREADABLE, message).fix(Fix::run(fix)).in_file(path));
    }
    if let Some(closed) = directories.iter().rev().find(|directory| !allows(directory, 0o1)) {
        let message = format!(
            "the directory {} is owned by {}:{} with mode {:04o}: the NodeManager's user {NM_USER} cannot enter it",
            closed.path, closed.owner, closed.group, closed.mode
        );
        let fix = Fix::manual("let everyone enter the directory, or publish to another one");
        found.add(Finding::new(codes::CLIENT_CONFIG_UNREADABLE, message).fix(fix).in_file(path));
    }
    if let Some(finding) = open_directory(path, access) {
        found.add(finding);
    }
}

/// Why the NodeManager's user cannot read the file, if it cannot.
pub fn closed_to_node_manager(path: &str, access: &Access) -> Option<String> {
    let mut found = Findings::default();
    check_access(path, access, &mut found);
    let mut closed = found.iter().filter(|finding| finding.code == codes::CLIENT_CONFIG_UNREADABLE);
    closed.next().map(|finding| finding.message.clone())
}

/// Whether the NodeManager's user has these rights, an octal digit of the mode.
fn allows(permissions: &Permissions, rights: u32) -> bool {
    let Permissions { owner, group, mode, .. } = permissions;
    let digit = if owner == NM_USER {
        mode >> 6
    } else if NM_GROUPS.contains(&group.as_str()) {
        mode >> 3
    } else {
        *mode
    };
    digit & rights == rights
}

/// The finding if everyone can replace the file.
pub fn open_directory(path: &str, access: &Access) -> Option<Finding> {
    let directory = access.directories.first()?;
    let is_open = directory.mode & OTHERS_WRITE != 0 && directory.mode & STICKY == 0;
    is_open.then(|| {
        let message =
            format!("the directory {} is writable by everyone: mode {:04o}", directory.path, directory.mode);
        let fix = Fix::manual(
            "publish to a directory that only the agent's user can write: [published] secure_directory or path in agent.toml",
        );
        Finding::new(codes::CLIENT_CONFIG_DIRECTORY_OPEN, message).fix(fix).in_file(path)
    })
}
