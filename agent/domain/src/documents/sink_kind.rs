//! The kinds of sinks.

/// Local sinks hold a Docker config; the one on HDFS holds the published document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SinkKind {
    Local,
    Hdfs,
}

impl SinkKind {
    /// The name in status, metrics and the log.
    pub fn as_str(self) -> &'static str {
        match self {
            SinkKind::Local => "local",
            SinkKind::Hdfs => "hdfs",
        }
    }
}
