//! The command line: its commands, options and exit codes.

mod check;
mod cluster;
mod config;
mod emr_config;
mod explain;
mod job;
mod once;
mod output;
mod renew;
mod report;
mod run;
mod status;
mod submit;
mod submit_args;
mod try_image;
mod version;

use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use domain::settings::{LogLevel, LogSettings, Settings};

use crate::io::chain;
use crate::io::settings_file::{SettingsError, SettingsFile};

/// EX_CONFIG from sysexits.h: a service manager must not restart on it.
const WRONG_SETTINGS: u8 = 78;
const FAILURE: u8 = 1;
const USAGE: u8 = 2;

/// What `--version` prints; `-V` prints the version alone.
const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit ",
    env!("EMR_ECR_AGENT_COMMIT"),
    "\nbuild ",
    env!("EMR_ECR_AGENT_BUILD_ID")
);

/// Keeps the ECR credentials that YARN hands to Docker fresh on this node and on HDFS.
#[derive(Debug, Parser)]
#[command(name = "emr-ecr-agent", version, long_version = LONG_VERSION, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 success; 1 failure, see the message; 2 usage error, or a file that cannot be read; 3 no agent answers, or the cluster's state is unknown; 78 invalid settings."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground
    ///
    /// Fetches ECR authorization tokens, keeps the local Docker configs and the published copy on HDFS
    /// fresh, and serves /livez /readyz /healthz /status /metrics. SIGHUP reloads the settings, SIGUSR1
    /// fetches new tokens, SIGTERM stops.
    Run(run::Options),
    /// Make one pass and exit: 0 if every sink is fresh afterwards, 1 if not
    Once(once::Options),
    /// Show the running agent's status: exit 0 ready, 1 not ready, 3 no agent answers
    Status(status::Options),
    /// Make the running agent fetch new tokens now: exit 0 they are published, 1 they did not arrive, 3 no agent answers
    ///
    /// As root. Calls ECR once for all nodes, and not again within a minute of the last token. Earlier tokens stay valid
    /// until they expire.
    Renew(renew::Options),
    /// Show all nodes of the cluster, worst first: exit 0 all are ready, 1 at least one is not, 3 unknown
    ///
    /// Runs on any machine with Hadoop's configuration, such as the primary node. Lists the ResourceManager's nodes. Each
    /// status comes from the agent's health listener if the network can reach it, otherwise from its note next to the
    /// published file.
    Cluster(cluster::Options),
    /// Check files against Hadoop's rules: exit 0 no error found, 1 errors found, 2 a file cannot be read
    ///
    /// Without files, checks everything about this node and its cluster; with files, checks only those.
    Check(Box<check::Options>),
    /// Explain a finding's code, or the texts of a failed launch: exit 0 explained, 1 nothing in the text is
    /// recognized, 2 neither a code nor a file
    ///
    /// yarn logs -applicationId APPLICATION | emr-ecr-agent explain - prints the causes, the lines that show them, the
    /// findings and the commands that show more. Without an argument, explains every code.
    Explain(explain::Options),
    /// Pull an image and run Java in it, with the credentials that a job would get: exit 0 it works, 1 it fails,
    /// 2 there is no docker command
    ///
    /// Reads the published file as YARN does. An image that was not on the node is removed afterwards.
    Try(try_image::Options),
    /// Run spark-submit with the options for Docker, if the containers would launch
    ///
    /// emr-ecr-agent submit --image IMAGE -- spark-submit --deploy-mode cluster main.py checks first, and runs nothing
    /// if there is an error (exit 1) or the job cannot be checked (exit 2). Otherwise the exit code is the command's own.
    /// On a machine without a NodeManager, such as the primary node, it skips node-specific checks.
    Submit(submit::Options),
    /// Print the options that make Spark run in Docker containers
    ///
    /// Checks them against this node's files first and prints findings to stderr.
    SubmitArgs(Box<submit_args::Options>),
    /// Print the configuration JSON that makes a new EMR cluster trust registries
    EmrConfig(emr_config::Options),
    /// Write an archive to attach when asking for help: versions, settings, findings, status, metrics, the end
    /// of the log
    ///
    /// Contains no secrets, is readable only by its owner, and lists what could not be collected. Works without a running
    /// agent.
    Report(report::Options),
    /// Check or show the settings
    Config(config::Options),
    /// Print the version, the commit and the build
    Version(version::Options),
}

/// The options of every command that reads settings.
#[derive(Debug, Args)]
struct ConfigOption {
    /// Settings file [default: /etc/emr-ecr-agent/agent.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Log level; overrides the settings
    #[arg(long, value_name = "LEVEL", value_enum)]
    log_level: Option<Level>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Why a command ended early.
enum Exit {
    Settings(SettingsError),
    /// What the arguments name is not usable.
    Usage(Box<dyn std::error::Error>),
    Failed(Box<dyn std::error::Error>),
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let ended = match Cli::parse().command {
        Command::Run(options) => run::run(&options),
        Command::Once(options) => once::run(&options),
        Command::Status(options) => status::run(&options),
        Command::Renew(options) => renew::run(&options),
        Command::Cluster(options) => cluster::run(&options),
        Command::Check(options) => check::run(&options),
        Command::Explain(options) => explain::run(&options),
        Command::Try(options) => try_image::run(&options),
        Command::Submit(options) => submit::run(&options),
        Command::SubmitArgs(options) => submit_args::run(&options),
        Command::EmrConfig(options) => emr_config::run(&options),
        Command::Report(options) => report::run(&options),
        Command::Config(options) => config::run(&options),
        Command::Version(options) => version::run(&options),
    };
    match ended {
        Ok(code) => code,
        Err(Exit::Settings(error)) => {
            output::message(&format!("emr-ecr-agent: {}", error_text(&error)));
            ExitCode::from(WRONG_SETTINGS)
        }
        Err(Exit::Usage(error)) => {
            output::message(&format!("error: {}", chain(error.as_ref())));
            ExitCode::from(USAGE)
        }
        Err(Exit::Failed(error)) => {
            output::message(&format!("emr-ecr-agent: {}", chain(error.as_ref())));
            ExitCode::from(FAILURE)
        }
    }
}

/// The commands and options, for manual pages.
pub fn command() -> clap::Command {
    Cli::command()
}

impl ConfigOption {
    /// The log level that overrides the settings.
    fn level(&self) -> Option<LogLevel> {
        self.log_level.map(|level| match level {
            Level::Error => LogLevel::Error,
            Level::Warn => LogLevel::Warn,
            Level::Info => LogLevel::Info,
            Level::Debug => LogLevel::Debug,
            Level::Trace => LogLevel::Trace,
        })
    }

    fn log(&self, settings: &LogSettings) -> LogSettings {
        LogSettings { level: self.level().unwrap_or(settings.level), ..settings.clone() }
    }

    fn file(&self) -> SettingsFile {
        SettingsFile::new(self.config.clone())
    }

    fn read(&self) -> Result<Settings, Exit> {
        self.file().read().map_err(Exit::Settings)
    }
}

impl<E: std::error::Error + 'static> From<E> for Exit {
    fn from(error: E) -> Self {
        Exit::Failed(Box::new(error))
    }
}

/// Lists mistakes on lines of their own; other errors with their causes on one line.
fn error_text(error: &SettingsError) -> String {
    match error {
        SettingsError::Mistakes { mistakes, .. } => {
            format!("{} in the settings:\n{error}", count(mistakes.len(), "mistake"))
        }
        other => chain(other),
    }
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// A runtime on the current thread.
fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map(Runtime)
}

/// A tokio runtime with one entry point for all commands, so that its loop is compiled only once.
struct Runtime(tokio::runtime::Runtime);

impl Runtime {
    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let mut result = None;
        let mut running: Pin<Box<dyn Future<Output = ()> + '_>> = Box::pin(async {
            result = Some(future.await);
        });
        self.0.block_on(running.as_mut());
        drop(running);
        result.expect("the future has ended")
    }

    /// Shuts down without waiting for calls that still block.
    fn shutdown_background(self) {
        self.0.shutdown_background();
    }
}
