//! Every setting with its effective value and where that comes from.

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::reader::line_of;
use crate::documents::PublishedPath;

/// Lists every setting with its default, commented out; tests compare it with the code.
const EXAMPLE: &str = include_str!("../../agent.toml");
/// Keys without a default, whatever value the example shows.
pub(super) const WITHOUT_DEFAULT: [&str; 13] = [
    "owner",
    "group",
    "principal",
    "keytab",
    "keep_entries",
    "file",
    "static_credentials",
    "region",
    "role_arn",
    "external_id",
    "session_name",
    "profile",
    "endpoint",
];

/// One setting.
#[derive(Debug, Clone, PartialEq)]
pub struct Effective {
    /// Dotted, with an index for arrays of tables.
    pub key: String,
    /// `None` if it is not set and has no default.
    pub value: Option<Value>,
    pub origin: Origin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Default,
    /// The line of the file, counted from 1.
    Line(usize),
    /// Implied by another setting.
    Follows(&'static str),
    /// A command-line option.
    Option(&'static str),
}

/// The effective settings of a text that [`super::Settings::parse`] accepts, in the example's order.
pub fn effective(text: &str) -> Vec<Effective> {
    let mut given = Vec::new();
    let (document, _) = DeTable::parse_recoverable(text);
    collect(text, "", document.get_ref(), &mut given);
    let mut settings = Vec::new();
    let same_array = |one: &Effective, next: &Effective| {
        one.array_of_tables().is_some() && one.array_of_tables() == next.array_of_tables()
    };
    for group in defaults().chunk_by(same_array) {
        let [first, ..] = group else { continue };
        match first.array_of_tables() {
            Some(array) => settings.extend(tables(array, group, &mut given)),
            None => settings.push(take(&mut given, &first.key).unwrap_or_else(|| first.clone())),
        }
    }
    let is_secure = |setting: &Effective| {
        setting.key == "published.secure_directory" && setting.value == Some(Value::Bool(true))
    };
    if settings.iter().any(is_secure) {
        let path = settings.iter_mut().find(|setting| setting.key == "published.path");
        if let Some(path) = path {
            path.value = Some(PublishedPath::secure().to_string().into());
            path.origin = Origin::Follows("published.secure_directory");
        }
    }
    settings
}

impl Effective {
    /// In the example: the array of tables that has this member.
    fn array_of_tables(&self) -> Option<&str> {
        self.key.split_once("[0].").map(|(array, _)| array)
    }
}

/// The settings of an array of tables with these members. The file's tables replace the default one.
fn tables(array: &str, members: &[Effective], given: &mut Vec<Effective>) -> Vec<Effective> {
    if let Some(empty) = take(given, array) {
        return vec![empty];
    }
    let mut settings = Vec::new();
    for index in 0.. {
        let table = format!("{array}[{index}]");
        let is_given = given.iter().any(|setting| setting.key.starts_with(&format!("{table}.")));
        // There is no default registry.
        let is_default = index == 0 && array != "registries";
        if !is_given && !is_default {
            break;
        }
        for member in members {
            let key = member.key.replacen(&format!("{array}[0]"), &table, 1);
            let default = || member.value.is_some().then(|| Effective { key: key.clone(), ..member.clone() });
            settings.extend(take(given, &key).or_else(default));
        }
    }
    settings
}

fn take(given: &mut Vec<Effective>, key: &str) -> Option<Effective> {
    given.iter().position(|setting| setting.key == key).map(|index| given.remove(index))
}

/// The settings in the example, without its comments.
fn defaults() -> Vec<Effective> {
    let mut section = String::new();
    let mut defaults = Vec::new();
    for line in EXAMPLE.lines().filter_map(|line| line.strip_prefix('#')) {
        if let Some(header) = line.strip_prefix('[') {
            let name = header.trim_matches(['[', ']']);
            section = if header.starts_with('[') { format!("{name}[0].") } else { format!("{name}.") };
        } else if let Some((key, value)) = line.split_once(" = ").filter(|(key, _)| !key.contains(' ')) {
            let value = DeValue::parse(value).ok().map(|value| json(value.get_ref()));
            let value = value.filter(|_| !WITHOUT_DEFAULT.contains(&key));
            defaults.push(Effective { key: format!("{section}{key}"), value, origin: Origin::Default });
        }
    }
    defaults
}

fn collect(text: &str, prefix: &str, table: &DeTable<'_>, found: &mut Vec<Effective>) {
    let mut members: Vec<_> = table.iter().collect();
    members.sort_by_key(|(name, _)| name.span().start);
    for (name, value) in members {
        let key = format!("{prefix}{}", name.get_ref());
        let tables = |items: &[Spanned<DeValue<'_>>]| {
            !items.is_empty() && items.iter().all(|item| item.get_ref().is_table())
        };
        match value.get_ref() {
            DeValue::Table(table) => collect(text, &format!("{key}."), table, found),
            DeValue::Array(items) if tables(items) => {
                for (index, item) in items.iter().enumerate() {
                    if let Some(table) = item.get_ref().as_table() {
                        collect(text, &format!("{key}[{index}]."), table, found);
                    }
                }
            }
            other => {
                let origin = Origin::Line(line_of(text, name.span().start));
                found.push(Effective { key, value: Some(json(other)), origin });
            }
        }
    }
}

fn json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Boolean(truth) => (*truth).into(),
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect(),
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(number.as_str(), number.radix());
            parsed.map_or_else(|_| number.as_str().into(), Value::from)
        }
        DeValue::Float(number) => {
            number.as_str().parse::<f64>().map_or_else(|_| number.as_str().into(), Value::from)
        }
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Table(table) => {
            table.iter().map(|(name, value)| (name.get_ref().to_string(), json(value.get_ref()))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(settings: &[Effective], key: &str, value: Option<Value>, origin: Origin) {
        let setting = settings.iter().find(|setting| setting.key == key);
        let expected = Effective { key: key.to_owned(), value, origin };
        assert_eq!(setting, Some(&expected), "{settings:#?}");
    }

    #[test]
    fn an_empty_file_means_defaults() {
        let settings = effective("");
        check(&settings, "discover_registries", Some(json!(true)), Origin::Default);
        check(&settings, "refresh.renew_at", Some(json!(0.51)), Origin::Default);
        check(&settings, "published.path", Some(json!("/user/hadoop/config.json")), Origin::Default);
        check(&settings, "published.owner", None, Origin::Default);
        check(&settings, "docker_configs[0].path", Some(json!("/root/.docker/config.json")), Origin::Default);
        check(&settings, "log.file", None, Origin::Default);
        assert!(!settings.iter().any(|setting| setting.key.starts_with("registries")), "{settings:#?}");
        assert_eq!(effective(EXAMPLE), settings);
    }

    #[test]
    fn what_the_file_says_comes_with_its_line() {
        let text = "\
discover_registries = false
published.replication = 2

[[registries]]
host = \"123456789123.dkr.ecr.us-east-1.amazonaws.com\"
[[registries]]
host = \"210987654321.dkr.ecr.us-east-1.amazonaws.com\"
role_arn = \"arn:aws:iam::210987654321:role/r\"

[[docker_configs]]
path = \"/a/config.json\"

[log]
level = \"debug\"
";
        assert!(super::super::Settings::parse(text).is_ok());
        let settings = effective(text);
        check(&settings, "discover_registries", Some(json!(false)), Origin::Line(1));
        check(&settings, "published.replication", Some(json!(2)), Origin::Line(2));
        let second = "210987654321.dkr.ecr.us-east-1.amazonaws.com";
        check(&settings, "registries[1].host", Some(json!(second)), Origin::Line(7));
        check(&settings, "registries[1].aliases", Some(json!([])), Origin::Default);
        check(&settings, "docker_configs[0].path", Some(json!("/a/config.json")), Origin::Line(11));
        check(&settings, "docker_configs[0].mode", Some(json!("0600")), Origin::Default);
        check(&settings, "log.level", Some(json!("debug")), Origin::Line(14));
        check(&settings, "log.format", Some(json!("text")), Origin::Default);
        let paths = settings.iter().filter(|setting| setting.key == "docker_configs[0].path");
        assert_eq!(paths.count(), 1);
    }

    #[test]
    fn an_empty_array_replaces_the_default() {
        let settings = effective("docker_configs = []\n");
        check(&settings, "docker_configs", Some(json!([])), Origin::Line(1));
        assert!(!settings.iter().any(|setting| setting.key.starts_with("docker_configs[")), "{settings:#?}");
    }

    #[test]
    fn the_secure_directory_decides_the_path() {
        let settings = effective("[published]\nsecure_directory = true\n");
        let path = json!("/apps/emr-ecr-agent/config.json");
        check(&settings, "published.path", Some(path), Origin::Follows("published.secure_directory"));
    }
}
