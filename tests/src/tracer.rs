//! Traces a process's system calls on the files of one directory, and can kill the process at a chosen call, or hold
//! the thread that makes it. Requires root or a process that may be traced.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

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

/// A system call on the directory or on a file in it.
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

/// A file's mode and owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    pub mode: u32,
    pub user: u32,
    pub group: u32,
}

impl Rights {
    /// Returns whether a new file may have these rights before it gets the expected ones.
    fn may_become(self, expected: Self) -> bool {
        let own = (geteuid().as_raw(), getegid().as_raw());
        let owner = (self.user, self.group);
        self.mode & !expected.mode == 0 && (owner == own || owner == (expected.user, expected.group))
    }
}

/// How often to poll the other threads while one is held.
const PAUSE: Duration = Duration::from_millis(1);

/// A traced process with all its threads. Only the thread that attached may use it.
#[derive(Debug)]
pub struct Tracer {
    pid: Pid,
    directory: PathBuf,
    /// For each thread, whether it is inside a system call.
    threads: BTreeMap<Pid, bool>,
    /// The thread that stopped last, and a signal to deliver to it.
    stopped: Option<(Pid, Option<Signal>)>,
}

/// Attaches to the process, runs `work`, and detaches. It is the end of the attaching thread that releases all
/// threads of the process.
pub fn trace<T: Send>(
    process: u32,
    directory: &Path,
    work: impl FnOnce(Tracer) -> Result<T, Error> + Send,
) -> Result<T, Error> {
    let traced = || work(Tracer::attach(process, directory)?);
    thread::scope(|scope| scope.spawn(traced).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

impl Tracer {
    fn attach(process: u32, directory: &Path) -> Result<Self, Error> {
        let pid = Pid::from_raw(process.cast_signed());
        let (threads, stopped) = Default::default();
        let mut tracer = Self { pid, directory: directory.to_owned(), threads, stopped };
        // New threads show up in the next round; those of attached threads are traced automatically.
        while let Some(thread) = tracer.unknown_thread()? {
            match ptrace::attach(thread) {
                Ok(()) => tracer.adopt(thread)?,
                // The thread has ended.
                Err(Errno::ESRCH) => {}
                Err(source) => return Err(tracer.failed("attach to", source)),
            }
        }
        for thread in tracer.threads.keys() {
            tracer.resume(*thread, None)?;
        }
        Ok(tracer)
    }

    fn unknown_thread(&self) -> Result<Option<Pid>, Error> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid)).map_err(|source| self.unseen(source))?;
        let ids = tasks.flatten().filter_map(|task| task.file_name().to_str()?.parse().ok());
        Ok(ids.map(Pid::from_raw).find(|thread| !self.threads.contains_key(thread)))
    }

    fn adopt(&mut self, thread: Pid) -> Result<(), Error> {
        waitpid(thread, Some(WaitPidFlag::__WALL)).map_err(|source| self.failed("wait for", source))?;
        let options = ptrace::Options::PTRACE_O_TRACESYSGOOD | ptrace::Options::PTRACE_O_TRACECLONE;
        ptrace::setoptions(thread, options).map_err(|source| self.failed("follow", source))?;
        self.threads.insert(thread, false);
        Ok(())
    }

    /// Lets the process run until it has written a document, and returns the steps. Every file of the directory must
    /// have these rights at all times; an empty one may have the process's owner and a stricter mode.
    pub fn record(mut self, rights: Rights) -> Result<Vec<Step>, Error> {
        let mut steps = Vec::new();
        while steps.last() != Some(&Step::SyncDirectory) {
            steps.extend(self.next_call()?);
            self.check_rights(rights)?;
        }
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
            if let Some(WaitStatus::Signaled(thread, ..)) = self.wait(WaitPidFlag::empty())?
                && thread == self.pid
            {
                return Ok(());
            }
        }
    }

    /// Holds the thread that is about to execute `step`, from the call of `held` until `release` ends, while all
    /// others continue.
    pub fn hold_at(
        mut self,
        step: Step,
        held: impl FnOnce(),
        release: &mpsc::Receiver<()>,
    ) -> Result<(), Error> {
        while self.next_call()? != Some(step) {}
        self.stopped = None;
        held();
        while release.recv_timeout(PAUSE) == Err(mpsc::RecvTimeoutError::Timeout) {
            while let Some(status) = self.wait(WaitPidFlag::WNOHANG)? {
                self.note(status)?;
                self.go_on()?;
            }
        }
        Ok(())
    }

    /// Continues to the next stop; returns the step that a thread is about to execute, if any.
    fn next_call(&mut self) -> Result<Option<Step>, Error> {
        loop {
            self.go_on()?;
            let Some(status) = self.wait(WaitPidFlag::empty())? else { continue };
            if let Some(entering) = self.note(status)? {
                return match self.stopped {
                    Some((thread, _)) if entering => self.step(thread).map_err(|source| self.unseen(source)),
                    _ => Ok(None),
                };
            }
        }
    }

    /// Lets the thread that stopped last continue.
    fn go_on(&mut self) -> Result<(), Error> {
        match self.stopped.take() {
            Some((thread, signal)) => self.resume(thread, signal),
            None => Ok(()),
        }
    }

    fn resume(&self, thread: Pid, signal: Option<Signal>) -> Result<(), Error> {
        match ptrace::syscall(thread, signal) {
            // If it was killed meanwhile, the next wait reports it.
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(source) => Err(self.failed("continue", source)),
        }
    }

    /// Returns whether the stopped thread enters a system call or leaves one; `None` for other stops.
    fn note(&mut self, status: WaitStatus) -> Result<Option<bool>, Error> {
        let (thread, signal) = match status {
            WaitStatus::PtraceSyscall(thread) => {
                let inside = self.threads.entry(thread).or_default();
                *inside = !*inside;
                self.stopped = Some((thread, None));
                return Ok(Some(*inside));
            }
            // A new thread begins with a stop caused by the tracer.
            WaitStatus::Stopped(thread, signal) if self.threads.contains_key(&thread) => {
                (thread, Some(signal))
            }
            WaitStatus::Stopped(thread, _) => {
                self.threads.insert(thread, false);
                (thread, None)
            }
            WaitStatus::Exited(thread, _) | WaitStatus::Signaled(thread, ..) if thread != self.pid => {
                self.threads.remove(&thread);
                return Ok(None);
            }
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => {
                return Err(Error::Ended { pid: self.pid.as_raw(), status });
            }
            WaitStatus::PtraceEvent(thread, ..) => (thread, None),
            _ => return Ok(None),
        };
        self.stopped = Some((thread, signal));
        Ok(None)
    }

    /// The step that corresponds to a thread's current system call, if any.
    fn step(&self, thread: Pid) -> io::Result<Option<Step>> {
        let text = fs::read_to_string(format!("/proc/{}/task/{thread}/syscall", self.pid))?;
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

    /// Reads a path from the process's memory.
    fn text(&self, address: u64) -> io::Result<PathBuf> {
        let memory = File::open(format!("/proc/{}/mem", self.pid))?;
        let mut bytes = [0; libc::PATH_MAX as usize];
        let length = memory.read_at(&mut bytes, address)?;
        let text = bytes[..length].split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(String::from_utf8_lossy(text).into_owned().into())
    }

    fn check_rights(&self, expected: Rights) -> Result<(), Error> {
        for entry in fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            // The file may have been renamed meanwhile.
            let Ok(file) = entry.metadata() else { continue };
            let found = Rights { mode: file.mode() & 0o7777, user: file.uid(), group: file.gid() };
            let is_new = file.len() == 0 && found.may_become(expected);
            if found != expected && !is_new {
                return Err(Error::Open { path: entry.path(), found });
            }
        }
        Ok(())
    }

    /// Waits for any thread of the process, but not for other children of this program; `None` if `flags` forbid
    /// waiting and nothing happened.
    fn wait(&self, flags: WaitPidFlag) -> Result<Option<WaitStatus>, Error> {
        let flags = flags | WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        match waitpid(None, Some(flags)).map_err(|source| self.failed("wait for", source))? {
            WaitStatus::StillAlive => Ok(None),
            status => Ok(Some(status)),
        }
    }

    fn unseen(&self, source: io::Error) -> Error {
        Error::Inspect { pid: self.pid.as_raw(), source }
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
