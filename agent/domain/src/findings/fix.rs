//! A finding's fix, as data and as text.

use hadoop_rules::executor_config::HEAD;
use serde::{Deserialize, Serialize};

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Set `key` to `value`, in `section` where the file has sections.
    Set,
    /// Remove the line that the finding names.
    RemoveLine,
    /// Replace the line that the finding names with `value`, or with `key=value` if there is a key.
    ReplaceLine,
    /// Run the command `value`.
    Run,
    /// Nothing that a program can do; `text` describes it.
    Manual,
}

/// One fix. Its text is made from the other fields, unless the action is [`Action::Manual`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fix {
    /// The file to change.
    pub file: Option<String>,
    pub action: Action,
    /// The section of container-executor.cfg, empty above the first one; or the classification of an EMR
    /// configuration JSON.
    pub section: Option<String>,
    pub key: Option<String>,
    pub value: Option<String>,
    pub text: String,
}

impl Fix {
    /// `key=value` in a section of container-executor.cfg.
    pub(crate) fn set(section: &str, key: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        let text = match section {
            HEAD => format!("above the first section: {key}={value}"),
            section => format!("in [{section}]: {key}={value}"),
        };
        Self {
            section: Some(section.to_owned()),
            key: Some(key.to_owned()),
            ..Self::of(Action::Set, value, text)
        }
    }

    /// A property of a `*-site.xml`.
    pub(crate) fn property(key: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        let text = format!("<property><name>{key}</name><value>{value}</value></property>");
        Self { key: Some(key.to_owned()), ..Self::of(Action::Set, value, text) }
    }

    pub(crate) fn remove_line() -> Self {
        Self { value: None, ..Self::of(Action::RemoveLine, "", "remove the line".to_owned()) }
    }

    pub(crate) fn replace_line(value: impl Into<String>) -> Self {
        let value = value.into();
        let text = format!("write the line as: {value}");
        Self::of(Action::ReplaceLine, value, text)
    }

    pub(crate) fn replace_entry(key: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        let text = format!("write the line as: {key}={value}");
        Self { key: Some(key.to_owned()), ..Self::of(Action::ReplaceLine, value, text) }
    }

    pub(crate) fn run(command: impl Into<String>) -> Self {
        let command = command.into();
        let text = format!("run: {command}");
        Self::of(Action::Run, command, text)
    }

    pub(crate) fn manual(text: impl Into<String>) -> Self {
        Self { value: None, ..Self::of(Action::Manual, "", text.into()) }
    }

    /// Names the file to change; commands and manual fixes keep theirs.
    #[must_use]
    pub(crate) fn in_file(mut self, file: &str) -> Self {
        if matches!(self.action, Action::Set | Action::RemoveLine | Action::ReplaceLine) {
            self.file = Some(file.to_owned());
        }
        self
    }

    /// The same fix in the configuration that EMR writes the file from: in the properties of this classification,
    /// where `property` sets the line.
    #[must_use]
    pub(crate) fn in_classification(self, classification: &str, property: Option<&str>) -> Self {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let place = format!("in the properties of {classification}");
        let written = quoted(property.unwrap_or_default());
        match (self.action, &self.key, &self.value) {
            (Action::Set, Some(key), Some(value)) => {
                let text = format!("{place}: {}: {}", quoted(key), quoted(value));
                Self { section: Some(classification.to_owned()), text, ..self }
            }
            (Action::ReplaceLine, Some(key), Some(value)) => {
                Self::manual(format!("{place}, instead of {written}: {}: {}", quoted(key), quoted(value)))
            }
            (Action::RemoveLine, ..) => Self::manual(format!("{place}: remove {written}")),
            (Action::ReplaceLine, ..) => Self::manual(format!("{place}: correct {written}")),
            (Action::Set | Action::Run | Action::Manual, ..) => self,
        }
    }

    fn of(action: Action, value: impl Into<String>, text: String) -> Self {
        Self { file: None, action, section: None, key: None, value: Some(value.into()), text }
    }
}

#[cfg(test)]
mod tests {
    use super::Fix;

    #[test]
    fn text_follows_the_kind_of_file() {
        let fix = Fix::set("docker", "module.enabled", "true");
        assert_eq!(fix.text, "in [docker]: module.enabled=true");
        let json = fix.in_classification("container-executor/docker", None);
        assert_eq!(json.text, r#"in the properties of container-executor/docker: "module.enabled": "true""#);
        let removed = Fix::remove_line().in_classification("yarn-site", Some("k"));
        assert_eq!(removed.text, r#"in the properties of yarn-site: remove "k""#);
        assert_eq!(Fix::set("", "a", "b").text, "above the first section: a=b");
        let property = Fix::property("a", "b").text;
        assert_eq!(property, "<property><name>a</name><value>b</value></property>");
    }

    #[test]
    fn only_changes_of_a_file_name_one() {
        assert_eq!(Fix::remove_line().in_file("f").file.as_deref(), Some("f"));
        assert_eq!(Fix::run("true").in_file("f").file, None);
    }
}
