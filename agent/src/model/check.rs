//! Judges the files of a node as Hadoop would, and says what follows from it.

use std::path::Path;

use crate::model::findings::{Finding, Severity};
use crate::model::hadoop::Rules;
use crate::model::hadoop::executor_config::{ExecutorConfig, lossy};
use crate::model::registry::EcrRegistry;
use crate::model::status::ExecutorCfg;

/// What a container-executor.cfg means for the agent.
#[derive(Debug)]
pub struct ExecutorVerdict {
    pub state: ExecutorCfg,
    /// The ECR registries that it trusts, in the order of the list.
    pub trusted: Vec<EcrRegistry>,
    pub findings: Vec<Finding>,
}

/// Judges the content of the container-executor.cfg at `path`.
pub fn executor_cfg(path: &Path, bytes: &[u8], rules: Rules) -> ExecutorVerdict {
    let fatal = |code: &str, line: Option<u32>, message: String| {
        let finding = Finding {
            code: code.to_owned(),
            severity: Severity::Error,
            file: Some(path.display().to_string()),
            line,
            message: message.clone(),
            consequence: "container-executor exits with 24: no container starts on this node, and its NodeManager turns unhealthy".to_owned(),
            remedy: "mend the line named here".to_owned(),
        };
        let place = line.map_or_else(String::new, |line| format!(":{line}"));
        let state = ExecutorCfg::Fatal(format!("{}{place}: {message}", path.display()));
        ExecutorVerdict { state, trusted: Vec::new(), findings: vec![finding] }
    };
    let config = match ExecutorConfig::parse(bytes, rules) {
        Ok(config) => config,
        Err(error) => return fatal(error.code(), error.line(), error.to_string()),
    };
    if config.nm_group().is_none() {
        let message =
            "yarn.nodemanager.linux-container-executor.group is not set above the first section".to_owned();
        return fatal("group-missing", None, message);
    }
    let trusted =
        config.trusted_registries().unwrap_or_default().into_iter().filter_map(ecr_registry).collect();
    ExecutorVerdict { state: ExecutorCfg::Sound, trusted, findings: Vec::new() }
}

/// The registry of a trusted entry, which may go on with the start of a repository's name.
fn ecr_registry(entry: &[u8]) -> Option<EcrRegistry> {
    let entry = lossy(entry);
    EcrRegistry::parse(entry.split('/').next()?).ok()
}
