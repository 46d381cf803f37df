//! What the agent has to say about a configuration: a stable code, where it is, what will happen
//! because of it, and what to do.

use serde::{Deserialize, Serialize};

/// One observation about a file or a setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable, in kebab case.
    pub code: String,
    pub severity: Severity,
    pub file: Option<String>,
    /// Counted from 1.
    pub line: Option<u32>,
    pub message: String,
    pub consequence: String,
    pub remedy: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    Warning,
    Error,
}
