//! Traces the system calls of a process on the files of one directory, and can kill the process at a chosen one.
//! Requires root, or a process that may be traced.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getegid, geteuid};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {operation} the process {pid}")]
    Trace { operation: &'static str, pid: i32, source: Errno },
    #[error("cannot inspect the process {pid}")]
    Inspect { pid: i32, source: io::Error },
    #[error("the process {pid} ended on its own: {status:?}")]
    Ended { pid: i32, status: WaitStatus },
    #[error("{} had {found:?}", path.display())]
    Open { path: PathBuf, found: Rights },
}

/// A system call on a file of the directory, or on the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Create,
    SetOwner,
    SetMode,
    Write,
    Sync,
    Rename,
    SyncDirectory,
}

/// Mode and owner of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    pub mode: u32,
    pub user: u32,
    pub group: u32,
}

impl Rights {
    /// Whether a new file may have these before it gets the expected ones.
    fn may_become(self, expected: Self) -> bool {
        let own = (geteuid().as_raw(), getegid().as_raw());
        let owner = (self.user, self.group);
        self.mode & !expected.mode == 0 && (owner == own || owner == (expected.user, expected.group))
    }
}

/// A traced process. Only the thread that attached may use it.
#[derive(Debug)]
pub struct Tracer {
    pid: Pid,
    directory: PathBuf,
    entering: bool,
}

impl Tracer {
    /// Attaches to the main thread of the process.
    pub fn attach(process: u32, directory: &Path) -> Result<Self, Error> {
        let pid = Pid::from_raw(process.cast_signed());
        let tracer = Self { pid, directory: directory.to_owned(), entering: false };
        ptrace::attach(pid).map_err(|source| tracer.failed("attach to", source))?;
        tracer.wait()?;
        ptrace::setoptions(pid, ptrace::Options::PTRACE_O_TRACESYSGOOD)
            .map_err(|source| tracer.failed("follow", source))?;
        Ok(tracer)
    }

    /// Lets the process continue until a document is in place, and returns the steps. Every file of the directory must
    /// have these rights at any moment; one that is still empty may have the process's owner and a stricter mode.
    pub fn record(mut self, rights: Rights) -> Result<Vec<Step>, Error> {
        let mut steps = Vec::new();
        while steps.last() != Some(&Step::SyncDirectory) {
            steps.extend(self.next_call()?);
            self.check_rights(rights)?;
        }
        ptrace::detach(self.pid, None).map_err(|source| self.failed("leave", source))?;
        Ok(steps)
    }

    /// Kills the process just before it executes the step with this index.
    pub fn kill_at(mut self, index: usize) -> Result<(), Error> {
        let mut steps = 0;
        while steps <= index {
            steps += usize::from(self.next_call()?.is_some());
        }
        kill(self.pid, Signal::SIGKILL).map_err(|source| self.failed("kill", source))?;
        loop {
            if let WaitStatus::Signaled(..) = self.wait()? {
                return Ok(());
            }
        }
    }

    /// Continues to the next stop; returns the step that the process is about to execute, if any.
    fn next_call(&mut self) -> Result<Option<Step>, Error> {
        let mut signal = None;
        loop {
            ptrace::syscall(self.pid, signal).map_err(|source| self.failed("continue", source))?;
            match self.wait()? {
                WaitStatus::PtraceSyscall(_) => break,
                WaitStatus::Stopped(_, caught) => signal = Some(caught),
                status @ (WaitStatus::Exited(..) | WaitStatus::Signaled(..)) => {
                    return Err(Error::Ended { pid: self.pid.as_raw(), status });
                }
                _ => signal = None,
            }
        }
        self.entering = !self.entering;
        if self.entering {
            self.step().map_err(|source| Error::Inspect { pid: self.pid.as_raw(), source })
        } else {
            Ok(None)
        }
    }

    /// The step that the current system call is, if any.
    fn step(&self) -> io::Result<Option<Step>> {
        let text = fs::read_to_string(format!("/proc/{}/syscall", self.pid))?;
        let mut words = text.split_whitespace();
        let Some(number) = words.next().and_then(|word| word.parse::<i64>().ok()) else { return Ok(None) };
        let arguments: Vec<u64> =
            words.filter_map(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok()).collect();
        let [first, second, third, ..] = arguments.as_slice() else { return Ok(None) };
        let (step, path) = match number {
            libc::SYS_openat if third & libc::O_CREAT as u64 != 0 => (Step::Create, self.text(*second)?),
            libc::SYS_renameat | libc::SYS_renameat2 => (Step::Rename, self.text(*second)?),
            number if is_plain_rename(number) => (Step::Rename, self.text(*first)?),
            libc::SYS_fchown => (Step::SetOwner, self.opened(*first)),
            libc::SYS_fchmod => (Step::SetMode, self.opened(*first)),
            libc::SYS_write => (Step::Write, self.opened(*first)),
            libc::SYS_fsync => (Step::Sync, self.opened(*first)),
            _ => return Ok(None),
        };
        let step = if step == Step::Sync && path == self.directory { Step::SyncDirectory } else { step };
        Ok(path.starts_with(&self.directory).then_some(step))
    }

    /// The path of an open file.
    fn opened(&self, descriptor: u64) -> PathBuf {
        // Sockets and the like have no path.
        fs::read_link(format!("/proc/{}/fd/{descriptor}", self.pid)).unwrap_or_default()
    }

    /// A path in the process's memory.
    fn text(&self, address: u64) -> io::Result<PathBuf> {
        let memory = File::open(format!("/proc/{}/mem", self.pid))?;
        let mut bytes = [0; libc::PATH_MAX as usize];
        let length = memory.read_at(&mut bytes, address)?;
        let text = bytes[..length].split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(String::from_utf8_lossy(text).into_owned().into())
    }

    fn check_rights(&self, expected: Rights) -> Result<(), Error> {
        for entry in fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            // It may have been renamed meanwhile.
            let Ok(file) = entry.metadata() else { continue };
            let found = Rights { mode: file.mode() & 0o7777, user: file.uid(), group: file.gid() };
            let is_new = file.len() == 0 && found.may_become(expected);
            if found != expected && !is_new {
                return Err(Error::Open { path: entry.path(), found });
            }
        }
        Ok(())
    }

    fn wait(&self) -> Result<WaitStatus, Error> {
        waitpid(self.pid, Some(WaitPidFlag::__WALL)).map_err(|source| self.failed("wait for", source))
    }

    fn failed(&self, operation: &'static str, source: Errno) -> Error {
        Error::Trace { operation, pid: self.pid.as_raw(), source }
    }
}

/// Newer architectures have only the calls with directory descriptors.
fn is_plain_rename(number: i64) -> bool {
    #[cfg(target_arch = "x86_64")]
    return number == libc::SYS_rename;
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}
