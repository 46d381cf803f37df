//! The ResourceManagers' addresses, and the nodes that one lists.

use std::collections::BTreeMap;

use hadoop_rules::site::trimmed_strings;
use serde_json::Value;

use crate::status::capped;

/// A node as the ResourceManager sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YarnNode {
    pub host: String,
    /// Such as `RUNNING`.
    pub state: String,
    /// Why the NodeManager reports itself as unhealthy.
    pub health: Option<String>,
}

/// The URLs of the ResourceManagers' web applications, by yarn-site.xml's properties.
pub fn web_addresses(properties: &BTreeMap<String, String>) -> Vec<String> {
    const PREFIX: &str = "yarn.resourcemanager";
    let property = |name: &str| properties.get(name).map(|value| value.trim()).filter(|v| !v.is_empty());
    let (scheme, key, port) = if property("yarn.http.policy") == Some("HTTPS_ONLY") {
        ("https", "webapp.https.address", 8090)
    } else {
        ("http", "webapp.address", 8088)
    };
    let address = |suffix: &str| {
        let named = property(&format!("{PREFIX}.{key}{suffix}"));
        let host = || property(&format!("{PREFIX}.hostname{suffix}"));
        let address = named.or_else(host)?;
        let has_port = address.rsplit(':').next().is_some_and(|end| end.parse::<u16>().is_ok());
        Some(if has_port { address.to_owned() } else { format!("{address}:{port}") })
    };
    let is_ha = property("yarn.resourcemanager.ha.enabled").is_some_and(|on| on.eq_ignore_ascii_case("true"));
    let ids = property("yarn.resourcemanager.ha.rm-ids").filter(|_| is_ha).unwrap_or_default();
    let ids = trimmed_strings(ids);
    let addresses: Vec<String> = if ids.is_empty() {
        address("").into_iter().collect()
    } else {
        ids.iter().filter_map(|id| address(&format!(".{id}"))).collect()
    };
    addresses.into_iter().map(|address| format!("{scheme}://{address}")).collect()
}

/// The nodes in the answer to `/ws/v1/cluster/nodes`, each host once; `None` if the answer is something else.
pub fn nodes(answer: &Value) -> Option<Vec<YarnNode>> {
    let listed = answer.get("nodes")?.get("node");
    let all = match listed {
        Some(Value::Array(all)) => all.as_slice(),
        Some(one @ Value::Object(_)) => std::slice::from_ref(one),
        _ => &[],
    };
    let mut nodes: BTreeMap<String, YarnNode> = BTreeMap::new();
    for node in all {
        let text = |name: &str| node.get(name).and_then(Value::as_str).map(capped);
        let (host, state) = (text("nodeHostName")?.to_ascii_lowercase(), text("state")?);
        let health = text("healthReport").filter(|report| !report.trim().is_empty());
        // A NodeManager that restarts on another port leaves its old entry behind.
        if nodes.get(&host).is_none_or(|known| known.is_gone()) {
            nodes.insert(host.clone(), YarnNode { host, state, health });
        }
    }
    Some(nodes.into_values().collect())
}

impl YarnNode {
    /// Whether YARN no longer starts containers there, and will not again.
    pub fn is_gone(&self) -> bool {
        matches!(self.state.as_str(), "DECOMMISSIONING" | "DECOMMISSIONED" | "LOST" | "SHUTDOWN" | "REBOOTED")
    }

    /// Whether it takes containers.
    pub fn is_running(&self) -> bool {
        self.state == "RUNNING"
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{nodes, web_addresses};

    fn check(properties: &[(&str, &str)], expected: &[&str]) {
        let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        assert_eq!(web_addresses(&properties.collect()), expected);
    }

    #[test]
    fn addresses_follow_hadoops_rules() {
        check(&[], &[]);
        check(&[("yarn.resourcemanager.hostname", "rm")], &["http://rm:8088"]);
        check(&[("yarn.resourcemanager.webapp.address", " rm:1234 ")], &["http://rm:1234"]);
        check(
            &[
                ("yarn.http.policy", "HTTPS_ONLY"),
                ("yarn.resourcemanager.hostname", "rm"),
                ("yarn.resourcemanager.webapp.address", "rm:8088"),
            ],
            &["https://rm:8090"],
        );
        check(
            &[
                ("yarn.http.policy", "HTTPS_ONLY"),
                ("yarn.resourcemanager.ha.enabled", "true"),
                ("yarn.resourcemanager.ha.rm-ids", "rm1, rm2,rm3"),
                ("yarn.resourcemanager.hostname", "ignored"),
                ("yarn.resourcemanager.hostname.rm1", "a"),
                ("yarn.resourcemanager.webapp.https.address.rm2", "b:1"),
            ],
            &["https://a:8090", "https://b:1"],
        );
        check(
            &[("yarn.resourcemanager.ha.rm-ids", "rm1"), ("yarn.resourcemanager.hostname", "one")],
            &["http://one:8088"],
        );
    }

    #[test]
    fn a_host_is_listed_once_and_as_it_is_now() {
        let node = |host: &str, state: &str, health: &str| json!({ "nodeHostName": host, "state": state, "healthReport": health });
        let check = |answer, expected: Option<&[(&str, &str, Option<&str>)]>| {
            let found = nodes(&answer);
            let found = found.as_ref().map(|nodes| {
                nodes.iter().map(|n| (n.host.as_str(), n.state.as_str(), n.health.as_deref())).collect()
            });
            assert_eq!(found, expected.map(<[_]>::to_vec));
        };
        check(json!({ "nodes": null }), Some(&[]));
        check(json!({ "nodes": { "node": node("A", "RUNNING", "") } }), Some(&[("a", "RUNNING", None)]));
        let twice = [node("b", "LOST", ""), node("b", "RUNNING", ""), node("b", "SHUTDOWN", "")];
        check(json!({ "nodes": { "node": twice } }), Some(&[("b", "RUNNING", None)]));
        let ill = node("c", "UNHEALTHY", "1/1 local-dirs\u{1b}[2J are bad");
        check(
            json!({ "nodes": { "node": [ill] } }),
            Some(&[("c", "UNHEALTHY", Some("1/1 local-dirs[2J are bad..."))]),
        );
        check(json!({ "RemoteException": {} }), None);
    }
}
