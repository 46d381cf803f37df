//! Why something is not as it should be, as data that status, metrics and the log share.

/// Why something is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Problem {
    /// The error with its causes, in one line.
    pub message: String,
    /// What has to appear first, where time alone may fix it.
    pub waits_for: Option<String>,
    /// Whether readers of the sink find nothing there, as was seen before it failed.
    pub leaves_nothing: bool,
    /// Whether only another process can do better.
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
