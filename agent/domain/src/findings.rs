//! What the agent has to say about a configuration: a stable code, where it is, what will happen
//! because of it, and what to do.
//!
//! Codes, severities and consequences stand in one table, [`codes`]; docs/findings.md explains each,
//! and a test keeps the two equal.

pub mod codes;
mod excerpt;

use serde::{Deserialize, Serialize};

pub use codes::Code;
pub(crate) use excerpt::clipped;
pub use excerpt::{Excerpt, point_at};

/// The page that explains every code.
const PAGE: &str = include_str!("../../../docs/findings.md");

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
    /// The offending text, for people; filled in by [`point_at`].
    #[serde(skip)]
    pub excerpt: Option<Excerpt>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    Warning,
    Error,
}

impl Finding {
    pub fn new(code: Code, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            code: code.name.to_owned(),
            severity: code.severity,
            file: None,
            line: None,
            message: message.into(),
            consequence: code.consequence.to_owned(),
            remedy: remedy.into(),
            excerpt: None,
        }
    }

    #[must_use]
    pub fn in_file(self, file: &str) -> Self {
        Self { file: Some(file.to_owned()), ..self }
    }

    #[must_use]
    pub fn at(self, line: impl Into<Option<u32>>) -> Self {
        Self { line: line.into(), ..self }
    }

    /// The words within the line that are at fault.
    #[must_use]
    pub fn about(self, text: &[u8]) -> Self {
        Self { excerpt: Some(Excerpt::of(text)), ..self }
    }
}

impl Severity {
    /// The word that JSON, metrics and text use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// The page's entry of a code, heading included; `None` if there is no such code.
pub fn explain(code: &str) -> Option<&'static str> {
    let mut entries = PAGE.split("\n### ").skip(1);
    let entry = entries.find(|entry| entry.lines().next() == Some(code))?;
    // The last entry of a chapter is followed by the heading of the next.
    entry.split("\n## ").next().map(str::trim_end)
}
