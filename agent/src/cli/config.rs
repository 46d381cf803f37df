//! `config`: the effective settings, and any mistakes in them.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use domain::settings::{self, Effective, Origin};
use serde::Serialize;
use serde_json::Value;

use super::check::printable;
use super::{ConfigOption, Exit, output};
use crate::io::settings_file::{SettingsError, SettingsFile};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Validate the settings file: exit 0 if valid, 78 if not (lists every mistake)
    Check(CheckOptions),
    /// Print every setting with its value and origin
    Show(ShowOptions),
}

#[derive(Debug, Args)]
struct CheckOptions {
    #[command(flatten)]
    config: ConfigOption,
}

#[derive(Debug, Args)]
struct ShowOptions {
    #[command(flatten)]
    config: ConfigOption,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What `config show --json` prints.
#[derive(Serialize)]
pub(super) struct Shown {
    file: String,
    exists: bool,
    settings: Vec<Setting>,
}

#[derive(Serialize)]
struct Setting {
    key: String,
    value: Option<Value>,
    /// `default`, `file`, `option`, or the setting that it follows from.
    origin: &'static str,
    line: Option<usize>,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Exit> {
    match &options.command {
        Command::Check(options) => check(&options.config.file()),
        Command::Show(options) => show(options),
    }
}

fn check(file: &SettingsFile) -> Result<ExitCode, Exit> {
    let text = file.text().map_err(Exit::Settings)?;
    file.read().map_err(Exit::Settings)?;
    let path = file.path().display();
    let answer = match text {
        Some(_) => format!("{path}: valid\n"),
        None => format!("{path} does not exist: every setting has its default\n"),
    };
    output::print(&answer)?;
    Ok(ExitCode::SUCCESS)
}

fn show(options: &ShowOptions) -> Result<ExitCode, Exit> {
    let shown = Shown::read(&options.config).map_err(Exit::Settings)?;
    if options.json {
        output::print_json(&shown)?;
    } else {
        output::print(&render(&shown))?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Shown {
    /// Reads the effective settings; fails with the mistakes of a file that has any.
    pub(super) fn read(config: &ConfigOption) -> Result<Self, SettingsError> {
        let file = config.file();
        file.read()?;
        let text = file.text()?;
        let mut settings = settings::effective(text.as_deref().unwrap_or_default());
        if let Some(level) = config.level()
            && let Some(setting) = settings.iter_mut().find(|setting| setting.key == "log.level")
        {
            setting.value = Some(level.as_str().into());
            setting.origin = Origin::Option("--log-level");
        }
        let settings = settings.into_iter().map(Setting::of).collect();
        Ok(Self { exists: text.is_some(), settings, file: file.path().display().to_string() })
    }
}

impl Setting {
    fn of(setting: Effective) -> Self {
        let (origin, line) = match setting.origin {
            Origin::Default => ("default", None),
            Origin::Line(line) => ("file", Some(line)),
            Origin::Follows(key) => (key, None),
            Origin::Option(_) => ("option", None),
        };
        Self { key: setting.key, value: setting.value, origin, line }
    }
}

fn render(Shown { file: path, settings, .. }: &Shown) -> String {
    let words = |setting: &Setting| match &setting.value {
        Some(value) => format!("{} = {value}", setting.key),
        None => format!("{} is not set", setting.key),
    };
    let width = settings.iter().map(|setting| words(setting).chars().count()).max().unwrap_or_default();
    let line = |setting: &Setting| {
        let origin = match (setting.origin, setting.line) {
            (_, Some(line)) => format!("{path}:{line}"),
            ("default", None) => "default".to_owned(),
            ("option", None) => "by --log-level".to_owned(),
            (other, None) => format!("by {other}"),
        };
        format!("{}\n", printable(&format!("{:width$}  # {origin}", words(setting))))
    };
    settings.iter().map(line).collect()
}
