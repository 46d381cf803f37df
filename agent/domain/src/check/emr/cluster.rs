//! The files that EMR will write from a configuration, with its own defaults, and where each of their lines comes from.

use hadoop_rules::executor_config::{
    DOCKER, HEAD, MODULE_ENABLED_KEY, NM_GROUP_KEY, PRIVILEGED_REGISTRIES_KEY, TRUSTED_REGISTRIES_KEY,
};
use hadoop_rules::mounts::{RO_MOUNTS_KEY, RW_MOUNTS_KEY};
use hadoop_rules::site::{NoIncludes, NoVariables, Site};

use super::shape::{Classification, Cluster, Property};
use crate::check::inputs::{Content, SiteContent, SiteFile, TextFile};
use crate::check::launch::{CAPABILITIES, CAPABILITIES_KEY, NETWORKS_KEY};
use crate::check::spark::SparkProperties;
use crate::check::template::is_unresolved;
use crate::check::{yarn, yarn_settings};
use crate::emr::properties::SparkProperty;
use crate::emr::{AUTO_AUTH_KEY, DEFAULT_RO_MOUNTS, DEFAULT_TRUSTED_REGISTRIES};
use crate::findings::{Finding, codes};

pub(super) const EXECUTOR: &str = "container-executor";
pub(super) const YARN_SITE: &str = "yarn-site";
pub(super) const SPARK_DEFAULTS: &str = "spark-defaults";
pub(super) const CORE_SITE: &str = "core-site";
pub(super) const HDFS_SITE: &str = "hdfs-site";
/// Where the files will be.
const EXECUTOR_CFG: &str = "/etc/hadoop/conf.empty/container-executor.cfg";
const YARN_SITE_XML: &str = "/etc/hadoop/conf.empty/yarn-site.xml";
/// EMR's own writable mounts, as seen on clusters; AWS documents none of them.
const EMR_RW_MOUNTS: &str = "/mnt/yarn,/var/log/hadoop-yarn/containers,/mnt/var/log/hadoop-yarn/containers";
const EMR_YARN_DEFAULTS: [(&str, &str); 5] = [
    (yarn::EXECUTOR_KEY, yarn::EXECUTOR),
    (yarn::RUNTIMES_KEY, yarn::RUNTIMES),
    ("yarn.nodemanager.local-dirs", "/mnt/yarn"),
    ("yarn.nodemanager.log-dirs", "/var/log/hadoop-yarn/containers"),
    (
        yarn_settings::RO_MOUNTS_KEY,
        "/etc/passwd:/etc/passwd,/usr/lib:/docker/usr/lib,/usr/share:/docker/usr/share",
    ),
];

/// One file, and the classification and property that each line comes from.
struct Written {
    text: String,
    lines: Vec<Option<(String, Property)>>,
}

/// The files of a cluster.
pub(in crate::check) struct Files {
    pub executor_cfg: TextFile,
    pub yarn_site: Option<SiteFile>,
    pub spark: Option<SparkProperties>,
    /// Whether Hadoop would use Kerberos.
    pub kerberos: bool,
    path: String,
    executor_lines: Vec<Option<(String, Property)>>,
    yarn_lines: Vec<Option<(String, Property)>>,
}

impl Files {
    pub(super) fn of(path: &str, cluster: &Cluster) -> Self {
        let executor = executor_cfg(cluster);
        let yarn = yarn_site_xml(cluster);
        let mut site = Site::new();
        let loaded = site.load(YARN_SITE_XML, yarn.text.as_bytes(), &NoIncludes).is_ok();
        let yarn_site = loaded.then(|| {
            let content = SiteContent::Loaded { resolved: site.resolve(&NoVariables), site };
            SiteFile { path: YARN_SITE_XML.to_owned(), content }
        });
        let authentication = property(cluster, CORE_SITE, "hadoop.security.authentication");
        let kerberos = authentication.is_some_and(|how| how.value.trim().eq_ignore_ascii_case("kerberos"));
        let of_spark = named(&cluster.classifications, SPARK_DEFAULTS).flat_map(|spark| &spark.properties);
        let of_spark = of_spark.map(|property| SparkProperty {
            key: property.key.clone(),
            value: property.value.clone(),
            file: path.to_owned(),
            line: Some(property.line),
        });
        let spark = SparkProperties { properties: of_spark.collect(), ..SparkProperties::default() };
        Self {
            executor_cfg: TextFile {
                path: EXECUTOR_CFG.to_owned(),
                content: Content::Bytes(executor.text.into_bytes()),
            },
            yarn_site,
            spark: spark.concerns_containers().then_some(spark),
            kerberos,
            path: path.to_owned(),
            executor_lines: executor.lines,
            yarn_lines: yarn.lines,
        }
    }

    /// Whether a finding on one of the files concerns the configuration, rather than how the file is written here
    /// or what EMR sets by default.
    pub(in crate::check) fn keeps(&self, finding: &Finding) -> bool {
        if !matches!(finding.file.as_deref(), Some(EXECUTOR_CFG | YARN_SITE_XML)) {
            return true;
        }
        let is_told_apart = || finding.excerpt.as_ref().is_some_and(|excerpt| is_unresolved(excerpt.about()));
        match finding.code {
            codes::DUPLICATE_KEY | codes::REPEATED_SECTION => false,
            codes::ENTRY_WITH_PLACEHOLDER => !is_told_apart(),
            codes::ECR_AUTO_AUTH_OFF => {
                self.yarn_lines.iter().flatten().any(|(_, property)| property.key == AUTO_AUTH_KEY)
            }
            _ => true,
        }
    }

    /// Whether a finding on one of the files concerns no line that the configuration sets.
    pub(in crate::check) fn is_of_default(&self, finding: &Finding) -> bool {
        let mut located = finding.clone();
        self.relocate(&mut located);
        located.file != finding.file && located.line.is_none()
    }

    /// Moves a finding on one of the files to its location in the configuration.
    pub(in crate::check) fn relocate(&self, finding: &mut Finding) {
        let (lines, classification) = match finding.file.as_deref() {
            Some(EXECUTOR_CFG) => (&self.executor_lines, EXECUTOR),
            Some(YARN_SITE_XML) => (&self.yarn_lines, YARN_SITE),
            _ => return,
        };
        let index = finding.line.and_then(|line| usize::try_from(line).ok()?.checked_sub(1));
        let member = index.and_then(|index| lines.get(index)?.as_ref());
        finding.file = Some(self.path.clone());
        finding.line = member.map(|(_, property)| property.line);
        let fix = finding.fix.take();
        finding.fix = fix.map(|fix| {
            let section = fix.section.clone();
            let place = match (section.as_deref(), member) {
                (Some(HEAD), _) => classification.to_owned(),
                (Some(section), _) => format!("{EXECUTOR}/{section}"),
                (None, Some((classification, _))) => classification.clone(),
                (None, None) => classification.to_owned(),
            };
            fix.in_classification(&place, member.map(|(_, property)| property.key.as_str()))
                .in_file(&self.path)
        });
    }
}

/// Whether the value is written to a file although it is not resolved: the checks of registry lists and images know
/// what to make of it. Any other one gives way to EMR's default.
fn is_written(property: &Property) -> bool {
    let known = [TRUSTED_REGISTRIES_KEY, PRIVILEGED_REGISTRIES_KEY, yarn_settings::DEFAULT_IMAGE_KEY];
    known.contains(&property.key.as_str()) || !is_unresolved(property.value.as_bytes())
}

pub(super) fn named<'c>(
    classifications: &'c [Classification],
    name: &'static str,
) -> impl Iterator<Item = &'c Classification> {
    classifications.iter().filter(move |classification| classification.name == name)
}

/// The property as EMR would write it.
pub(super) fn property<'c>(
    cluster: &'c Cluster,
    classification: &'static str,
    key: &'static str,
) -> Option<&'c Property> {
    let mut properties = named(&cluster.classifications, classification).flat_map(|named| &named.properties);
    properties.find(move |property| property.key == key)
}

impl Written {
    fn new() -> Self {
        Self { text: String::new(), lines: Vec::new() }
    }

    fn line(&mut self, text: &str, from: Option<(&str, &Property)>) {
        self.text.extend([text, "\n"]);
        self.lines.push(from.map(|(place, property)| (place.to_owned(), property.clone())));
    }
}

fn executor_cfg(cluster: &Cluster) -> Written {
    let trusted = DEFAULT_TRUSTED_REGISTRIES.join(",");
    let read_only = DEFAULT_RO_MOUNTS.join(",");
    let head = [(NM_GROUP_KEY, "yarn")];
    let docker = [
        (MODULE_ENABLED_KEY, "true"),
        (TRUSTED_REGISTRIES_KEY, trusted.as_str()),
        (NETWORKS_KEY, "bridge,host,none"),
        (CAPABILITIES_KEY, CAPABILITIES),
        (RO_MOUNTS_KEY, &read_only),
        (RW_MOUNTS_KEY, EMR_RW_MOUNTS),
    ];
    let tops: Vec<_> = named(&cluster.classifications, EXECUTOR).collect();
    let mut file = Written::new();
    let of_head: Vec<_> = tops.iter().flat_map(|top| &top.properties).filter(|one| is_written(one)).collect();
    section(&mut file, EXECUTOR, &of_head, &head);
    let nested: Vec<_> = tops.iter().flat_map(|top| &top.nested).collect();
    let mut names = vec![DOCKER];
    for name in
        nested.iter().map(|nested| nested.name.as_str()).filter(|name| !name.contains(['\n', '\0', ']']))
    {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    for name in names {
        let properties =
            nested.iter().filter(|nested| nested.name == name).flat_map(|nested| &nested.properties);
        file.line(&format!("[{name}]"), None);
        let defaults = if name == DOCKER { &docker[..] } else { &[] };
        let properties: Vec<_> = properties.filter(|property| is_written(property)).collect();
        section(&mut file, &format!("{EXECUTOR}/{name}"), &properties, defaults);
    }
    file
}

fn section(file: &mut Written, place: &str, properties: &[&Property], defaults: &[(&str, &str)]) {
    let is_set = |key: &str| properties.iter().any(|property| property.key == key);
    for (key, value) in defaults.iter().filter(|(key, _)| !is_set(key)) {
        file.line(&format!("{key}={value}"), None);
    }
    for property in properties {
        file.line(&format!("{}={}", property.key, property.value), Some((place, property)));
    }
}

fn yarn_site_xml(cluster: &Cluster) -> Written {
    let properties = named(&cluster.classifications, YARN_SITE).flat_map(|yarn| &yarn.properties);
    let properties: Vec<_> = properties.filter(|property| is_written(property)).collect();
    let mut file = Written::new();
    let element = |key: &str, value: &str| {
        format!("<property><name>{}</name><value>{}</value></property>", escaped(key), escaped(value))
    };
    file.line("<configuration>", None);
    let is_set = |key: &str| properties.iter().any(|property| property.key == key);
    for (key, value) in EMR_YARN_DEFAULTS.iter().filter(|(key, _)| !is_set(key)) {
        file.line(&element(key, value), None);
    }
    for property in &properties {
        file.line(&element(&property.key, &property.value), Some((YARN_SITE, property)));
    }
    file.line("</configuration>", None);
    file
}

/// Control characters, which XML cannot hold, become spaces.
fn escaped(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.replace('&', "&amp;").replace('<', "&lt;")
}
