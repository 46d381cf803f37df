//! Keeps the law that ARCHITECTURE.md states: who may know whom, and how long a file may grow.

use std::fs;
use std::path::Path;

/// Lines of a file without its tests.
const LONGEST_FILE: usize = 450;

/// What pure code must not name: the runtime, the file system, the network, the environment, clocks.
const OUTSIDE: [&str; 20] = [
    "tokio",
    "std::fs",
    "std::net::Tcp",
    "std::env",
    "std::process",
    "std::thread",
    "Instant",
    "SystemTime",
    "Timestamp::now",
    "Zoned::now",
    "nix::",
    "notify::",
    "tracing::",
    "hyper",
    "hdfs_native",
    "aws_config",
    "aws_sdk",
    "clap",
    "println!",
    "unsafe",
];

/// Which edges may use which others; all may use `crate::edge::chain`.
const EDGES: [(&str, &[&str]); 4] = [
    ("hadoop_conf", &["disk"]),
    ("hdfs", &["hadoop_conf"]),
    ("node", &["disk"]),
    ("settings_file", &["disk"]),
];

/// A source file, named as from `src`, without its tests and comments.
struct Source {
    name: String,
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a source folder can be read") {
            let path = entry.expect("an entry of a source folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.extend(source(&root, &path));
            }
        }
    }
    assert!(sources.len() > 20, "the sources were found");
    sources
}

fn source(root: &Path, path: &Path) -> Option<Source> {
    let name = path.strip_prefix(root).expect("below src").to_str().expect("UTF-8").to_owned();
    let is_test = name
        .split('/')
        .any(|part| part.trim_end_matches(".rs").ends_with("tests") || part.ends_with("_cases.rs"));
    let text = fs::read_to_string(path).expect("a source file can be read");
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    let code = code.lines().filter(is_code).collect::<Vec<_>>().join("\n");
    (!is_test).then_some(Source { name, code })
}

/// Fails with every line in `sources` that names one of `forbidden`.
fn refuse<'f>(sources: &[Source], is_bound: impl Fn(&str) -> bool, forbidden: impl Fn(&str) -> Vec<&'f str>) {
    let mut offences = Vec::new();
    for source in sources.iter().filter(|source| is_bound(&source.name)) {
        let forbidden = forbidden(&source.name);
        for line in source.code.lines().filter(|line| forbidden.iter().any(|name| line.contains(name))) {
            offences.push(format!("{}: {}", source.name, line.trim()));
        }
    }
    assert!(offences.is_empty(), "against the import law:\n{}", offences.join("\n"));
}

#[test]
fn the_model_is_pure() {
    refuse(&sources(), |name| name.starts_with("model"), |_| OUTSIDE.to_vec());
    let others = ["crate::agent", "crate::assembly", "crate::cli", "crate::edge", "crate::place"];
    refuse(&sources(), |name| name.starts_with("model"), |_| others.to_vec());
}

#[test]
fn a_place_is_known_to_the_loop_only_by_its_trait() {
    let others = ["crate::agent", "crate::assembly", "crate::cli", "crate::edge"];
    refuse(&sources(), |name| name == "place.rs", |_| others.to_vec());
}

#[test]
fn the_loop_knows_no_outside_thing() {
    let edges =
        ["edge::disk", "edge::ecr", "edge::hdfs", "edge::http", "edge::watcher", "edge::clock", "edge::log"];
    let joined = ["crate::assembly", "crate::cli", "Timestamp::now", "std::fs"];
    refuse(&sources(), |name| name.starts_with("agent"), |_| edges.into_iter().chain(joined).collect());
}

#[test]
fn outside_things_know_nothing_of_each_other_nor_of_the_loop() {
    let edges: Vec<String> = sources()
        .iter()
        .filter_map(|source| source.name.strip_prefix("edge/")?.strip_suffix(".rs").map(str::to_owned))
        .filter(|name| !name.contains('/') && name != "mod")
        .collect();
    let forbidden: Vec<(String, String)> =
        edges.iter().map(|edge| (edge.clone(), format!("crate::edge::{edge}"))).collect();
    refuse(
        &sources(),
        |name| name.starts_with("edge/") && name != "edge/mod.rs",
        |name| {
            let own = name["edge/".len()..].trim_end_matches(".rs").split('/').next().unwrap_or_default();
            let allowed = EDGES.iter().find(|(edge, _)| *edge == own).map_or(&[][..], |(_, allowed)| allowed);
            let others =
                forbidden.iter().filter(|(edge, _)| edge != own && !allowed.contains(&edge.as_str()));
            others
                .map(|(_, path)| path.as_str())
                .chain(["crate::agent", "crate::assembly", "crate::cli"])
                .collect()
        },
    );
}

#[test]
fn files_stay_short() {
    let long: Vec<_> = sources()
        .into_iter()
        .map(|source| (source.code.lines().count(), source.name))
        .filter(|(lines, _)| *lines > LONGEST_FILE)
        .collect();
    assert!(long.is_empty(), "split these: {long:?}");
}
