//! What a job must set so that Spark's application master and executors, or other containers, run in Docker: the
//! variables from AWS's documentation, in forms ready to paste.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::shell::quoted;

/// Spark passes environment variables to each kind of container by keys with these prefixes.
const PREFIXES: [&str; 2] = ["spark.executorEnv.", "spark.yarn.appMasterEnv."];
/// MapReduce's prefixes, for each kind of container. Hadoop 3.0 and later take one variable per key, so commas do
/// no harm.
const MAPREDUCE_PREFIXES: [&str; 3] =
    ["mapreduce.map.env.", "mapreduce.reduce.env.", "yarn.app.mapreduce.am.env."];
const VARIABLE: &str = "YARN_CONTAINER_RUNTIME_";
/// Without it, the node's users have no names in the container.
const PASSWD: &str = "/etc/passwd:/etc/passwd:ro";
/// Without it, nothing in the container finds the KDC.
const KRB5: &str = "/etc/krb5.conf:/etc/krb5.conf:ro";

/// What a submission requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    pub image: String,
    /// `source:destination:mode` each, in addition to /etc/passwd.
    pub mounts: Vec<String>,
    /// URI of the published config.json.
    pub client_config: String,
    /// Whether the cluster uses Kerberos, whose configuration containers then need.
    pub kerberos: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `--conf key=value` on one line, quoted for a POSIX shell where needed.
    SparkSubmit,
    /// Lines of spark-defaults.conf.
    SparkDefaults,
    /// `key=value` lines, as `--properties-file` takes them.
    Properties,
    /// One JSON object.
    Json,
    /// A configuration JSON with the classification spark-defaults.
    EmrClassification,
    /// What `aws emr add-steps --steps file://FILE` takes.
    EmrStep,
    /// The list of steps of boto3's add_job_flow_steps, and of Airflow's EmrAddStepsOperator.
    Boto3,
    /// The body of a Livy session or batch, and of sparkmagic's %%configure.
    Livy,
    /// `-D key=value` on one line.
    MapReduce,
    /// Options of YARN's distributed shell on one line.
    DistributedShell,
}

impl Submission {
    /// All mounts, /etc/passwd first, each once.
    pub fn all_mounts(&self) -> Vec<&str> {
        let mut mounts = vec![PASSWD];
        if self.kerberos {
            mounts.push(KRB5);
        }
        for mount in &self.mounts {
            if !mounts.contains(&mount.as_str()) {
                mounts.push(mount);
            }
        }
        mounts
    }

    /// Spark's properties, those of the executors first.
    pub fn properties(&self) -> Vec<(String, String)> {
        self.with_prefixes(&PREFIXES)
    }

    /// The properties as text that ends in a newline, with the application and its arguments if the format has
    /// them.
    pub fn render(&self, format: Format, application: &[String]) -> String {
        let properties = self.properties();
        match format {
            Format::SparkSubmit => {
                let words = conf(&properties).into_iter().chain(application.iter().cloned());
                one_line(words)
            }
            Format::SparkDefaults => lines(&properties, ' '),
            Format::Properties => lines(&properties, '='),
            Format::Json => pretty(&object(properties)),
            Format::EmrClassification => {
                pretty(&json!([{"Classification": "spark-defaults", "Properties": object(properties)}]))
            }
            Format::EmrStep => pretty(&json!([{
                "Type": "CUSTOM_JAR",
                "Name": NAME,
                "ActionOnFailure": "CONTINUE",
                "Jar": RUNNER,
                "Args": spark_submit(&properties, application),
            }])),
            Format::Boto3 => pretty(&json!([{
                "Name": NAME,
                "ActionOnFailure": "CONTINUE",
                "HadoopJarStep": {"Jar": RUNNER, "Args": spark_submit(&properties, application)},
            }])),
            Format::Livy => pretty(&json!({"conf": object(properties)})),
            Format::MapReduce => {
                let properties = self.with_prefixes(&MAPREDUCE_PREFIXES);
                one_line(
                    properties.iter().flat_map(|(key, value)| ["-D".to_owned(), format!("{key}={value}")]),
                )
            }
            Format::DistributedShell => {
                let variables = self.with_prefixes(&[""]);
                let option =
                    |(key, value): &(String, String)| ["-shell_env".to_owned(), format!("{key}={value}")];
                one_line(variables.iter().flat_map(option))
            }
        }
    }

    fn with_prefixes(&self, prefixes: &[&str]) -> Vec<(String, String)> {
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
        prefixes.iter().flat_map(|prefix| variables.map(|variable| property(prefix, variable))).collect()
    }
}

/// The name of a step.
const NAME: &str = "Spark in Docker";
/// EMR's jar that runs a command on the primary node.
const RUNNER: &str = "command-runner.jar";

fn conf(properties: &[(String, String)]) -> Vec<String> {
    let option = |(key, value): &(String, String)| ["--conf".to_owned(), format!("{key}={value}")];
    properties.iter().flat_map(option).collect()
}

fn spark_submit(properties: &[(String, String)], application: &[String]) -> Vec<String> {
    let mut words = ["spark-submit", "--deploy-mode", "cluster"].map(str::to_owned).to_vec();
    words.extend(conf(properties));
    words.extend_from_slice(application);
    words
}

fn one_line(words: impl Iterator<Item = String>) -> String {
    words.map(|word| quoted(&word)).collect::<Vec<_>>().join(" ") + "\n"
}

fn object(properties: Vec<(String, String)>) -> Value {
    let members: Map<String, Value> =
        properties.into_iter().map(|(key, value)| (key, value.into())).collect();
    Value::Object(members)
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn lines(properties: &[(String, String)], separator: char) -> String {
    let line = |(key, value): &(String, String)| format!("{key}{separator}{}\n", escaped(value));
    properties.iter().map(line).collect()
}

/// Escapes a value for a Java properties file.
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
            kerberos: false,
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
            let text = submission("host/app:v1").render(format, &[]);
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
        assert!(!submission("host/app:v1").render(Format::SparkSubmit, &[]).contains(['\'', '"', '\\']));
    }

    #[test]
    fn steps_end_in_the_application() {
        let application = ["s3://bucket/main.py".to_owned(), "an argument".to_owned()];
        let parsed = |format| -> Value {
            serde_json::from_str(&submission("host/app:v1").render(format, &application)).expect("JSON")
        };
        let (step, boto3) = (parsed(Format::EmrStep), parsed(Format::Boto3));
        let args = &step[0]["Args"];
        assert_eq!(*args, boto3[0]["HadoopJarStep"]["Args"]);
        let words: Vec<&str> = args.as_array().expect("a list").iter().filter_map(Value::as_str).collect();
        assert_eq!(words[..3], ["spark-submit", "--deploy-mode", "cluster"]);
        assert_eq!(words[words.len() - 2..], ["s3://bucket/main.py", "an argument"]);
        assert_eq!(words.iter().filter(|word| **word == "--conf").count(), 8);
        assert_eq!((&step[0]["Jar"], &boto3[0]["HadoopJarStep"]["Jar"]), (&json!(RUNNER), &json!(RUNNER)));
        let line = submission("host/app:v1").render(Format::SparkSubmit, &application);
        assert!(line.ends_with(" s3://bucket/main.py 'an argument'\n"), "{line}");
    }

    #[test]
    fn services_get_the_properties_as_an_object() {
        let parsed = |format| -> Value {
            serde_json::from_str(&submission("host/app:v1").render(format, &[])).expect("JSON")
        };
        let object = parsed(Format::Json);
        assert_eq!(parsed(Format::Livy), json!({"conf": object}));
        assert_eq!(
            parsed(Format::EmrClassification),
            json!([{"Classification": "spark-defaults", "Properties": object}])
        );
    }

    #[test]
    fn other_applications_get_the_variables() {
        let check = |format, expected: &[&str]| {
            let line = submission("host/app:v1").render(format, &[]);
            let words = shlex::split(&line).expect("words");
            assert_eq!(words.len(), 2 * expected.len() * 4, "{line}");
            for prefix in expected {
                let mounts = format!(
                    "{prefix}YARN_CONTAINER_RUNTIME_DOCKER_MOUNTS=/etc/passwd:/etc/passwd:ro,/opt/data:/data:ro"
                );
                assert!(words.contains(&mounts), "{mounts}: {line}");
            }
        };
        check(Format::MapReduce, &MAPREDUCE_PREFIXES);
        check(Format::DistributedShell, &[""]);
    }

    #[test]
    fn kerberos_needs_its_configuration() {
        let submission = Submission { kerberos: true, ..submission("host/app:v1") };
        assert_eq!(submission.all_mounts(), [PASSWD, KRB5, "/opt/data:/data:ro"]);
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
