//! The settings file: /etc/emr-ecr-agent/agent.toml, or the one given with `--config`.

use std::path::{Path, PathBuf};

use domain::settings::{DEFAULT_SETTINGS_FILE, Mistake, Settings};
use thiserror::Error;

use crate::io::disk::{self, DiskError};

/// Where the settings come from.
#[derive(Debug, Clone)]
pub struct SettingsFile {
    path: PathBuf,
    /// The default file may be missing; one named by `--config` may not.
    required: bool,
}

#[derive(Debug, Error)]
pub enum SettingsError {
    #[error("cannot use settings file")]
    Disk(#[from] DiskError),
    #[error("settings file {} does not exist", path.display())]
    Missing { path: PathBuf },
    #[error("{} is not UTF-8", path.display())]
    NotText { path: PathBuf },
    #[error("{}", each_at(path, mistakes))]
    Mistakes { path: PathBuf, mistakes: Vec<Mistake> },
}

impl SettingsFile {
    /// The file named by `--config`, or the default one.
    pub fn new(named: Option<PathBuf>) -> Self {
        Self { required: named.is_some(), path: named.unwrap_or_else(|| DEFAULT_SETTINGS_FILE.into()) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `None` if the default file does not exist.
    pub fn text(&self) -> Result<Option<String>, SettingsError> {
        let Some(bytes) = disk::read(&self.path)? else {
            return if self.required {
                Err(SettingsError::Missing { path: self.path.clone() })
            } else {
                Ok(None)
            };
        };
        String::from_utf8(bytes).map(Some).map_err(|_| SettingsError::NotText { path: self.path.clone() })
    }

    pub fn read(&self) -> Result<Settings, SettingsError> {
        let Some(text) = self.text()? else { return Ok(Settings::default()) };
        Settings::parse(&text)
            .map_err(|mistakes| SettingsError::Mistakes { path: self.path.clone(), mistakes })
    }
}

/// One line per mistake, in the format of compilers.
fn each_at(path: &Path, mistakes: &[Mistake]) -> String {
    let lines = mistakes.iter().map(|mistake| format!("{}:{}: {mistake}", path.display(), mistake.line));
    lines.collect::<Vec<_>>().join("\n")
}
