//! A cluster yet to be created: what EMR will write from its configuration to container-executor.cfg and
//! yarn-site.xml, and what its defaults set for Spark, checked as if it were already written.

mod cluster;
mod document;
mod shape;

use std::collections::BTreeMap;

use hadoop_rules::executor_config::{DOCKER, PRIVILEGED_REGISTRIES_KEY, TRUSTED_REGISTRIES_KEY};

pub(super) use self::cluster::Files;
use self::cluster::{CORE_SITE, EXECUTOR, HDFS_SITE, SPARK_DEFAULTS, YARN_SITE, named, property};
use self::shape::{Classification, Cluster, Property};
use super::inputs::{Content, TextFile};
use super::template::is_unresolved;
use super::yarn_settings::DEFAULT_IMAGE_KEY;
use crate::findings::{Finding, Findings, Fix, codes};

/// The beginnings of yarn-site's keys that launches depend on.
const CHECKED_OF_YARN: [&str; 3] = [
    "yarn.nodemanager.runtime.linux.",
    "yarn.nodemanager.container-executor.",
    "yarn.nodemanager.linux-container-executor.",
];

/// A configuration that could be read.
pub(super) struct EmrConfig {
    pub files: Files,
    pub release: Option<String>,
    /// What trust depends on and the file leaves open.
    pub unresolved: Vec<Unresolved>,
    /// What else launches depend on and the file leaves open, as clauses.
    pub open: Vec<String>,
    pub not_checked: Vec<String>,
}

/// A part of a registry list that is not known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unresolved {
    /// The list's key.
    pub list: String,
    /// As a clause.
    pub what: String,
}

/// Reads the file; `None` and a finding if that fails.
pub(super) fn read(file: &TextFile, found: &mut Findings) -> Option<EmrConfig> {
    let path = &file.path;
    let bytes = match &file.content {
        Content::Bytes(bytes) => bytes,
        Content::Absent => {
            found.add(shape::unreadable(path, None, "it does not exist"));
            return None;
        }
        Content::Directory => {
            found.add(shape::unreadable(path, None, "it is a directory"));
            return None;
        }
        Content::Unreadable(why) => {
            found.add(shape::unreadable(path, None, why));
            return None;
        }
    };
    let document = match document::read(bytes) {
        Ok(document) => document,
        Err(unreadable) => {
            found.add(shape::unreadable(path, unreadable.line, &unreadable.why));
            return None;
        }
    };
    let cluster = shape::read(path, &document, found)?;
    check_places(path, &cluster, found);
    check_repetitions(path, &cluster.classifications, "", found);
    if cluster.unresolved.is_empty() {
        check_registries(path, &cluster, found);
    }
    check_hdfs(path, &cluster, found);
    let (mut unresolved, mut open) = check_unresolved(path, &cluster, found);
    // The list may be in what is not resolved.
    for what in cluster.unresolved.iter().map(|what| format!("the value of {what}")) {
        unresolved.push(Unresolved { list: TRUSTED_REGISTRIES_KEY.to_owned(), what: what.clone() });
        open.push(what);
    }
    let files = Files::of(path, &cluster);
    Some(EmrConfig { files, release: cluster.release, unresolved, open, not_checked: cluster.not_checked })
}

impl EmrConfig {
    /// Whether the finding may only be due to a default that stands for what the file leaves open.
    pub(super) fn may_resolve(&self, finding: &Finding) -> bool {
        !self.open.is_empty() && self.files.is_of_default(finding)
    }
}

fn sections(cluster: &Cluster) -> impl Iterator<Item = &Classification> {
    named(&cluster.classifications, EXECUTOR)
        .flat_map(|top| &top.nested)
        .filter(|nested| nested.name == DOCKER)
}

/// The classification that EMR knows and the name resembles, if any.
fn meant(name: &str) -> Option<&'static str> {
    let plain = name.to_ascii_lowercase().replace(['_', ' '], "-").replace('*', "");
    [EXECUTOR, DOCKER, YARN_SITE, SPARK_DEFAULTS, CORE_SITE, HDFS_SITE]
        .into_iter()
        .find(|known| *known == plain)
}

fn check_places(path: &str, cluster: &Cluster, found: &mut Findings) {
    let mut misplaced = |line: u32, message: String, fix: String| {
        let finding = Finding::new(codes::EMR_CLASSIFICATION_MISPLACED, message).fix(Fix::manual(fix));
        found.add(finding.in_file(path).at(line));
    };
    let nest = || {
        r#"{"Classification": "container-executor", "Configurations": [{"Classification": "docker", "Properties": {...}}]}"#
            .to_owned()
    };
    let is_docker = |property: &&Property| property.key.starts_with("docker.");
    for top in &cluster.classifications {
        if top.name == DOCKER {
            let key = top.properties.first().map_or(top.line, |property| property.line);
            misplaced(key, format!("Docker's properties are in the classification `{DOCKER}`"), nest());
        } else if let Some(property) =
            top.properties.iter().find(is_docker).filter(|_| top.name != SPARK_DEFAULTS)
        {
            let message = format!("Docker's properties are in the classification `{}`", top.name);
            misplaced(property.line, message, nest());
        }
        if let Some(known) = meant(&top.name).filter(|known| *known != top.name && *known != DOCKER) {
            let message = format!("EMR has no classification `{}`", top.name);
            misplaced(top.line, message, format!("write {known:?}"));
        }
        for nested in &top.nested {
            let is_docker = meant(&nested.name) == Some(DOCKER);
            if is_docker && (top.name != EXECUTOR || nested.name != DOCKER) {
                let message = format!(
                    "Docker's properties are in the classification `{}` below `{}`",
                    nested.name, top.name
                );
                misplaced(nested.line, message, nest());
            }
        }
    }
}

/// Reports two elements of the same name: which one counts is not documented.
fn check_repetitions(path: &str, classifications: &[Classification], above: &str, found: &mut Findings) {
    let mut seen = BTreeMap::new();
    for classification in classifications {
        if let Some(line) = seen.insert(&classification.name, classification.line) {
            let message = format!(
                "the classification {above}{} appears twice, first at line {line}; only the first was checked",
                classification.name
            );
            let fix = Fix::manual("write one object for each classification");
            let finding = Finding::new(codes::EMR_CLASSIFICATION_REPEATED, message).fix(fix);
            found.add(finding.in_file(path).at(classification.line));
        }
        let above = format!("{above}{}/", classification.name);
        if above.len() < 200 {
            check_repetitions(path, &classification.nested, &above, found);
        }
    }
}

fn check_registries(path: &str, cluster: &Cluster, found: &mut Findings) {
    let mut properties = sections(cluster).flat_map(|section| &section.properties);
    if !properties.any(|property| property.key == TRUSTED_REGISTRIES_KEY) {
        let message = format!("no classification container-executor/docker sets {TRUSTED_REGISTRIES_KEY}");
        let fix = Fix::manual("print one with: emr-ecr-agent emr-config --registry HOST");
        found.add(Finding::new(codes::EMR_CONFIG_WITHOUT_REGISTRIES, message).fix(fix).in_file(path));
    }
}

/// Checks what the published file depends on.
fn check_hdfs(path: &str, cluster: &Cluster, found: &mut Findings) {
    let mut report = |code, property: &Property, message: String, fix: &str| {
        let finding = Finding::new(code, message).fix(Fix::manual(fix)).in_file(path).at(property.line);
        found.add(finding.about(property.key.as_bytes()));
    };
    if let Some(file_system) = property(cluster, CORE_SITE, "fs.defaultFS") {
        let uri = file_system.value.trim();
        let is_hdfs = uri.starts_with("hdfs://") || uri.starts_with("viewfs://");
        if !is_hdfs && !is_unresolved(uri.as_bytes()) {
            let message = format!("fs.defaultFS is {uri}, but the published path names no NameNode");
            let fix = "remove fs.defaultFS, or set published.path to hdfs://HOST:PORT/PATH, for jobs as well";
            report(codes::DEFAULT_FS_NOT_HDFS, file_system, message, fix);
        }
    }
    if let Some(replicas) = property(cluster, HDFS_SITE, "dfs.replication")
        && replicas.value.trim() == "1"
    {
        let message =
            "dfs.replication is 1; the published file has its own setting, published.replication".to_owned();
        report(codes::SINGLE_REPLICA, replicas, message, "keep two replicas where there are two core nodes");
    }
}

/// Reports unresolved values that launches depend on; returns those that trust depends on, and what else is open.
fn check_unresolved(path: &str, cluster: &Cluster, found: &mut Findings) -> (Vec<Unresolved>, Vec<String>) {
    let (mut trust, mut open) = (Vec::new(), Vec::new());
    let executor = named(&cluster.classifications, EXECUTOR);
    let executor =
        executor.flat_map(|top| [top].into_iter().chain(&top.nested)).flat_map(|one| &one.properties);
    let yarn = named(&cluster.classifications, YARN_SITE).flat_map(|yarn| &yarn.properties);
    let yarn = yarn.filter(|property| CHECKED_OF_YARN.iter().any(|prefix| property.key.starts_with(prefix)));
    let spark = named(&cluster.classifications, SPARK_DEFAULTS).flat_map(|spark| &spark.properties);
    let spark = spark.filter(|property| property.key.contains("YARN_CONTAINER_RUNTIME_"));
    let files = executor.chain(yarn).map(|property| (property, true));
    for (property, is_of_file) in files.chain(spark.map(|property| (property, false))) {
        let Property { key, value, line } = property;
        if !is_unresolved(value.as_bytes()) {
            continue;
        }
        let message = format!("{key} is not resolved in this file: {value}");
        let fix = Fix::manual("check the rendered template, or write the value here");
        let finding = Finding::new(codes::EMR_VALUE_UNRESOLVED, message).fix(fix).in_file(path).at(*line);
        found.add(finding.about(key.as_bytes()));
        if key == TRUSTED_REGISTRIES_KEY || key == PRIVILEGED_REGISTRIES_KEY {
            let entries = value.split(',').filter(|entry| is_unresolved(entry.as_bytes()));
            let what = |entry: &str| format!("the value of `{entry}` in {key}");
            trust.extend(entries.map(|entry| Unresolved { list: key.clone(), what: what(entry) }));
        } else if is_of_file && key != DEFAULT_IMAGE_KEY {
            open.push(format!("the value of `{value}` in {key}"));
        }
    }
    (trust, open)
}
