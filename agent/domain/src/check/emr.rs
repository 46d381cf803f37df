//! The configuration JSON of a cluster before its creation: what EMR will write from it into
//! container-executor.cfg and yarn-site.xml, checked as if it were already written.

use std::collections::{BTreeMap, BTreeSet};

use hadoop_rules::executor_config::{DOCKER, ExecutorConfig, TRUSTED_REGISTRIES_KEY};
use hadoop_rules::site::{NoIncludes, NoVariables, Site};
use serde::Deserialize;

use super::inputs::{Inputs, SiteContent, SiteFile, TextFile};
use super::{keys, registries, yarn};
use crate::emr::AUTO_AUTH_KEY;
use crate::findings::{Finding, Findings, Fix, codes};

const EXECUTOR: &str = "container-executor";
const DOCKER_CLASSIFICATION: &str = "container-executor/docker";
const YARN_SITE: &str = "yarn-site";
/// What EMR sets by itself, so that a JSON need not.
const EMR_YARN_DEFAULTS: [(&str, &str); 2] =
    [(yarn::EXECUTOR_KEY, yarn::EXECUTOR), (yarn::RUNTIMES_KEY, yarn::RUNTIMES)];

/// One element of `--configurations`.
#[derive(Debug, Deserialize)]
struct Configuration {
    #[serde(alias = "Classification")]
    classification: String,
    #[serde(alias = "Properties", default)]
    properties: Properties,
    #[serde(alias = "Configurations", default)]
    configurations: Vec<Configuration>,
}

/// Sorted by key. A map of its own for each of a hostile file's many elements would take many times
/// the file's size.
#[derive(Debug, Default, Deserialize)]
#[serde(from = "BTreeMap<String, String>")]
struct Properties(Box<[(String, String)]>);

impl From<BTreeMap<String, String>> for Properties {
    fn from(map: BTreeMap<String, String>) -> Self {
        Self(map.into_iter().collect())
    }
}

impl Properties {
    fn iter(&self) -> impl Iterator<Item = (&String, &String)> {
        self.0.iter().map(|(key, value)| (key, value))
    }
}

pub(super) fn check(file: &TextFile, inputs: &Inputs<'_>, found: &mut Findings) {
    let malformed = |message: String, line: Option<u32>| {
        let fix = Fix::manual(
            r#"write a list: [{"Classification": "...", "Properties": {"key": "value"}, "Configurations": []}]"#,
        );
        Finding::new(codes::EMR_CONFIG_MALFORMED, message).fix(fix).in_file(&file.path).at(line)
    };
    let Some(bytes) = file.bytes() else {
        found.add(malformed(format!("{} cannot be read", file.path), None));
        return;
    };
    let configurations: Vec<Configuration> = match serde_json::from_slice(bytes) {
        Ok(configurations) => configurations,
        Err(error) => {
            found.add(malformed(error.to_string(), u32::try_from(error.line()).ok()));
            return;
        }
    };
    let json = Json { path: &file.path, bytes };
    check_places(&configurations, &json, found);
    let config = check_docker(&configurations, inputs, &json, found);
    check_yarn(&configurations, inputs, config.as_ref(), &json, found);
}

/// Where each key is in the JSON.
struct Json<'j> {
    path: &'j str,
    bytes: &'j [u8],
}

impl Json<'_> {
    /// Adds findings on a file that EMR would write, where line n comes from the nth key.
    fn take(&self, findings: Vec<Finding>, classification: &str, keys: &[&str], found: &mut Findings) {
        let key_of = |finding: &Finding| {
            let index = usize::try_from(finding.line?).ok()?.checked_sub(1)?;
            keys.get(index).copied()
        };
        let wanted: BTreeSet<&str> = findings.iter().filter_map(key_of).collect();
        let lines = self.lines_of(&wanted);
        for mut finding in findings {
            finding.line = key_of(&finding).and_then(|key| lines.get(key).copied());
            finding.fix = finding.fix.map(|fix| fix.in_classification(classification));
            found.add(finding.in_file(self.path));
        }
    }

    /// The line where each of these texts first appears in quotes, in one pass over the file.
    fn lines_of<'k>(&self, wanted: &BTreeSet<&'k str>) -> BTreeMap<&'k str, u32> {
        let mut lines = BTreeMap::new();
        for (number, line) in (1_u32..).zip(self.bytes.split(|byte| *byte == b'\n')) {
            if lines.len() == wanted.len() {
                break;
            }
            for part in line.split(|byte| *byte == b'"').skip(1) {
                let name = std::str::from_utf8(part).ok().and_then(|part| wanted.get(part));
                if let Some(name) = name {
                    lines.entry(*name).or_insert(number);
                }
            }
        }
        lines
    }

    fn line_of(&self, text: &str) -> Option<u32> {
        self.lines_of(&BTreeSet::from([text])).get(text).copied()
    }
}

fn check_places(configurations: &[Configuration], json: &Json<'_>, found: &mut Findings) {
    let mut misplaced = Vec::new();
    for top in configurations {
        let has_docker_keys = top.properties.iter().any(|(key, _)| key.starts_with("docker."));
        if top.classification == DOCKER || has_docker_keys {
            misplaced.push(top.classification.as_str());
        }
        let nested = top.configurations.iter().filter(|nested| nested.classification == DOCKER);
        if top.classification != EXECUTOR && nested.count() > 0 {
            misplaced.push(DOCKER);
        }
    }
    for classification in misplaced {
        let message = format!("Docker's properties are in the classification `{classification}`");
        let fix = Fix::manual(
            r#"{"Classification": "container-executor", "Configurations": [{"Classification": "docker", "Properties": {...}}]}"#,
        );
        let line = json.line_of(TRUSTED_REGISTRIES_KEY).or_else(|| json.line_of(classification));
        let finding = Finding::new(codes::EMR_CLASSIFICATION_MISPLACED, message).fix(fix);
        found.add(finding.in_file(json.path).at(line));
    }
}

/// Checks the `[docker]` section that EMR would write.
fn check_docker(
    configurations: &[Configuration],
    inputs: &Inputs<'_>,
    json: &Json<'_>,
    found: &mut Findings,
) -> Option<ExecutorConfig> {
    let nested = configurations.iter().filter(|top| top.classification == EXECUTOR);
    let sections = nested.flat_map(|top| &top.configurations).filter(|c| c.classification == DOCKER);
    let properties: Vec<_> = sections.flat_map(|section| section.properties.iter()).collect();
    if !properties.iter().any(|(key, _)| *key == TRUSTED_REGISTRIES_KEY) {
        let message = format!("no classification container-executor/docker sets {TRUSTED_REGISTRIES_KEY}");
        let fix = Fix::manual("print one with: emr-ecr-agent emr-config --registry HOST");
        found.add(Finding::new(codes::EMR_CONFIG_WITHOUT_REGISTRIES, message).fix(fix).in_file(json.path));
    }
    let mut names = vec![DOCKER];
    let mut text = format!("[{DOCKER}]\n");
    for (key, value) in properties {
        if key.contains(['\n', '\0']) || value.contains(['\n', '\0']) {
            let message = format!("the property {key:?} contains a line end");
            let fix = Fix::manual("write it on one line");
            let finding = Finding::new(codes::EMR_CONFIG_MALFORMED, message).fix(fix);
            found.add(finding.in_file(json.path).at(json.line_of(key)));
            continue;
        }
        names.push(key);
        text.extend([key, "=", value, "\n"]);
    }
    let config = ExecutorConfig::parse(text, inputs.hadoop.rules).ok()?;
    let mut own = Findings::default();
    keys::check(json.path, &config, &mut own);
    registries::check_lists(json.path, &config, &mut own);
    super::executor::check_notes(json.path, &config, &mut own);
    json.take(own.into_sorted(), DOCKER_CLASSIFICATION, &names, found);
    Some(config)
}

/// Checks the yarn-site.xml that EMR would write, as far as the JSON sets it.
fn check_yarn(
    configurations: &[Configuration],
    inputs: &Inputs<'_>,
    config: Option<&ExecutorConfig>,
    json: &Json<'_>,
    found: &mut Findings,
) {
    let sections = configurations.iter().filter(|top| top.classification == YARN_SITE);
    let properties = sections.flat_map(|section| section.properties.iter());
    let given: Vec<_> = properties.filter(|(key, _)| yarn::KEYS.contains(&key.as_str())).collect();
    if given.is_empty() {
        return;
    }
    let mut names = Vec::new();
    let mut text = String::from("<configuration>");
    let defaults =
        EMR_YARN_DEFAULTS.into_iter().filter(|(key, _)| !given.iter().any(|(name, _)| name == key));
    for (key, value) in defaults.chain(given.iter().map(|(key, value)| (key.as_str(), value.as_str()))) {
        names.push(key);
        let (name, value) = (escaped(key), escaped(value));
        text.push_str(&format!("<property><name>{name}</name><value>{value}</value></property>\n"));
    }
    text.push_str("</configuration>");
    let mut site = Site::new();
    if site.load(json.path, text.as_bytes(), &NoIncludes).is_err() {
        return;
    }
    let resolved = site.resolve(&NoVariables);
    let content = SiteContent::Loaded { site, resolved };
    let mut own = Findings::default();
    yarn::check(&SiteFile { path: json.path.to_owned(), content }, inputs, config, &mut own);
    let says_auto_auth = given.iter().any(|(key, _)| *key == AUTO_AUTH_KEY);
    // What EMR sets by itself is not known, so only what is written is checked.
    let findings = own.into_sorted().into_iter();
    let findings = findings.filter(|f| says_auto_auth || f.code != codes::ECR_AUTO_AUTH_OFF);
    json.take(findings.collect(), YARN_SITE, &names, found);
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('\n', " ")
}
