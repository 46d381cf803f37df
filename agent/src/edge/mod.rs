//! Outside things: each module speaks to one of them, turns its answers into the model's values and
//! its failures into errors that name operation and object. They know nothing of each other.

pub mod clock;
pub mod disk;
pub mod ecr;
pub mod hadoop_conf;
pub mod hdfs;
pub mod http;
pub mod log;
pub mod metrics;
pub mod node;
pub mod process;
pub mod settings_file;
pub mod status_client;
pub mod watcher;

/// An error with all its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(|error| error.to_string().replace(['\n', '\r'], " ")).collect::<Vec<_>>().join(": ")
}
