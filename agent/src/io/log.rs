//! The log: to stderr and, if set, to a file rotated daily. Libraries never log below info: they print
//! requests and handshakes there, credentials among them.

use std::io;
use std::path::{Path, PathBuf};

use domain::settings::{LibraryLogLevel, LogFormat, LogLevel, LogSettings};
use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Days of log files that are kept.
const KEPT_FILES: usize = 7;

#[derive(Debug, Error)]
pub(crate) enum LogError {
    #[error("cannot write the log file {}", path.display())]
    File { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
}

/// Starts the log for the whole process; a second start changes nothing.
pub(crate) fn start(settings: &LogSettings) -> Result<(), LogError> {
    let file = settings.file.as_deref().map(open).transpose()?;
    let layers = [Some(layer(settings.format, io::stderr)), file.map(|file| layer(settings.format, file))];
    let layers: Vec<_> = layers.into_iter().flatten().collect();
    // Only tests start it twice in one process.
    let _ = tracing_subscriber::registry().with(layers.with_filter(targets(settings))).try_init();
    Ok(())
}

/// The levels of the agent and of libraries.
fn targets(settings: &LogSettings) -> Targets {
    let libraries = match settings.libraries {
        LibraryLogLevel::Error => LevelFilter::ERROR,
        LibraryLogLevel::Warn => LevelFilter::WARN,
        LibraryLogLevel::Info => LevelFilter::INFO,
    };
    // The SDK's warnings quote what providers of credentials said; the agent tells their kind itself.
    let providers = ["aws_config", "aws_credential_types", "aws_runtime"];
    let providers = providers.map(|library| (library, LevelFilter::OFF));
    Targets::new()
        .with_default(libraries)
        .with_targets(providers)
        .with_target(env!("CARGO_CRATE_NAME"), level(settings.level))
}

/// A panic's text may quote secrets: the log gets its location only.
pub(crate) fn redact_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map_or_else(String::new, ToString::to_string);
        tracing::error!(location, "a thread panicked");
    }));
}

fn layer<W>(format: LogFormat, writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false).with_target(false);
    match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    }
}

fn open(path: &Path) -> Result<RollingFileAppender, LogError> {
    let failed = |source| LogError::File { path: path.to_owned(), source };
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(failed("not a file path".into()));
    };
    RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix(name.to_string_lossy())
        .latest_symlink(name.to_string_lossy())
        .max_log_files(KEPT_FILES)
        .build(directory)
        .map_err(|source| failed(source.into()))
}

fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use domain::settings::{LibraryLogLevel, LogFormat, LogLevel, LogSettings};
    use tracing::Level;

    use super::targets;

    #[test]
    fn libraries_never_log_below_info() {
        let own = [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];
        let of_libraries = [
            (LibraryLogLevel::Error, Level::ERROR),
            (LibraryLogLevel::Warn, Level::WARN),
            (LibraryLogLevel::Info, Level::INFO),
        ];
        for level in own {
            for (libraries, most) in of_libraries {
                let settings = LogSettings { format: LogFormat::Text, level, libraries, file: None };
                let targets = targets(&settings);
                for event in [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE] {
                    let library = targets.would_enable("hdfs_native::security::sasl", &event);
                    assert_eq!(library, event <= most, "{level:?} {libraries:?} {event}");
                }
                assert!(targets.would_enable("emr_ecr_agent::agent", &Level::ERROR));
            }
        }
    }
}
