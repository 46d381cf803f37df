//! The configuration JSON that makes a new EMR cluster trust registries.

use std::fmt;
use std::str::FromStr;

use hadoop_rules::mounts::RO_MOUNTS_KEY;
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::submission::Submission;
use super::{AUTO_AUTH_KEY, DEFAULT_RO_MOUNTS, DEFAULT_TRUSTED_REGISTRIES};
use crate::registry::HostName;

/// A registry as an entry of Hadoop's list: a host, optionally with a prefix of repository names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedEntry(String);

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{0:?} is not a registry: write the host, such as 123456789123.dkr.ecr.us-east-1.amazonaws.com, without scheme, tag or spaces"
)]
pub struct NotAnEntry(String);

impl FromStr for TrustedEntry {
    type Err = NotAnEntry;

    fn from_str(text: &str) -> Result<Self, NotAnEntry> {
        let (host, path) = text.split_once('/').map_or((text, None), |(host, path)| (host, Some(path)));
        let in_path = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/".contains(c);
        let good = HostName::parse(host).is_some() && path.is_none_or(|path| path.chars().all(in_path));
        good.then(|| Self(text.to_owned())).ok_or_else(|| NotAnEntry(text.to_owned()))
    }
}

impl fmt::Display for TrustedEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The requested configuration of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterWishes {
    pub registries: Vec<TrustedEntry>,
    /// Sources of read-only mounts, on top of EMR's.
    pub ro_mounts: Vec<String>,
    /// Whether EMR's own ECR authentication stays on alongside the agent.
    pub keeps_emr_authentication: bool,
    /// What Spark jobs get by default.
    pub spark_defaults: Option<Submission>,
}

/// Which tool's names the members have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// `aws emr create-cluster --configurations`.
    Cli,
    /// `Configurations` of AWS::EMR::Cluster.
    CloudFormation,
}

/// The list of configurations: sets both registry lists, and keeps EMR's defaults.
pub fn render(wishes: &ClusterWishes, spelling: Spelling) -> Value {
    let properties = match spelling {
        Spelling::Cli => "Properties",
        Spelling::CloudFormation => "ConfigurationProperties",
    };
    let own = wishes.registries.iter().map(|registry| registry.0.as_str());
    let list = joined(DEFAULT_TRUSTED_REGISTRIES.into_iter().chain(own));
    let mut docker = Map::from_iter([
        ("docker.trusted.registries".to_owned(), Value::from(list.as_str())),
        ("docker.privileged-containers.registries".to_owned(), Value::from(list.as_str())),
    ]);
    if !wishes.ro_mounts.is_empty() {
        let own = wishes.ro_mounts.iter().map(String::as_str);
        docker.insert(RO_MOUNTS_KEY.to_owned(), joined(DEFAULT_RO_MOUNTS.into_iter().chain(own)).into());
    }
    let mut configurations = vec![json!({
        "Classification": "container-executor",
        properties: {},
        "Configurations": [{"Classification": "docker", properties: docker}],
    })];
    if !wishes.keeps_emr_authentication {
        configurations.push(json!({"Classification": "yarn-site", properties: {AUTO_AUTH_KEY: "false"}}));
    }
    if let Some(submission) = &wishes.spark_defaults {
        let defaults: Map<String, Value> =
            submission.properties().into_iter().map(|(key, value)| (key, value.into())).collect();
        configurations.push(json!({"Classification": "spark-defaults", properties: defaults}));
    }
    Value::Array(configurations)
}

/// The distinct entries, in order.
fn joined<'e>(entries: impl Iterator<Item = &'e str>) -> String {
    let mut list: Vec<&str> = Vec::new();
    for entry in entries {
        if !list.contains(&entry) {
            list.push(entry);
        }
    }
    list.join(",")
}

impl TrustedEntry {
    /// The entry that trusts the image and its siblings: its name up to the first `/`.
    pub fn of_image(image: &str) -> Result<Self, NotAnEntry> {
        let (host, _) = image.split_once('/').ok_or_else(|| NotAnEntry(image.to_owned()))?;
        host.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "123456789123.dkr.ecr.us-east-1.amazonaws.com";

    fn wishes(registries: &[&str]) -> ClusterWishes {
        let entry = |text: &&str| text.parse().expect("an entry");
        ClusterWishes { registries: registries.iter().map(entry).collect(), ..ClusterWishes::default() }
    }

    #[test]
    fn both_lists_keep_emrs_defaults() {
        let rendered = render(&wishes(&[HOST, HOST, "centos"]), Spelling::Cli);
        let properties = &rendered[0]["Configurations"][0]["Properties"];
        for key in ["docker.trusted.registries", "docker.privileged-containers.registries"] {
            assert_eq!(properties[key], format!("local,centos,{HOST}"));
        }
        assert_eq!(properties[RO_MOUNTS_KEY], Value::Null);
    }

    #[test]
    fn mounts_come_on_top_of_emrs() {
        let wishes = ClusterWishes {
            ro_mounts: vec!["/etc/krb5.conf".to_owned(), "/usr/lib".to_owned()],
            ..wishes(&[HOST])
        };
        let rendered = render(&wishes, Spelling::Cli);
        let expected = "/sys/fs/cgroup,/etc/passwd,/usr/lib,/usr/share,/etc/krb5.conf";
        assert_eq!(rendered[0]["Configurations"][0]["Properties"][RO_MOUNTS_KEY], expected);
    }

    #[test]
    fn the_agent_takes_the_place_of_emrs_authentication() {
        let rendered = render(&wishes(&[HOST]), Spelling::Cli);
        assert_eq!(rendered[1]["Classification"], "yarn-site");
        assert_eq!(rendered[1]["Properties"][AUTO_AUTH_KEY], "false");
        let both = ClusterWishes { keeps_emr_authentication: true, ..wishes(&[HOST]) };
        assert_eq!(render(&both, Spelling::Cli).as_array().map(Vec::len), Some(1));
    }

    #[test]
    fn cloudformation_spells_properties_its_own_way() {
        let rendered = render(&wishes(&[HOST]), Spelling::CloudFormation);
        let docker = &rendered[0]["Configurations"][0];
        assert_eq!(
            docker["ConfigurationProperties"]["docker.trusted.registries"],
            format!("local,centos,{HOST}")
        );
        assert!(!rendered.to_string().contains("\"Properties\""));
    }

    #[test]
    fn sparks_defaults_come_on_request() {
        let submission = Submission {
            image: format!("{HOST}/app:v1"),
            mounts: Vec::new(),
            client_config: "hdfs:///user/hadoop/config.json".to_owned(),
            kerberos: false,
        };
        let rendered =
            render(&ClusterWishes { spark_defaults: Some(submission), ..wishes(&[HOST]) }, Spelling::Cli);
        assert_eq!(rendered[2]["Classification"], "spark-defaults");
        for prefix in ["spark.executorEnv", "spark.yarn.appMasterEnv"] {
            let key = format!("{prefix}.YARN_CONTAINER_RUNTIME_DOCKER_IMAGE");
            assert_eq!(rendered[2]["Properties"][&key], format!("{HOST}/app:v1"));
        }
    }

    #[test]
    fn an_image_names_its_registry() {
        let check = |image: &str, expected: Option<&str>| {
            let entry = TrustedEntry::of_image(image).ok().map(|entry| entry.to_string());
            assert_eq!(entry.as_deref(), expected, "{image}");
        };
        check(&format!("{HOST}/team/app:v1"), Some(HOST));
        check("localhost:5000/app", Some("localhost:5000"));
        check("team/app", Some("team"));
        check("python:3.11", None);
        check("https://host/app", None);
    }

    #[test]
    fn entries_that_trust_nothing_are_refused() {
        for good in ["localhost:5000", "public.ecr.aws/alias", "registry.example.com/team/"] {
            assert!(good.parse::<TrustedEntry>().is_ok(), "{good}");
        }
        for bad in ["https://host", "host/app:v1", "*.example.com", " host", "a,b", "host/App", ""] {
            assert!(bad.parse::<TrustedEntry>().is_err(), "{bad}");
        }
    }
}
