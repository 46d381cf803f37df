//! The launch command file, in which the NodeManager describes a launch to container-executor.

use alloc::format;
use alloc::vec::Vec;

use super::super::Rules;
use super::super::executor_config::{ExecutorConfig, List, ParseError};

const SECTION: &str = "docker-command-execution";

/// A launch command as container-executor reads it: with the grammar of its configuration, including everything
/// that grammar cuts and drops.
#[derive(Clone, Debug)]
pub struct LaunchCommand(ExecutorConfig);

impl LaunchCommand {
    /// The command that the NodeManager writes for these keys and values. Lists are joined by commas. Fails if
    /// container-executor cannot read the result.
    pub fn new<'e>(
        entries: impl IntoIterator<Item = (&'e str, &'e str)>,
        rules: Rules,
    ) -> Result<Self, ParseError> {
        let mut text = format!("[{SECTION}]\n");
        for (key, value) in entries {
            text.extend(["  ", key, "=", value, "\n"]);
        }
        Self::parse(text, rules)
    }

    /// Parses an existing command file.
    pub fn parse(text: impl Into<Vec<u8>>, rules: Rules) -> Result<Self, ParseError> {
        ExecutorConfig::parse(text, rules).map(Self)
    }

    pub(super) fn get(&self, key: &str) -> Option<&[u8]> {
        self.0.get(SECTION, key)
    }

    pub(super) fn list(&self, key: &str) -> Option<List<'_>> {
        self.0.list(SECTION, key)
    }

    /// The items of a list; none if the key is absent.
    pub(super) fn items(&self, key: &str) -> impl Iterator<Item = &[u8]> {
        self.0.items(SECTION, key)
    }

    /// Whether the value is `true` in any case.
    pub(super) fn is_true(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| value.eq_ignore_ascii_case(b"true"))
    }
}
