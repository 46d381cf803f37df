//! Spark properties: what their containers would request from YARN, and what is wrong with them.
//!
//! Spark passes environment variables to executors and to the application master by keys with different prefixes.
//! [`run`](super::run) checks the properties in [`Inputs::spark`](super::Inputs), and what they request like any
//! other request.

use std::collections::BTreeMap;

use super::request::{CLIENT_CONFIG, IMAGE, MOUNTS, PREFIX, Request, TYPE, VARIABLES, unknown_variable};
use super::template::is_unresolved;
use super::yarn_settings::YarnSettings;
use crate::documents::PublishedPath;
use crate::emr::properties::SparkProperty;
use crate::emr::spark_submit::MASTER;
use crate::findings::{Finding, Findings, Fix, codes};

const EXECUTORS: &str = "spark.executorEnv.";
const APPLICATION_MASTER: &str = "spark.yarn.appMasterEnv.";

/// Properties that files or a command set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SparkProperties {
    /// If a key is set twice, the last one counts.
    pub properties: Vec<SparkProperty>,
    /// Those that the command names behind the application, where they set nothing.
    pub behind_application: Vec<SparkProperty>,
    /// Whether the job reads a file of its own instead of spark-defaults.conf.
    pub replaces_defaults: bool,
}

/// The variables of one kind of container, by name.
type Environment<'s> = BTreeMap<&'s str, &'s SparkProperty>;

/// A kind of container that Spark starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Both request the same.
    Both,
    Executor,
    ApplicationMaster,
}

impl SparkProperties {
    /// What each kind of container requests from YARN, if any of its properties concern Docker. Kinds that request
    /// the same are one.
    pub(super) fn requests(&self) -> Vec<(Kind, Request)> {
        let request = |(kind, environment): (Kind, Environment<'_>)| {
            let variables = environment.iter();
            let variables = variables.map(|(name, property)| ((*name).to_owned(), property.value.clone()));
            let mut request = Request::of_environment(variables.collect());
            request.images.retain(|image| !image.is_empty());
            (kind, request)
        };
        self.distinct_environments().into_iter().map(request).collect()
    }

    /// These properties, which Spark lets override `defaults`.
    #[must_use]
    pub fn over(mut self, defaults: &Self) -> Self {
        self.properties.splice(..0, defaults.properties.iter().cloned());
        self
    }

    /// The file with the credentials of the job's containers, if the job names one that is known.
    pub fn client_config(&self) -> Option<&str> {
        let (executors, master) = self.environments();
        let named = executors.get(CLIENT_CONFIG).or(master.get(CLIENT_CONFIG));
        named.map(|property| property.value.as_str()).filter(|uri| !is_unresolved(uri.as_bytes()))
    }

    /// Whether any property is for YARN's container runtimes.
    pub fn concerns_containers(&self) -> bool {
        self.properties.iter().any(|property| property.key.contains(PREFIX))
    }

    /// The location of the property that a finding without a location is about.
    pub(super) fn location_of(&self, kind: Kind, finding: &Finding) -> Option<(String, Option<u32>)> {
        let variable = match finding.code {
            codes::IMAGE_INVALID | codes::IMAGE_BY_DIGEST => IMAGE,
            codes::MOUNT_NOT_UNDERSTOOD | codes::MOUNT_IMPOSSIBLE => MOUNTS,
            codes::JOB_OUTSIDE_DOCKER => TYPE,
            codes::JOB_SETTING_REFUSED => {
                let about = finding.excerpt.as_ref()?.about();
                VARIABLES.into_iter().find(|name| name.as_bytes() == about)?
            }
            _ => return None,
        };
        let (executors, master) = self.environments();
        let environment = if kind == Kind::ApplicationMaster { master } else { executors };
        let property = environment.get(variable)?;
        Some((property.file.clone(), property.line))
    }

    /// The environments of the containers that run in Docker, as far as the variables tell; one if both are equal.
    fn distinct_environments(&self) -> Vec<(Kind, Environment<'_>)> {
        let (executors, master) = self.environments();
        let values = |environment: &Environment<'_>| -> Vec<(String, String)> {
            let values = environment.iter();
            values.map(|(name, property)| ((*name).to_owned(), property.value.clone())).collect()
        };
        let mut kinds = if values(&executors) == values(&master) {
            vec![(Kind::Both, executors)]
        } else {
            vec![(Kind::Executor, executors), (Kind::ApplicationMaster, master)]
        };
        let any_asks = kinds.iter().any(|(_, environment)| asks_for_docker(environment));
        kinds.retain(
            |(_, environment)| {
                if any_asks { asks_for_docker(environment) } else { !environment.is_empty() }
            },
        );
        kinds
    }

    /// The environments of the executors and of the application master.
    fn environments(&self) -> (Environment<'_>, Environment<'_>) {
        let of = |prefix: &str| {
            let named = self.properties.iter().filter_map(|property| {
                let variable = property.key.strip_prefix(prefix)?;
                variable.starts_with(PREFIX).then_some((variable, property))
            });
            named.collect()
        };
        (of(EXECUTORS), of(APPLICATION_MASTER))
    }
}

/// Checks the properties by themselves and, if known, against what the NodeManager adds.
pub(super) fn check(
    spark: &SparkProperties,
    settings: Option<&YarnSettings>,
    published: &PublishedPath,
    found: &mut Findings,
) {
    check_keys(spark, found);
    check_behind_application(spark, found);
    check_master(spark, found);
    let (executors, master) = spark.environments();
    check_alike(spark, &executors, &master, found);
    for (kind, environment) in spark.distinct_environments() {
        check_environment(kind, &environment, settings, published, found);
    }
}

/// Checks the variables of one kind of container.
fn check_environment(
    kind: Kind,
    environment: &Environment<'_>,
    settings: Option<&YarnSettings>,
    published: &PublishedPath,
    found: &mut Findings,
) {
    if let Some(image) = environment.get(IMAGE).filter(|_| !environment.contains_key(TYPE))
        && settings.is_none_or(|settings| !settings.docker_by_default)
    {
        let message = format!("{IMAGE} is set, but {TYPE} is not");
        found.add(at(image, job_outside_docker(message)));
    }
    let default_image = || settings.is_some_and(|settings| settings.default_image.is_some());
    if let Some(property) = environment.get(TYPE).filter(|property| property.value == "docker")
        && environment.get(IMAGE).is_none_or(|image| image.value.is_empty())
        && !default_image()
    {
        let message = format!("{TYPE} is docker, but {IMAGE} is not set");
        let fix = Fix::manual(match kind {
            Kind::Both => format!("set {EXECUTORS}{IMAGE} and {APPLICATION_MASTER}{IMAGE}"),
            Kind::Executor => format!("set {EXECUTORS}{IMAGE}"),
            Kind::ApplicationMaster => format!("set {APPLICATION_MASTER}{IMAGE}"),
        });
        found.add(at(property, Finding::new(codes::JOB_WITHOUT_IMAGE, message).fix(fix)));
    }
    if let Some(property) =
        environment.get(CLIENT_CONFIG).filter(|property| !is_unresolved(property.value.as_bytes()))
    {
        check_client_config(property, published, found);
    }
}

/// The finding that the job's containers start without Docker.
pub(super) fn job_outside_docker(message: String) -> Finding {
    let fix = Fix::manual(format!("set {EXECUTORS}{TYPE} and {APPLICATION_MASTER}{TYPE} to docker"));
    Finding::new(codes::JOB_OUTSIDE_DOCKER, message).fix(fix)
}

fn at(property: &SparkProperty, finding: Finding) -> Finding {
    finding.in_file(&property.file).at(property.line).about(property.key.as_bytes())
}

/// Reports keys whose prefix Spark does not know, or whose variable YARN does not read.
fn check_keys(spark: &SparkProperties, found: &mut Findings) {
    for property in &spark.properties {
        let Some(start) = property.key.find(PREFIX) else { continue };
        let (prefix, variable) = property.key.split_at(start);
        if is_unknown(property) {
            let lower = prefix.to_ascii_lowercase();
            let of_master = lower.contains("master") || lower.contains("driver");
            let meant = if of_master { APPLICATION_MASTER } else { EXECUTORS };
            let message = format!(
                "Spark does not recognize `{prefix}`, so `{}` sets nothing in any container",
                property.key
            );
            let fix = Fix::manual(format!("write {meant}{variable}"));
            found.add(at(property, Finding::new(codes::SPARK_PREFIX_UNKNOWN, message).fix(fix)));
        } else if let Some(finding) = unknown_variable(prefix, variable) {
            found.add(at(property, finding));
        }
    }
}

/// Reports variables that Spark passes to the application as arguments.
fn check_behind_application(spark: &SparkProperties, found: &mut Findings) {
    for property in spark.behind_application.iter().filter(|property| property.key.contains(PREFIX)) {
        let message = format!("the command sets {} behind the application", property.key);
        let fix = Fix::manual("write the option before the application");
        found.add(at(property, Finding::new(codes::SPARK_OPTION_IGNORED, message).fix(fix)));
    }
}

/// Reports a master without YARN, for jobs that request Docker.
fn check_master(spark: &SparkProperties, found: &mut Findings) {
    let Some(master) = spark.properties.iter().rev().find(|property| property.key == MASTER) else { return };
    let (executors, of_master) = spark.environments();
    if master.value.starts_with("yarn")
        || is_unresolved(master.value.as_bytes())
        || ![executors, of_master].iter().any(asks_for_docker)
    {
        return;
    }
    let message = format!("Spark's master is `{}`, not `yarn`", master.value);
    let fix = Fix::manual("submit with --master yarn");
    found.add(at(master, Finding::new(codes::JOB_OUTSIDE_DOCKER, message).fix(fix)));
}

fn asks_for_docker(environment: &Environment<'_>) -> bool {
    environment.contains_key(TYPE) || environment.contains_key(IMAGE)
}

/// Whether the key passes its variable to no container.
fn is_unknown(property: &SparkProperty) -> bool {
    let prefix = property.key.find(PREFIX).map(|start| &property.key[..start]);
    prefix.is_some_and(|prefix| prefix != EXECUTORS && prefix != APPLICATION_MASTER)
}

/// Reports variables that the two kinds of container do not share.
fn check_alike(
    spark: &SparkProperties,
    executors: &Environment<'_>,
    master: &Environment<'_>,
    found: &mut Findings,
) {
    let mut differs = |property: &SparkProperty, message: String, key: String, value: &str| {
        let fix = Fix::manual(format!("set {key} to {value}"));
        found.add(at(property, Finding::new(codes::SPARK_CONTAINERS_DIFFER, message).fix(fix)));
    };
    for (variable, property) in executors {
        let of_master = master.get(variable);
        let is_misspelt =
            || spark.properties.iter().any(|other| is_unknown(other) && other.key.ends_with(variable));
        if of_master.is_some_and(|other| other.value == property.value)
            || of_master.is_none() && is_misspelt()
        {
            continue;
        }
        let message = match of_master {
            Some(other) => format!(
                "executors get {variable}={}, but the application master gets {}",
                property.value, other.value
            ),
            None => format!("executors get {variable}, but the application master does not"),
        };
        differs(property, message, format!("{APPLICATION_MASTER}{variable}"), &property.value);
    }
    for (variable, property) in master.iter().filter(|(variable, _)| !executors.contains_key(*variable)) {
        let message = format!("the application master gets {variable}, but executors do not");
        differs(property, message, format!("{EXECUTORS}{variable}"), &property.value);
    }
}

fn check_client_config(property: &SparkProperty, published: &PublishedPath, found: &mut Findings) {
    let named = PublishedPath::parse(&property.value);
    let is_published = named.is_some_and(|named| {
        let other_file_system =
            named.file_system().zip(published.file_system()).is_some_and(|(one, other)| one != other);
        named.path() == published.path() && !other_file_system
    });
    if !is_published {
        let message = format!("the job names {}, but the agent publishes {published}", property.value);
        let uri = match published.file_system() {
            Some(_) => published.to_string(),
            None => format!("hdfs://{published}"),
        };
        let fix = Fix::manual(format!("name {uri}, or set [published] path in agent.toml"));
        found.add(at(property, Finding::new(codes::CLIENT_CONFIG_ELSEWHERE, message).fix(fix)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::Code;

    fn properties(of: &[(&str, &str)]) -> SparkProperties {
        let property = |(line, (key, value)): (u32, &(&str, &str))| SparkProperty {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
            file: "spark-defaults.conf".to_owned(),
            line: Some(line),
        };
        let properties = (1..).zip(of).map(property).collect();
        SparkProperties { properties, ..SparkProperties::default() }
    }

    #[track_caller]
    fn check_codes(of: &[(&str, &str)], expected: &[(Code, u32)]) {
        let mut found = Findings::default();
        check(&properties(of), None, &PublishedPath::default(), &mut found);
        let found: Vec<_> =
            found.iter().map(|finding| (finding.code, finding.line.expect("a line"))).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn both_kinds_of_containers_get_the_same() {
        let executor = "spark.executorEnv.YARN_CONTAINER_RUNTIME_";
        let master = "spark.yarn.appMasterEnv.YARN_CONTAINER_RUNTIME_";
        let key = |prefix: &str, name: &str| format!("{prefix}{name}");
        let (e_type, m_type) = (key(executor, "TYPE"), key(master, "TYPE"));
        let (e_image, m_image) = (key(executor, "DOCKER_IMAGE"), key(master, "DOCKER_IMAGE"));
        let sound = [
            (e_type.as_str(), "docker"),
            (m_type.as_str(), "docker"),
            (e_image.as_str(), "host/a:1"),
            (m_image.as_str(), "host/a:1"),
        ];
        check_codes(&sound, &[]);
        check_codes(&sound[..3], &[(codes::SPARK_CONTAINERS_DIFFER, 3), (codes::JOB_WITHOUT_IMAGE, 2)]);
        let other = [sound[0], sound[1], sound[2], (m_image.as_str(), "host/b:1")];
        check_codes(&other, &[(codes::SPARK_CONTAINERS_DIFFER, 3)]);
        let requests = properties(&other).requests();
        let images: Vec<_> = requests.iter().map(|(kind, request)| (*kind, &request.images[..])).collect();
        let (one, two) = ([b"host/a:1".to_vec()], [b"host/b:1".to_vec()]);
        assert_eq!(images, [(Kind::Executor, &one[..]), (Kind::ApplicationMaster, &two[..])]);
        assert_eq!(properties(&sound).requests()[0].0, Kind::Both);
        check_codes(&sound[..2], &[(codes::JOB_WITHOUT_IMAGE, 1)]);
        check_codes(&sound[2..], &[(codes::JOB_OUTSIDE_DOCKER, 1)]);
    }

    #[test]
    fn keys_that_set_nothing_are_found() {
        let typo = "spark.yarn.AppMasterEnv.YARN_CONTAINER_RUNTIME_TYPE";
        check_codes(&[(typo, "docker")], &[(codes::SPARK_PREFIX_UNKNOWN, 1)]);
        let unknown = [
            ("spark.executorEnv.YARN_CONTAINER_RUNTIME_DOCKER_MOUNT", "/a:/a:ro"),
            ("spark.yarn.appMasterEnv.YARN_CONTAINER_RUNTIME_DOCKER_MOUNT", "/a:/a:ro"),
        ];
        let both = [(codes::JOB_VARIABLE_UNKNOWN, 1), (codes::JOB_VARIABLE_UNKNOWN, 2)];
        check_codes(&unknown, &both);
        check_codes(&[("spark.executor.memory", "1g"), ("spark.executorEnv.PYTHONPATH", "x")], &[]);
    }

    #[test]
    fn only_yarn_runs_docker() {
        let docker = ("spark.executorEnv.YARN_CONTAINER_RUNTIME_TYPE", "docker");
        let image = ("spark.executorEnv.YARN_CONTAINER_RUNTIME_DOCKER_IMAGE", "host/a:1");
        let of_master = [
            ("spark.yarn.appMasterEnv.YARN_CONTAINER_RUNTIME_TYPE", "docker"),
            ("spark.yarn.appMasterEnv.YARN_CONTAINER_RUNTIME_DOCKER_IMAGE", "host/a:1"),
        ];
        let check = |masters: &[&str], expected: &[(Code, u32)]| {
            let masters = masters.iter().map(|master| (MASTER, *master));
            let all: Vec<_> = masters.chain([docker, image]).chain(of_master).collect();
            check_codes(&all, expected);
        };
        check(&["yarn"], &[]);
        check(&["${MASTER}"], &[]);
        check(&["local[*]"], &[(codes::JOB_OUTSIDE_DOCKER, 1)]);
        check(&["yarn", "spark://host:7077"], &[(codes::JOB_OUTSIDE_DOCKER, 2)]);
        check(&["local", "yarn"], &[]);
        check_codes(&[(MASTER, "local")], &[]);
    }

    #[test]
    fn the_published_file_is_named_in_several_ways() {
        let check = |value: &str, expected: bool| {
            let both = [
                ("spark.executorEnv.YARN_CONTAINER_RUNTIME_DOCKER_CLIENT_CONFIG", value),
                ("spark.yarn.appMasterEnv.YARN_CONTAINER_RUNTIME_DOCKER_CLIENT_CONFIG", value),
            ];
            let found = if expected { vec![] } else { vec![(codes::CLIENT_CONFIG_ELSEWHERE, 1)] };
            check_codes(&both, &found);
        };
        check("hdfs:///user/hadoop/config.json", true);
        check("/user/hadoop/config.json", true);
        check("hdfs://namenode:8020/user/hadoop/config.json", true);
        check("hdfs:///user/hadoop/other.json", false);
        check("s3://bucket/config.json", false);
    }
}
