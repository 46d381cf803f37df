//! The kinds of sinks, which hold different documents.

/// Local sinks hold a Docker config, the one on HDFS the published document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SinkKind {
    Local,
    Hdfs,
}

impl SinkKind {
    /// The word that status, metrics and the log use.
    pub fn as_str(self) -> &'static str {
        match self {
            SinkKind::Local => "local",
            SinkKind::Hdfs => "hdfs",
        }
    }
}
