//! I/O: each module talks to one external system, converts its answers to domain values, and its failures to errors
//! that name the operation and the object. Some share helpers, such as `disk`, `hadoop_conf` and `http_client`;
//! `warmer` builds on the two Docker modules.

pub(crate) mod archive;
pub(crate) mod blocking;
pub mod clock;
mod connector;
pub(crate) mod credentials_file;
pub(crate) mod disk;
pub(crate) mod docker;
pub(crate) mod docker_cli;
pub mod ecr;
pub(crate) mod hadoop_conf;
pub mod hdfs;
pub(crate) mod http;
pub(crate) mod http_client;
pub(crate) mod log;
pub mod metrics;
pub mod node;
pub(crate) mod process;
pub(crate) mod registry;
pub(crate) mod resource_manager;
pub mod settings_file;
pub(crate) mod status_client;
pub(crate) mod systemd;
pub(crate) mod warmer;
pub(crate) mod watcher;

/// Writes pretty-printed JSON. A single writer type avoids a copy of every serializer per writer.
pub(crate) fn write_json(
    out: &mut dyn std::io::Write,
    value: &impl serde::Serialize,
) -> serde_json::Result<()> {
    serde_json::to_writer_pretty(out, value)
}

/// Like [`write_json`], as a string.
pub(crate) fn json(value: &impl serde::Serialize) -> serde_json::Result<String> {
    let mut text = Vec::new();
    write_json(&mut text, value)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// An error with all its causes, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let in_one_line = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    causes.map(|error| in_one_line(error.to_string())).collect::<Vec<_>>().join(": ")
}
