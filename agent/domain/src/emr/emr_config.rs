//! The configuration JSON that makes a new EMR cluster trust registries.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};
use thiserror::Error;

use super::{AUTO_AUTH_KEY, DEFAULT_TRUSTED_REGISTRIES};
use crate::registry::HostName;

/// A registry as an entry of Hadoop's list: a host, and maybe the beginning of repositories' names.
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

/// What `--configurations` takes: both lists, EMR's defaults kept; if `only_agent`, EMR's own ECR
/// authentication is turned off as well.
pub fn render(registries: &[TrustedEntry], only_agent: bool) -> Value {
    let mut entries = DEFAULT_TRUSTED_REGISTRIES.to_vec();
    for registry in registries {
        if !entries.contains(&registry.0.as_str()) {
            entries.push(&registry.0);
        }
    }
    let list = entries.join(",");
    let mut configurations = vec![json!({
        "Classification": "container-executor",
        "Properties": {},
        "Configurations": [{
            "Classification": "docker",
            "Properties": {
                "docker.trusted.registries": list,
                "docker.privileged-containers.registries": list,
            },
        }],
    })];
    if only_agent {
        configurations
            .push(json!({ "Classification": "yarn-site", "Properties": { AUTO_AUTH_KEY: "false" } }));
    }
    Value::Array(configurations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lists_keep_emrs_defaults() {
        let host: TrustedEntry = "123456789123.dkr.ecr.us-east-1.amazonaws.com".parse().expect("a registry");
        let rendered = render(&[host.clone(), host, "centos".parse().expect("a name")], false);
        let properties = &rendered[0]["Configurations"][0]["Properties"];
        for key in ["docker.trusted.registries", "docker.privileged-containers.registries"] {
            assert_eq!(properties[key], "local,centos,123456789123.dkr.ecr.us-east-1.amazonaws.com");
        }
        assert_eq!(rendered.as_array().map(Vec::len), Some(1));
    }

    #[test]
    fn only_the_agent_means_not_emr() {
        let rendered = render(&[], true);
        assert_eq!(rendered[1]["Classification"], "yarn-site");
        assert_eq!(rendered[1]["Properties"][AUTO_AUTH_KEY], "false");
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
