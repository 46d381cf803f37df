//! The log: to stderr and, if configured, to a file rotated daily. Libraries never log below info, where they print
//! requests and handshakes, including credentials.

use std::env;
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use domain::settings::{LibraryLogLevel, LogFormat, LogLevel, LogSettings};
use nix::sys::stat::fstat;
use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::util::SubscriberInitExt as _;

/// Logs an event that appears only at level debug and below. Release builds compile out tracing's debug events,
/// including those of libraries, so this one has level info and a target that the filter knows.
macro_rules! detail {
    ($($event:tt)+) => {
        tracing::info!(target: $crate::io::log::DETAIL, $($event)+)
    };
}
pub(crate) use detail;

pub(crate) const DETAIL: &str = concat!(env!("CARGO_CRATE_NAME"), "::detail");

/// For commands whose output includes everything else.
pub(crate) const ERRORS_ALONE: LogSettings = LogSettings {
    level: LogLevel::Error,
    libraries: LibraryLogLevel::Error,
    format: LogFormat::Text,
    file: None,
};
/// Lines that wait for the disk.
const MOST_LINES: usize = 1_000;
/// Days of log files to keep.
const KEPT_FILES: usize = 7;

#[derive(Debug, Error)]
pub(crate) enum LogError {
    #[error("cannot write the log file {}", path.display())]
    File { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
}

/// Writes the log file's last lines when dropped.
#[must_use]
#[derive(Debug)]
pub(crate) struct LogGuard {
    _file: Option<WorkerGuard>,
}

/// Starts the log for the whole process; a second start has no effect. Lines for the file are dropped while its disk
/// hangs, which must not stop the agent.
pub(crate) fn start(settings: &LogSettings) -> Result<LogGuard, LogError> {
    let file = settings.file.as_deref().map(open).transpose()?;
    let in_background = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(MOST_LINES);
    let (file, guard) = file.map(|file| in_background.finish(file)).unzip();
    let journal = is_journal(env::var("JOURNAL_STREAM").ok().as_deref(), io::stderr());
    let layers = [
        Some(layer(settings.format, io::stderr, journal)),
        file.map(|file| layer(settings.format, file, false)),
    ];
    let layers: Vec<_> = layers.into_iter().flatten().collect();
    // Only tests start it twice in one process.
    let _ = tracing_subscriber::registry().with(layers.with_filter(targets(settings))).try_init();
    Ok(LogGuard { _file: guard })
}

/// The levels of the agent and of libraries.
fn targets(settings: &LogSettings) -> Targets {
    let libraries = match settings.libraries {
        LibraryLogLevel::Error => LevelFilter::ERROR,
        LibraryLogLevel::Warn => LevelFilter::WARN,
        LibraryLogLevel::Info => LevelFilter::INFO,
    };
    // The SDK's warnings quote credential providers; the agent itself logs the kind of failure.
    let providers = ["aws_config", "aws_credential_types", "aws_runtime"];
    let providers = providers.map(|library| (library, LevelFilter::OFF));
    Targets::new()
        .with_default(libraries)
        .with_targets(providers)
        .with_target(env!("CARGO_CRATE_NAME"), level(settings.level))
        .with_target(DETAIL, detail_level(settings.level))
}

/// Logs only a panic's location, since its text may quote secrets.
pub(crate) fn redact_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map_or_else(String::new, ToString::to_string);
        tracing::error!(location, "a thread panicked");
    }));
}

/// The journal adds each line's time itself, and takes its priority from the prefix.
fn layer<W>(format: LogFormat, writer: W, journal: bool) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false).with_target(false);
    match (format, journal) {
        (LogFormat::Text, false) => layer.boxed(),
        (LogFormat::Text, true) => layer.without_time().map_event_format(Prioritized).boxed(),
        (LogFormat::Json, false) => layer.json().flatten_event(true).boxed(),
        (LogFormat::Json, true) => layer.json().flatten_event(true).map_event_format(Prioritized).boxed(),
    }
}

/// Whether systemd connected `stream` to the journal, according to its variable `JOURNAL_STREAM`.
fn is_journal(variable: Option<&str>, stream: impl AsFd) -> bool {
    let Some((device, inode)) = variable.and_then(|text| text.split_once(':')) else { return false };
    let (Ok(device), Ok(inode)) = (device.parse::<u64>(), inode.parse::<u64>()) else { return false };
    fstat(stream).is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (device, inode))
}

/// Prefixes lines with the priority, as in sd-daemon(3).
struct Prioritized<F>(F);

impl<S, N, F> FormatEvent<S, N> for Prioritized<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

/// syslog's number for `level`.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

fn open(path: &Path) -> Result<RollingFileAppender, LogError> {
    let failed = |source| LogError::File { path: path.to_owned(), source };
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(failed("not a file path".into()));
    };
    // The link to the newest file would replace it, and what rotates would remove the files named after it.
    if path.symlink_metadata().is_ok_and(|found| !found.is_symlink()) {
        return Err(failed("it exists, and is not the link that the agent keeps there".into()));
    }
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
        LogLevel::Info | LogLevel::Debug | LogLevel::Trace => LevelFilter::INFO,
    }
}

fn detail_level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error | LogLevel::Warn | LogLevel::Info => LevelFilter::OFF,
        LogLevel::Debug | LogLevel::Trace => LevelFilter::INFO,
    }
}

#[cfg(test)]
mod tests {
    use domain::settings::{LibraryLogLevel, LogFormat, LogLevel, LogSettings};
    use std::fs::File;
    use std::io;
    use std::sync::{Arc, Mutex};

    use nix::sys::stat::fstat;
    use tracing::Level;
    use tracing_subscriber::Layer as _;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::{is_journal, layer, open, targets};

    /// The logged lines.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_file_in_the_place_of_the_link_is_refused_and_kept() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("messages");
        std::fs::write(&path, "others'").expect("written");
        assert!(open(&path).is_err());
        assert_eq!(std::fs::read_to_string(&path).expect("still there"), "others'");
        std::fs::remove_file(&path).expect("removed");
        open(&path).expect("a log file");
        open(&path).expect("the link of an earlier start is no obstacle");
    }

    #[test]
    fn lines_for_the_journal_have_a_priority_and_no_time() {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = layer(LogFormat::Text, move || writer.clone(), true);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::warn!(check = "launches", "check failed");
            tracing::info!("ready");
        });
        let text = String::from_utf8(lines.0.lock().expect("no panic").clone()).expect("text");
        assert_eq!(text, "<4> WARN check failed check=\"launches\"\n<6> INFO ready\n");
    }

    #[test]
    fn the_journal_is_known_by_device_and_inode() {
        let file = File::open("/dev/null").expect("a file");
        let stat = fstat(&file).expect("its status");
        let own = format!("{}:{}", stat.st_dev, stat.st_ino);
        assert!(is_journal(Some(&own), &file));
        for other in [None, Some("1:2"), Some(""), Some("x:y")] {
            assert!(!is_journal(other, &file), "{other:?}");
        }
    }

    #[test]
    fn details_appear_from_debug_on() {
        for (level, expected) in [
            (LogLevel::Warn, ""),
            (LogLevel::Info, " INFO ready\n"),
            (LogLevel::Debug, " INFO ready\n INFO pass wake=\"timer\"\n"),
            (LogLevel::Trace, " INFO ready\n INFO pass wake=\"timer\"\n"),
        ] {
            let lines = Lines::default();
            let writer = lines.clone();
            let plain = tracing_subscriber::fmt::layer()
                .with_writer(move || writer.clone())
                .with_ansi(false)
                .with_target(false)
                .without_time();
            let settings = LogSettings { level, ..super::ERRORS_ALONE };
            let subscriber = tracing_subscriber::registry().with(plain.with_filter(targets(&settings)));
            tracing::subscriber::with_default(subscriber, || {
                tracing::info!("ready");
                super::detail!(wake = "timer", "pass");
            });
            let text = String::from_utf8(lines.0.lock().expect("no panic").clone()).expect("text");
            assert_eq!(text, expected, "{level:?}");
        }
    }

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
