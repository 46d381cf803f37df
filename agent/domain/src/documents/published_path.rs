//! Location of the published file: a path on the cluster's default file system, or a full URI.

use std::fmt;

/// An absolute path, with or without its file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedPath {
    /// Scheme and authority, such as `hdfs://ha-nn-uri`; `None` means fs.defaultFS.
    file_system: Option<String>,
    path: String,
}

impl PublishedPath {
    /// Returns `None` unless `text` is an absolute path of a file, on its own or on `hdfs://` or `viewfs://`.
    pub fn parse(text: &str) -> Option<Self> {
        let (file_system, path) = match text.split_once("://") {
            Some((scheme @ ("hdfs" | "viewfs"), rest)) => {
                let (authority, _) = rest.split_once('/')?;
                let file_system = (!authority.is_empty()).then(|| format!("{scheme}://{authority}"));
                (file_system, &rest[authority.len()..])
            }
            Some(_) => return None,
            None => (None, text),
        };
        let is_file = path.starts_with('/') && path[1..].split('/').all(is_component);
        is_file.then(|| Self { file_system, path: path.to_owned() })
    }

    /// The path in a directory that only the agents' HDFS user may write to.
    pub fn secure() -> Self {
        Self { file_system: None, path: "/apps/emr-ecr-agent/config.json".to_owned() }
    }

    /// Scheme and authority, if given.
    pub fn file_system(&self) -> Option<&str> {
        self.file_system.as_deref()
    }

    /// The path without scheme and authority; starts with `/`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Path of the directory, without a trailing `/` unless it is the root.
    pub fn directory(&self) -> &str {
        match self.path.rfind('/') {
            Some(0) | None => "/",
            Some(end) => &self.path[..end],
        }
    }

    /// Name of the file inside its directory.
    pub fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Path of another file in the same directory.
    pub fn sibling(&self, name: &str) -> String {
        format!("{}/{name}", self.directory().trim_end_matches('/'))
    }
}

impl Default for PublishedPath {
    fn default() -> Self {
        Self { file_system: None, path: "/user/hadoop/config.json".to_owned() }
    }
}

impl fmt::Display for PublishedPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.file_system.as_deref().unwrap_or_default(), self.path)
    }
}

/// Whether the NameNode accepts `name` as a path component.
fn is_component(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(|c: char| c == ':' || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::PublishedPath;

    #[test]
    fn tells_file_system_and_path_apart() {
        let check = |text: &str, expected: Option<(Option<&str>, &str, &str, &str)>| {
            let parsed = PublishedPath::parse(text);
            let parts = parsed.as_ref().map(|p| (p.file_system(), p.path(), p.directory(), p.file_name()));
            assert_eq!(parts, expected, "{text}");
            if let Some(parsed) = &parsed {
                assert_eq!(PublishedPath::parse(&parsed.to_string()).as_ref(), Some(parsed));
            }
        };
        check(
            "/user/hadoop/config.json",
            Some((None, "/user/hadoop/config.json", "/user/hadoop", "config.json")),
        );
        check("/config.json", Some((None, "/config.json", "/", "config.json")));
        check("hdfs:///a/b", Some((None, "/a/b", "/a", "b")));
        check("hdfs://nn:8020/a/b", Some((Some("hdfs://nn:8020"), "/a/b", "/a", "b")));
        for refused in [
            "",
            "/",
            "a/b",
            "/a/",
            "/a/../b",
            "/a:b",
            "s3://bucket/x",
            "hdfs://nn:8020",
            "file:///a",
            "//a",
            "/a\nb",
        ] {
            check(refused, None);
        }
    }

    #[test]
    fn sibling_stays_in_the_directory() {
        for (path, sibling) in [("/config.json", "/x"), ("/user/hadoop/config.json", "/user/hadoop/x")] {
            assert_eq!(PublishedPath::parse(path).map(|p| p.sibling("x")).as_deref(), Some(sibling));
        }
    }
}
