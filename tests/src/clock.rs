//! A wall clock, built on libfaketime, that a test can move while the agent runs. The monotonic clock and file times
//! stay correct.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::parts::{Missing, Part};
use crate::scratch;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Missing(#[from] Missing),
    #[error(transparent)]
    Scratch(#[from] scratch::Error),
    #[error("cannot set the clock in {}", path.display())]
    Set { path: PathBuf, source: io::Error },
    #[error("cannot remove {}", path.display())]
    Remove { path: PathBuf, source: io::Error },
}

/// A clock that is correct until [`WallClock::set_hours`] moves it.
#[derive(Debug)]
pub struct WallClock {
    library: PathBuf,
    directory: scratch::Directory,
}

impl WallClock {
    pub fn new() -> Result<Self, Error> {
        let clock = Self { library: library()?, directory: scratch::directory("clock")? };
        clock.set_hours(0)?;
        Ok(clock)
    }

    /// The environment variables that give a process this clock.
    pub fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        let mut environment = preloaded(self.library.clone());
        environment
            .extend([("FAKETIME_TIMESTAMP_FILE", self.file()), ("FAKETIME_NO_CACHE", PathBuf::from("1"))]);
        environment
    }

    /// Moves the clock this many hours ahead of real time.
    pub fn set_hours(&self, ahead: i32) -> Result<(), Error> {
        let (draft, path) = (self.directory.path().join("draft"), self.file());
        fs::write(&draft, format!("{:+}\n", ahead * 3600))
            .and_then(|()| fs::rename(&draft, &path))
            .map_err(|source| Error::Set { path, source })
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("offset")
    }
}

/// The environment variables that give a process a clock that always runs this far ahead.
pub fn ahead_by(seconds: i64) -> Result<Vec<(&'static str, PathBuf)>, Missing> {
    let mut environment = preloaded(library()?);
    environment.push(("FAKETIME", format!("{seconds:+}").into()));
    Ok(environment)
}

/// Unlinks the shared memory that the library opens in a running process and leaves behind when that process is
/// killed. Otherwise a later process with the same id but another user could not start.
pub fn unlink_shared_memory(process: u32) -> Result<(), Error> {
    for name in [format!("faketime_shm_{process}"), format!("sem.faketime_sem_{process}")] {
        let path = Path::new("/dev/shm").join(name);
        fs::remove_file(&path).map_err(|source| Error::Remove { path, source })?;
    }
    Ok(())
}

fn library() -> Result<PathBuf, Missing> {
    Ok(Part::kerberos()?.path("lib/libfaketimeMT.so.1"))
}

fn preloaded(library: PathBuf) -> Vec<(&'static str, PathBuf)> {
    let on = || PathBuf::from("1");
    vec![
        ("LD_PRELOAD", library),
        ("FAKETIME_DONT_FAKE_MONOTONIC", on()),
        // Otherwise timed waits in a JVM return at once.
        ("FAKETIME_FORCE_MONOTONIC_FIX", PathBuf::from("0")),
        ("NO_FAKE_STAT", on()),
    ]
}
