//! The log: to stderr and, if set, to a file rotated daily. Only this program speaks below warnings:
//! libraries print requests and handshakes there, credentials among them.

use std::io;
use std::path::{Path, PathBuf};

use domain::settings::{LogFormat, LogLevel, LogSettings};
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
pub enum LogError {
    #[error("cannot write the log file {}", path.display())]
    File { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
}

/// Starts the log for the whole process; a second start changes nothing.
pub fn start(settings: &LogSettings) -> Result<(), LogError> {
    let targets = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target(env!("CARGO_CRATE_NAME"), level(settings.level));
    let file = settings.file.as_deref().map(open).transpose()?;
    let layers = [Some(layer(settings.format, io::stderr)), file.map(|file| layer(settings.format, file))];
    let layers: Vec<_> = layers.into_iter().flatten().collect();
    // Only tests start it twice in one process.
    let _ = tracing_subscriber::registry().with(layers.with_filter(targets)).try_init();
    Ok(())
}

/// A panic's text may quote what was being worked on: the log gets its place alone.
pub fn redact_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, ToString::to_string);
        tracing::error!(place, "a thread panicked");
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
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(failed("it is no path of a file".into()));
    };
    RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix(name.to_string_lossy())
        .latest_symlink(name.to_string_lossy())
        .max_log_files(KEPT_FILES)
        .build(folder)
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
