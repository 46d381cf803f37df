//! A disk so small that it can be filled, and that can be made read-only. Mounting takes root.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted tmpfs of 64 KiB; it is unmounted when dropped.
#[derive(Debug)]
pub struct Tmpfs {
    folder: PathBuf,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}", folder.display())]
pub struct Error {
    operation: &'static str,
    folder: PathBuf,
    source: io::Error,
}

impl Tmpfs {
    /// Mounts one on `folder`. `None`, said loudly, where this process may not mount.
    pub fn mount(folder: &Path) -> Result<Option<Self>, Error> {
        if !run("mount", &["-t", "tmpfs", "-o", "size=64k,mode=0700", "sandbox"], folder)? {
            eprintln!("SKIPPED: this process may not mount file systems");
            return Ok(None);
        }
        Ok(Some(Self { folder: folder.to_owned() }))
    }

    pub fn set_writable(&self, writable: bool) -> Result<(), Error> {
        let options = if writable { "remount,rw" } else { "remount,ro" };
        match run("mount", &["-o", options], &self.folder)? {
            true => Ok(()),
            false => Err(failed("remount", &self.folder, io::ErrorKind::PermissionDenied.into())),
        }
    }

    /// Writes a file until nothing more fits, and gives its name.
    pub fn fill(&self) -> Result<&'static str, Error> {
        let failed = |source| failed("fill", &self.folder, source);
        let mut file = File::create(self.folder.join(BALLAST)).map_err(failed)?;
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
        // Lazily: an agent that still ends may hold it for a moment more.
        let _ = run("umount", &["--lazy"], &self.folder);
    }
}

const BALLAST: &str = "ballast";

/// Whether the program did what it was asked to do with `folder`.
fn run(program: &'static str, args: &[&str], folder: &Path) -> Result<bool, Error> {
    let status = Command::new(program).args(args).arg(folder).status();
    status.map(|status| status.success()).map_err(|source| failed(program, folder, source))
}

fn failed(operation: &'static str, folder: &Path, source: io::Error) -> Error {
    Error { operation, folder: folder.to_owned(), source }
}
