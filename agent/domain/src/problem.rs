//! A problem, as data that status, metrics and the log share.

/// Why something fails or is not ready yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Problem {
    /// The error with its causes, in one line.
    pub message: String,
    /// What has to appear first, if time alone may fix it.
    pub waits_for: Option<String>,
    /// Whether readers of the sink find nothing there, as seen before the failure.
    pub leaves_nothing: bool,
    /// Whether only a new process can recover.
    pub fatal: bool,
}

impl Problem {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), waits_for: None, leaves_nothing: false, fatal: false }
    }

    pub fn waiting(waits_for: impl Into<String>, message: impl Into<String>) -> Self {
        Self { waits_for: Some(waits_for.into()), ..Self::new(message) }
    }
}
