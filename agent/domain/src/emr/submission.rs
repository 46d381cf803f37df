//! What a job has to say so that Spark's application master and executors run in Docker containers:
//! the options of AWS's documentation, in the forms that people paste them in.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::shell::quoted;

/// Spark hands environment variables to either kind of container by keys that begin so.
const PREFIXES: [&str; 2] = ["spark.executorEnv.", "spark.yarn.appMasterEnv."];
const VARIABLE: &str = "YARN_CONTAINER_RUNTIME_";
/// Without it no user of the node has a name within the container.
const PASSWD: &str = "/etc/passwd:/etc/passwd:ro";

/// A submission's wishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    pub image: String,
    /// `source:destination:mode` each, in addition to /etc/passwd.
    pub mounts: Vec<String>,
    /// URI of the published config.json.
    pub client_config: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `--conf key=value` in one line, quoted for a POSIX shell where that is needed.
    SparkSubmit,
    /// Lines of spark-defaults.conf.
    SparkDefaults,
    /// `key=value` lines, as `--properties-file` takes them.
    Properties,
    /// One JSON object.
    Json,
}

impl Submission {
    /// All mounts, /etc/passwd first, each once.
    pub fn all_mounts(&self) -> Vec<&str> {
        let mut mounts = vec![PASSWD];
        for mount in &self.mounts {
            if !mounts.contains(&mount.as_str()) {
                mounts.push(mount);
            }
        }
        mounts
    }

    /// Spark's properties, those of the executors first.
    pub fn properties(&self) -> Vec<(String, String)> {
        let mounts = self.all_mounts().join(",");
        let variables = [
            ("TYPE", "docker"),
            ("DOCKER_IMAGE", &self.image),
            ("DOCKER_CLIENT_CONFIG", &self.client_config),
            ("DOCKER_MOUNTS", &mounts),
        ];
        let property = |prefix: &str, (name, value): (&str, &str)| {
            (format!("{prefix}{VARIABLE}{name}"), value.to_owned())
        };
        PREFIXES.iter().flat_map(|prefix| variables.map(|variable| property(prefix, variable))).collect()
    }

    /// The properties as text; ends in a line end.
    pub fn render(&self, format: Format) -> String {
        let properties = self.properties();
        match format {
            Format::SparkSubmit => {
                let option =
                    |(key, value): &(String, String)| format!("--conf {}", quoted(&format!("{key}={value}")));
                properties.iter().map(option).collect::<Vec<_>>().join(" ") + "\n"
            }
            Format::SparkDefaults => lines(&properties, ' '),
            Format::Properties => lines(&properties, '='),
            Format::Json => {
                let object: Map<String, Value> =
                    properties.into_iter().map(|(key, value)| (key, value.into())).collect();
                format!("{:#}\n", Value::Object(object))
            }
        }
    }
}

fn lines(properties: &[(String, String)], separator: char) -> String {
    let line = |(key, value): &(String, String)| format!("{key}{separator}{}\n", escaped(value));
    properties.iter().map(line).collect()
}

/// A value of a Java properties file.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for (at, character) in value.char_indices() {
        match character {
            '\\' => text.push_str(r"\\"),
            '\n' => text.push_str(r"\n"),
            '\r' => text.push_str(r"\r"),
            '\t' => text.push_str(r"\t"),
            ' ' if at == 0 => text.push_str(r"\ "),
            other if other.is_ascii() => text.push(other),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(text, r"\u{unit:04x}");
                }
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submission(image: &str) -> Submission {
        Submission {
            image: image.to_owned(),
            mounts: vec!["/opt/data:/data:ro".to_owned(), PASSWD.to_owned()],
            client_config: "hdfs:///user/hadoop/config.json".to_owned(),
        }
    }

    #[test]
    fn each_variable_goes_to_executors_and_application_master() {
        let properties = submission("host/app:v1").properties();
        let variables = [
            ("YARN_CONTAINER_RUNTIME_TYPE", "docker"),
            ("YARN_CONTAINER_RUNTIME_DOCKER_IMAGE", "host/app:v1"),
            ("YARN_CONTAINER_RUNTIME_DOCKER_CLIENT_CONFIG", "hdfs:///user/hadoop/config.json"),
            ("YARN_CONTAINER_RUNTIME_DOCKER_MOUNTS", "/etc/passwd:/etc/passwd:ro,/opt/data:/data:ro"),
        ];
        let expected = ["spark.executorEnv.", "spark.yarn.appMasterEnv."]
            .iter()
            .flat_map(|prefix| variables.map(|(name, value)| (format!("{prefix}{name}"), value.to_owned())));
        assert_eq!(properties, expected.collect::<Vec<_>>());
    }

    #[test]
    fn every_format_says_the_same() {
        let check = |format, expected: &str| {
            let text = submission("host/app:v1").render(format);
            assert!(text.contains(expected), "{text}");
            assert!(text.ends_with('\n'));
        };
        check(
            Format::SparkSubmit,
            "--conf spark.executorEnv.YARN_CONTAINER_RUNTIME_DOCKER_IMAGE=host/app:v1 --conf ",
        );
        check(Format::SparkDefaults, "\nspark.executorEnv.YARN_CONTAINER_RUNTIME_DOCKER_IMAGE host/app:v1\n");
        check(Format::Properties, "\nspark.executorEnv.YARN_CONTAINER_RUNTIME_DOCKER_IMAGE=host/app:v1\n");
        check(Format::Json, r#""spark.executorEnv.YARN_CONTAINER_RUNTIME_DOCKER_IMAGE": "host/app:v1""#);
        assert!(!submission("host/app:v1").render(Format::SparkSubmit).contains(['\'', '"', '\\']));
    }

    #[test]
    fn what_a_shell_or_java_would_obey_is_quoted() {
        let check = |value: &str, word: &str, property: &str| {
            assert_eq!((quoted(value).as_str(), escaped(value).as_str()), (word, property));
        };
        check("a b", "'a b'", "a b");
        check("it's", r"'it'\''s'", "it's");
        check("$(x)", "'$(x)'", "$(x)");
        check(r"a\b", r"'a\b'", r"a\\b");
        check(" a\n", "' a\n'", r"\ a\n");
        check("ä", "'ä'", r"\u00e4");
    }
}
