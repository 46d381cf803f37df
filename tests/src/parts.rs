//! Finds the parts that `tests/parts/install.sh` has installed in the cache directory.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// A part is missing or incomplete.
#[derive(Debug, thiserror::Error)]
#[error("the part {part} is not installed in {}; `make parts` installs it", cache.display())]
pub struct Missing {
    part: String,
    cache: PathBuf,
}

/// The directory of an installed part, with links resolved so that a later installation does not affect it.
#[derive(Debug, Clone)]
pub struct Part {
    directory: PathBuf,
}

impl Part {
    /// Hadoop, in the version that the environment variable `HADOOP` names, by default the first in
    /// `tests/parts/hadoop/versions`; `tests/parts/hadoop.sh` describes its contents.
    pub fn hadoop() -> Result<Self, Missing> {
        Self::find(&format!("hadoop-{}", hadoop_version()))
    }

    /// MIT's KDC, as described in `tests/parts/kerberos.sh`.
    pub fn kerberos() -> Result<Self, Missing> {
        Self::find("kerberos")
    }

    /// The AWS CLI and an HDFS client in Go, as described in `tests/parts/bench.sh`.
    pub fn bench() -> Result<Self, Missing> {
        Self::find("bench")
    }

    /// A Docker engine in `usr/` and the layer of a small image, as described in `tests/parts/docker.sh`.
    pub fn docker() -> Result<Self, Missing> {
        Self::find("docker")
    }

    /// Spark in `home/` and an image of Java and Python, as described in `tests/parts/spark.sh`.
    pub fn spark() -> Result<Self, Missing> {
        Self::find("spark")
    }

    /// docker-registry and skopeo, in `bin/`.
    pub fn registry() -> Result<Self, Missing> {
        Self::find("registry")
    }

    /// Prometheus and promtool in `bin/`, Grafana's model of a dashboard in `python/`.
    pub fn prometheus() -> Result<Self, Missing> {
        Self::find("prometheus")
    }

    /// The AWS CLI, boto3, moto, cfn-lint and a parser of HCL, as described in `tests/parts/recipes.sh`.
    pub fn recipes() -> Result<Self, Missing> {
        Self::find("recipes")
    }

    /// The root file system of a Debian node with systemd, in `root/`.
    pub fn node() -> Result<Self, Missing> {
        Self::find("node")
    }

    /// The tools that build packages, and an emulator and a C library for the other architecture.
    pub fn package() -> Result<Self, Missing> {
        Self::find("package")
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.join(name)
    }

    /// Identifies the installed version.
    pub fn version(&self) -> String {
        self.directory.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn find(part: &str) -> Result<Self, Missing> {
        let cache = cache();
        fs::canonicalize(cache.join(part))
            .ok()
            .filter(|directory| directory.join(".complete").exists())
            .map(|directory| Self { directory })
            .ok_or_else(|| Missing { part: part.to_owned(), cache })
    }
}

/// The Hadoop version in use.
pub fn hadoop_version() -> String {
    env::var("HADOOP").ok().filter(|version| !version.is_empty()).unwrap_or_else(|| {
        let mut versions = HADOOP_VERSIONS.lines().filter(|line| !line.starts_with('#'));
        versions.next().unwrap_or_default().to_owned()
    })
}

const HADOOP_VERSIONS: &str = include_str!("../parts/hadoop/versions");

/// The directory, outside the source tree, for parts and running servers.
pub fn cache() -> PathBuf {
    env::var_os("EMR_ECR_AGENT_CACHE")
        .map(PathBuf::from)
        .or_else(|| {
            let home = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
            home.or_else(|| env::home_dir().map(|home| home.join(".cache")))
                .map(|caches| caches.join("emr-ecr-agent"))
        })
        .unwrap_or_else(|| env::temp_dir().join("emr-ecr-agent"))
}

/// For tests: returns whether all required parts are installed. Otherwise prints a message, or panics in CI
/// (`CI=true`), where a skipped test would go unnoticed.
pub fn present<const N: usize>(found: [Result<Part, Missing>; N]) -> bool {
    let Some(missing) = missing(found) else { return true };
    assert!(!in_ci(), "in CI every part must be installed: {missing}");
    eprintln!("SKIPPED: {missing}");
    false
}

/// Describes the missing parts.
pub fn missing<const N: usize>(found: [Result<Part, Missing>; N]) -> Option<String> {
    let missing: Vec<String> =
        found.into_iter().filter_map(|part| part.err().map(|missing| missing.to_string())).collect();
    (!missing.is_empty()).then(|| missing.join("; "))
}

/// Returns whether missing parts are an error.
pub fn in_ci() -> bool {
    env::var("CI").as_deref() == Ok("true")
}
