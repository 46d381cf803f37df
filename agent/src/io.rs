//! I/O: each module talks to one outside thing, converts its answers to the domain's values and its failures into
//! errors that name operation and object. Some share helpers, such as `disk`, `hadoop_conf` and `http_client`; `warmer`
//! builds on Docker's two.

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

/// Writes JSON over several lines. One type of writer for all: each would bring its own copy of every serializer.
pub(crate) fn write_json(
    out: &mut dyn std::io::Write,
    value: &impl serde::Serialize,
) -> serde_json::Result<()> {
    serde_json::to_writer_pretty(out, value)
}

/// The same as text.
pub(crate) fn json(value: &impl serde::Serialize) -> serde_json::Result<String> {
    let mut text = Vec::new();
    write_json(&mut text, value)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// An error with all its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let in_one_line = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    causes.map(|error| in_one_line(error.to_string())).collect::<Vec<_>>().join(": ")
}
