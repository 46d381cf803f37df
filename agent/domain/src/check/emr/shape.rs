//! Finds a cluster's configurations in their common shapes, and reads them member by member.

use std::collections::HashMap;

use super::document::{Document, Member, Node, Value};
use crate::findings::{Code, Finding, Findings, Fix, codes};

const CLASSIFICATION: [&str; 2] = ["Classification", "classification"];
const CONFIGURATIONS: [&str; 2] = ["Configurations", "configurations"];
const PROPERTIES: [&str; 2] = ["Properties", "properties"];
/// CloudFormation's and CDK's name; both convert booleans and numbers to strings.
const CONFIGURATION_PROPERTIES: [&str; 2] = ["ConfigurationProperties", "configurationProperties"];
const CLUSTER_TYPE: &str = "AWS::EMR::Cluster";

/// What a file sets for one cluster.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    pub release: Option<String>,
    pub classifications: Vec<Classification>,
    /// The lists and objects that are not resolved, with their lines.
    pub unresolved: Vec<String>,
    /// What the file has that was not checked.
    pub not_checked: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Classification {
    pub name: String,
    pub line: u32,
    pub properties: Vec<Property>,
    pub nested: Vec<Classification>,
}

#[derive(Debug, Clone)]
pub(super) struct Property {
    pub key: String,
    /// An intrinsic function as `${...}`.
    pub value: String,
    pub line: u32,
}

/// Reads the document's cluster; `None` if it has none.
pub(super) fn read(path: &str, document: &Document, found: &mut Findings) -> Option<Cluster> {
    let mut reader = Reader { path, unresolved: Vec::new() };
    let cluster = read_with(&mut reader, document, found)?;
    Some(Cluster { unresolved: reader.unresolved, ..cluster })
}

fn read_with(reader: &mut Reader<'_>, document: &Document, found: &mut Findings) -> Option<Cluster> {
    let path = reader.path;
    let root = &document.root;
    let mut cluster = Cluster::default();
    if let Some(resources) = root.member(&["Resources"]) {
        let mut clusters = resources.node.members().iter().filter(|resource| is_cluster(&resource.node));
        let Some(first) = clusters.next() else {
            found.add(
                reader.malformed(root.line, format!("the template has no resource of type {CLUSTER_TYPE}")),
            );
            return None;
        };
        cluster
            .not_checked
            .extend(clusters.map(|other| format!("the cluster {} of the template", other.name)));
        let properties = first.node.member(&["Properties"])?;
        reader.cluster(&properties.node, true, &mut cluster, found);
        return Some(cluster);
    }
    if document.is_yaml {
        let why = "it is YAML but not a CloudFormation template: the AWS CLI takes JSON";
        found.add(unreadable(path, None, why));
        return None;
    }
    if !root.items().is_empty() || root.value == Value::List(Vec::new()) {
        cluster.classifications = reader.list(root, false, found);
        return Some(cluster);
    }
    let inner = root.member(&["Cluster"]).map_or(root, |member| &member.node);
    if inner.member(&CONFIGURATIONS).is_some() && inner.member(&CLASSIFICATION).is_none() {
        reader.cluster(inner, false, &mut cluster, found);
        return Some(cluster);
    }
    if inner.member(&CLASSIFICATION).is_some() {
        let why = "the configuration is not in a list, which the AWS CLI refuses".to_owned();
        found.add(reader.malformed(inner.line, why));
        cluster.classifications.extend(reader.classification(inner, false, found));
        return Some(cluster);
    }
    found.add(reader.malformed(root.line, "it contains no list of configurations".to_owned()));
    None
}

/// The finding that the file was not checked; EMR may still accept it.
pub(super) fn unreadable(path: &str, line: Option<u32>, why: &str) -> Finding {
    let fix = Fix::manual("name a JSON file as for `aws emr create-cluster --configurations`, or a template");
    let finding = Finding::new(codes::EMR_CONFIG_UNREADABLE, format!("{path} was not checked: {why}"));
    finding.fix(fix).in_file(path).at(line)
}

fn is_cluster(resource: &Node) -> bool {
    resource.member(&["Type"]).and_then(|member| member.node.text()) == Some(CLUSTER_TYPE)
}

struct Reader<'p> {
    path: &'p str,
    /// Lists and objects that are functions, with their lines.
    unresolved: Vec<String>,
}

impl Reader<'_> {
    fn finding(&self, code: Code, line: u32, message: String, fix: &str) -> Finding {
        Finding::new(code, message).fix(Fix::manual(fix)).in_file(self.path).at(line)
    }

    fn malformed(&self, line: u32, message: String) -> Finding {
        self.finding(
            codes::EMR_CONFIG_MALFORMED,
            line,
            message,
            r#"write a list: [{"Classification": "...", "Properties": {"key": "value"}, "Configurations": []}]"#,
        )
    }

    fn cluster(&mut self, node: &Node, is_template: bool, cluster: &mut Cluster, found: &mut Findings) {
        self.check_repetitions(node, found);
        let release = node.member(&["ReleaseLabel", "releaseLabel"]);
        cluster.release = release.and_then(|member| member.node.text()).map(str::to_owned);
        if let Some(member) = node.member(&CONFIGURATIONS) {
            cluster.classifications = self.list(&member.node, is_template, found);
        }
        let groups = ["Instances", "InstanceGroups", "InstanceFleets"];
        for member in node.members().iter().filter(|member| groups.contains(&member.name.as_str())) {
            if has_configurations(&member.node) {
                cluster.not_checked.push(format!("the configurations of individual {}", member.name));
            }
        }
    }

    fn list(&mut self, node: &Node, is_template: bool, found: &mut Findings) -> Vec<Classification> {
        match &node.value {
            Value::List(items) => {
                items.iter().filter_map(|item| self.classification(item, is_template, found)).collect()
            }
            Value::Null => Vec::new(),
            _ if function(node).is_some() => {
                self.note_unresolved("the list of configurations", node.line, found);
                Vec::new()
            }
            _ => {
                found.add(self.malformed(node.line, "the configurations are not a list".to_owned()));
                Vec::new()
            }
        }
    }

    fn note_unresolved(&mut self, what: &str, line: u32, found: &mut Findings) {
        self.unresolved.push(format!("{what} at line {line}"));
        let message = format!("{what} is not resolved in this file");
        let fix = "check the rendered template, or write the value here";
        found.add(self.finding(codes::EMR_VALUE_UNRESOLVED, line, message, fix));
    }

    fn classification(
        &mut self,
        node: &Node,
        is_template: bool,
        found: &mut Findings,
    ) -> Option<Classification> {
        let Value::Object(members) = &node.value else {
            found.add(self.malformed(node.line, "a configuration is not an object".to_owned()));
            return None;
        };
        if function(node).is_some() {
            self.note_unresolved("a configuration", node.line, found);
            return None;
        }
        self.check_repetitions(node, found);
        let known = [CLASSIFICATION, CONFIGURATIONS, PROPERTIES, CONFIGURATION_PROPERTIES];
        for member in members.iter().filter(|member| !known.concat().contains(&member.name.as_str())) {
            let message = format!(
                "the configuration has a member `{}`, which the AWS CLI refuses: there are Classification, Properties and Configurations",
                member.name
            );
            found.add(self.malformed(member.line, message));
        }
        let Some(name) = node.member(&CLASSIFICATION).and_then(|member| text_of(&member.node)) else {
            found.add(self.malformed(node.line, "a configuration names no Classification".to_owned()));
            return None;
        };
        let mut properties = Vec::new();
        for (names, is_coerced) in [(PROPERTIES, is_template), (CONFIGURATION_PROPERTIES, true)] {
            if let Some(member) = node.member(&names) {
                if is_template && names == PROPERTIES {
                    let message =
                        format!("CloudFormation refuses the member `{}` of a configuration", member.name);
                    let fix = "write ConfigurationProperties";
                    found.add(self.finding(codes::EMR_CONFIG_MALFORMED, member.line, message, fix));
                }
                properties.extend(self.properties(member, is_coerced, found));
            }
        }
        let nested = node.member(&CONFIGURATIONS);
        let nested = nested.map(|member| self.list(&member.node, is_template, found)).unwrap_or_default();
        Some(Classification { name, line: node.line, properties, nested })
    }

    fn properties(&mut self, member: &Member, is_coerced: bool, found: &mut Findings) -> Vec<Property> {
        match &member.node.value {
            Value::Object(_) if function(&member.node).is_some() => {
                self.note_unresolved(&format!("`{}`", member.name), member.line, found);
                return Vec::new();
            }
            Value::Object(_) => {}
            Value::Null => return Vec::new(),
            _ => {
                found.add(self.malformed(member.line, format!("`{}` is not an object", member.name)));
                return Vec::new();
            }
        }
        self.check_repetitions(&member.node, found);
        let mut properties: Vec<Property> = Vec::new();
        let mut places = HashMap::new();
        for Member { name, line, node } in member.node.members() {
            let (value, kind) = match (&node.value, text_of(node)) {
                (Value::Bare(text), _) => (text.clone(), Some("a boolean or a number")),
                (_, Some(text)) => (text, None),
                (Value::Null, _) => (String::new(), Some("null")),
                _ => (String::new(), Some("a list or an object")),
            };
            if let Some(kind) = kind.filter(|_| !(is_coerced && matches!(node.value, Value::Bare(_)))) {
                let message =
                    format!("the value of `{name}` is {kind}, but the AWS CLI accepts only strings");
                let fix = Fix::manual(format!("write {name:?}: {value:?}"));
                let finding = Finding::new(codes::EMR_VALUE_NOT_TEXT, message).fix(fix).in_file(self.path);
                found.add(finding.at(*line).about(name.as_bytes()));
            }
            if name.contains(['\n', '\0']) || value.contains(['\n', '\0']) {
                let fix = "write it on one line";
                let message = format!("the property {name:?} contains a newline");
                found.add(self.finding(codes::EMR_CONFIG_MALFORMED, *line, message, fix));
                continue;
            }
            let property = Property { key: name.clone(), value, line: *line };
            match places.insert(name, properties.len()) {
                Some(place) => {
                    properties[place] = property;
                    places.insert(name, place);
                }
                None => properties.push(property),
            }
        }
        properties
    }

    /// Of two members with the same name, the AWS CLI keeps the last.
    fn check_repetitions(&self, node: &Node, found: &mut Findings) {
        let mut seen = HashMap::new();
        let mut members = node.members().iter();
        let repeated = members.find_map(|member| Some((seen.insert(&member.name, member)?, member)));
        if let Some((first, second)) = repeated {
            let message = format!(
                "`{}` appears twice in one object: the AWS CLI silently drops the one on line {}",
                second.name, first.line
            );
            let fix = if CLASSIFICATION.contains(&second.name.as_str()) {
                "write one object for each classification"
            } else {
                "keep one of the two"
            };
            let finding = self.finding(codes::EMR_MEMBER_REPEATED, second.line, message, fix);
            found.add(finding.about(second.name.as_bytes()));
        }
    }
}

fn has_configurations(node: &Node) -> bool {
    match &node.value {
        Value::Object(members) => members.iter().any(|member| {
            let set = CONFIGURATIONS.contains(&member.name.as_str()) && !member.node.items().is_empty();
            set || has_configurations(&member.node)
        }),
        Value::List(items) => items.iter().any(has_configurations),
        _ => false,
    }
}

/// CloudFormation's intrinsic function, if the node is one.
fn function(node: &Node) -> Option<&Member> {
    match node.members() {
        [member] if member.name == "Ref" || member.name.starts_with("Fn::") => Some(member),
        _ => None,
    }
}

/// A string, or what is known of a function's result, with `${...}` for the rest.
fn text_of(node: &Node) -> Option<String> {
    if let Some(text) = node.text() {
        return Some(text.to_owned());
    }
    let member = function(node)?;
    let argument = &member.node;
    let known = match (member.name.as_str(), argument.items()) {
        ("Ref", _) => argument.text().map(|name| format!("${{{name}}}")),
        ("Fn::Sub", []) => argument.text().map(str::to_owned),
        ("Fn::Sub", [text, ..]) => text_of(text),
        ("Fn::Join", [separator, list]) => {
            let parts: Option<Vec<String>> = list.items().iter().map(text_of).collect();
            let separator = separator.text();
            parts.filter(|parts| !parts.is_empty()).zip(separator).map(|(parts, by)| parts.join(by))
        }
        ("Fn::GetAtt", []) => argument.text().map(|name| format!("${{{name}}}")),
        _ => None,
    };
    Some(known.unwrap_or_else(|| format!("${{{}}}", member.name)))
}
