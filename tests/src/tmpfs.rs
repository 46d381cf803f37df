//! A file system that a test can fill and make read-only. Mounting requires root.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted tmpfs of 64 KiB, unmounted when dropped.
#[derive(Debug)]
pub struct Tmpfs {
    directory: PathBuf,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}", directory.display())]
pub struct Error {
    operation: &'static str,
    directory: PathBuf,
    source: io::Error,
}

impl Tmpfs {
    /// Mounts a tmpfs on `directory`. `None`, with a message, if this process may not mount.
    pub fn mount(directory: &Path) -> Result<Option<Self>, Error> {
        if !run("mount", &["-t", "tmpfs", "-o", "size=64k,mode=0700", "sandbox"], directory)? {
            eprintln!("SKIPPED: this process may not mount file systems");
            return Ok(None);
        }
        Ok(Some(Self { directory: directory.to_owned() }))
    }

    pub fn set_writable(&self, writable: bool) -> Result<(), Error> {
        let options = if writable { "remount,rw" } else { "remount,ro" };
        if run("mount", &["-o", options], &self.directory)? {
            Ok(())
        } else {
            Err(failed("remount", &self.directory, io::ErrorKind::PermissionDenied.into()))
        }
    }

    /// Fills the file system with one file and returns its name.
    pub fn fill(&self) -> Result<&'static str, Error> {
        let failed = |source| failed("fill", &self.directory, source);
        let mut file = File::create(self.directory.join(BALLAST)).map_err(failed)?;
        loop {
            match file.write_all(&[0; 512]) {
                Ok(()) => {}
                Err(full) if full.kind() == io::ErrorKind::StorageFull => return Ok(BALLAST),
                Err(other) => return Err(failed(other)),
            }
        }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily, since an agent that is ending may still use it.
        let _ = run("umount", &["--lazy"], &self.directory);
    }
}

const BALLAST: &str = "ballast";

/// Runs the program on `directory`; returns whether it succeeded.
fn run(program: &'static str, args: &[&str], directory: &Path) -> Result<bool, Error> {
    let status = Command::new(program).args(args).arg(directory).status();
    status.map(|status| status.success()).map_err(|source| failed(program, directory, source))
}

fn failed(operation: &'static str, directory: &Path, source: io::Error) -> Error {
    Error { operation, directory: directory.to_owned(), source }
}
