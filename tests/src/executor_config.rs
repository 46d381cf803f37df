//! container-executor.cfg, with the changes of a recorded case.

use serde_json::{Map, Value};

/// Applies the changes to `base`: `set` has keys of `[docker]`, `head` those before any section, `replace` string
/// pairs.
pub fn changed(base: &str, changes: &Value) -> String {
    let nothing = Map::new();
    let keys = |name: &str| changes[name].as_object().unwrap_or(&nothing);
    let (head, docker) = base.split_once("[docker]\n").unwrap_or((base, ""));
    let text =
        format!("{}[docker]\n{}", with_keys(head, "", keys("head")), with_keys(docker, "  ", keys("set")));
    changes["replace"].as_array().into_iter().flatten().fold(text, |text, pair| {
        let [from, to] = [0, 1].map(|index| pair[index].as_str().unwrap_or_default());
        text.replace(from, to)
    })
}

fn with_keys(lines: &str, indent: &str, keys: &Map<String, Value>) -> String {
    let is_unchanged =
        |line: &&str| line.split_once('=').is_none_or(|(key, _)| !keys.contains_key(key.trim()));
    let kept = lines.lines().filter(is_unchanged).map(str::to_owned);
    let new = keys.iter().filter_map(|(key, value)| Some(format!("{indent}{key}={}", value.as_str()?)));
    kept.chain(new).map(|line| line + "\n").collect()
}
