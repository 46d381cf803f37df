//! What the agent reports about a configuration: a stable code, where it is, its effect, and the fix.
//!
//! Codes, severities and effects are in one table, [`codes`]; docs/findings.md explains each, and a test keeps the
//! two in sync.

pub mod codes;
mod effect;
mod entry;
mod excerpt;
mod fix;
mod list;

use serde::{Deserialize, Serialize};

use crate::registry::{EcrRegistry, Service};

pub use codes::{Code, Subject};
pub use effect::Effect;
pub use entry::{Entry, explain, nearest};
pub(crate) use excerpt::clipped;
pub use excerpt::{Excerpt, point_at};
pub use fix::{Action, Fix};
pub(crate) use list::Findings;

/// One observation about a file or a setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "View", try_from = "View")]
pub struct Finding {
    pub code: Code,
    /// The code's effect, unless the check overrides it.
    pub effect: Effect,
    /// The ECR registries whose images do not launch because of it.
    pub registries: Vec<EcrRegistry>,
    pub file: Option<String>,
    /// Counted from 1.
    pub line: Option<u32>,
    pub message: String,
    /// `None` if there is nothing to fix, or no known fix.
    pub fix: Option<Fix>,
    /// An error that does not affect the requested launches, and so counts as a warning.
    pub aside: bool,
    /// The offending text, for people; filled in by [`point_at`].
    pub excerpt: Option<Excerpt>,
}

/// A finding in JSON. Field names are stable.
#[derive(Serialize, Deserialize)]
struct View {
    code: String,
    severity: Severity,
    effect: Effect,
    effect_text: String,
    #[serde(default)]
    registries: Vec<String>,
    file: Option<String>,
    line: Option<u32>,
    message: String,
    fix: Option<Fix>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    Warning,
    Error,
}

impl Finding {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            effect: code.effect,
            registries: Vec::new(),
            file: None,
            line: None,
            message: message.into(),
            fix: None,
            aside: false,
            excerpt: None,
        }
    }

    pub fn severity(&self) -> Severity {
        if self.aside { self.code.severity.min(Severity::Warning) } else { self.code.severity }
    }

    /// File and line in front of a message; empty without a file.
    pub fn location_prefix(&self) -> String {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => format!("{file}:{line}: "),
            (Some(file), None) => format!("{file}: "),
            (None, _) => String::new(),
        }
    }

    /// The effect as a sentence without its full stop.
    pub fn effect_text(&self) -> &'static str {
        self.code.effect_text
    }

    /// Whether launches fail because of it: all on the node, or those of a registry that the agent serves. It
    /// serves those in `served`, and every private one that container-executor.cfg is meant to trust.
    pub fn ends_launches(&self, served: &[EcrRegistry]) -> bool {
        let is_served =
            |registry: &EcrRegistry| registry.service() == Service::Private || served.contains(registry);
        self.severity() == Severity::Error
            && match self.effect {
                Effect::NodeLaunchesFail => true,
                Effect::ImageLaunchesFail => self.registries.iter().any(is_served),
                Effect::ClusterCreationFails | Effect::Degraded | Effect::None => false,
            }
    }

    #[must_use]
    pub(crate) fn fix(self, fix: Fix) -> Self {
        Self { fix: Some(fix), ..self }
    }

    #[must_use]
    pub(crate) fn of_registries(self, registries: Vec<EcrRegistry>) -> Self {
        Self { registries, ..self }
    }

    #[must_use]
    pub(crate) fn with_effect(self, effect: Effect) -> Self {
        Self { effect, ..self }
    }

    /// Names the file that the finding is about, and that its fix changes.
    #[must_use]
    pub(crate) fn in_file(self, file: &str) -> Self {
        let fix = self.fix.map(|fix| fix.in_file(file));
        Self { file: Some(file.to_owned()), fix, ..self }
    }

    #[must_use]
    pub(crate) fn at(self, line: impl Into<Option<u32>>) -> Self {
        Self { line: line.into(), ..self }
    }

    /// The part of the line that is at fault.
    #[must_use]
    pub(crate) fn about(self, text: &[u8]) -> Self {
        Self { excerpt: Some(Excerpt::of(text)), ..self }
    }
}

impl From<Finding> for View {
    fn from(finding: Finding) -> Self {
        Self {
            code: finding.code.name.to_owned(),
            severity: finding.severity(),
            effect: finding.effect,
            effect_text: finding.effect_text().to_owned(),
            registries: finding.registries.iter().map(|registry| registry.host().to_string()).collect(),
            file: finding.file,
            line: finding.line,
            message: finding.message,
            fix: finding.fix,
        }
    }
}

impl TryFrom<View> for Finding {
    type Error = String;

    fn try_from(view: View) -> Result<Self, Self::Error> {
        let code = Code::named(&view.code).ok_or_else(|| format!("unknown finding code {:?}", view.code))?;
        let View { severity, effect, registries, file, line, message, fix, .. } = view;
        let aside = severity < code.severity;
        let registry = |host: &String| EcrRegistry::parse(host).map_err(|error| error.to_string());
        let registries = registries.iter().map(registry).collect::<Result<_, _>>()?;
        Ok(Self { code, effect, registries, file, line, message, fix, aside, excerpt: None })
    }
}

impl Severity {
    /// The name in JSON, metrics and text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}
