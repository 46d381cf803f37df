//! Servers that run as processes of their own, each writing to a log file, none of them outliving its owner.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::reaper::{self, Charge};
use crate::wait::{self, TimedOut};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot open the log {} of {program}", path.display())]
    Log { program: String, path: PathBuf, source: io::Error },
    #[error("cannot start {program}")]
    Start { program: String, source: io::Error },
    #[error("cannot signal {program}")]
    Signal { program: String, source: Errno },
    #[error("cannot entrust {program} to the reaper")]
    Reaper { program: String, source: io::Error },
    #[error("cannot wait for {program}")]
    Wait { program: String, source: io::Error },
    #[error("{program} ended ({status}); its last words:\n{last_words}")]
    Ended { program: String, status: ExitStatus, last_words: String },
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
}

/// A running server, in a process group of its own. Dropping it kills the group; the kernel kills the server too
/// if the thread that started it dies first, so start it from a thread that lives as long as it is needed. The
/// [`reaper`] kills what the server has started, however this process ends.
#[derive(Debug)]
pub struct Server {
    program: String,
    child: Child,
    charge: Option<Charge>,
    log: PathBuf,
    // Whether somebody has been given an error or a status for its end.
    end_is_known: bool,
}

/// What is connected to the server's standard input and output. Standard error always goes to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialogue {
    /// No input; output goes to the log.
    None,
    /// Both are piped, to be had once from [`Server::take_dialogue`].
    Piped,
}

/// A command that the kernel kills together with the thread that starts it.
pub fn bound_to_parent(program: &Path) -> Command {
    bound_to_parent_words([program])
}

/// The same for a program with its first arguments.
pub fn bound_to_parent_words(words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new("/usr/bin/setpriv");
    command.args(["--pdeathsig", "KILL"]).args(words);
    command
}

/// The one process that this process has started and that still runs.
pub fn only_child(process: u32) -> Option<Pid> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
    Some(Pid::from_raw(children.split_whitespace().next()?.parse().ok()?))
}

impl Server {
    /// Starts a command made by [`bound_to_parent`], known as `program` in messages, and appends what it says
    /// to `log`.
    pub fn start(program: &str, mut command: Command, log: &Path, dialogue: Dialogue) -> Result<Self, Error> {
        let program = program.to_owned();
        let (out, err) = open_twice(log).map_err(|source| Error::Log {
            program: program.clone(),
            path: log.to_owned(),
            source,
        })?;
        command.process_group(0).stderr(err);
        match dialogue {
            Dialogue::None => command.stdin(Stdio::null()).stdout(out),
            Dialogue::Piped => command.stdin(Stdio::piped()).stdout(Stdio::piped()),
        };
        let child = tokio::process::Command::from(command)
            .spawn()
            .map_err(|source| Error::Start { program: program.clone(), source })?;
        let charge = child.id().and_then(Charge::process);
        let server = Self { program, child, charge, log: log.to_owned(), end_is_known: false };
        if let Some(charge) = &server.charge {
            reaper::take(charge)
                .map_err(|source| Error::Reaper { program: server.program.clone(), source })?;
        }
        Ok(server)
    }

    /// The number of the process; none once it has been seen to end.
    pub fn process_id(&self) -> Option<u32> {
        self.child.id()
    }

    pub fn take_dialogue(&mut self) -> Option<(ChildStdin, ChildStdout)> {
        Some((self.child.stdin.take()?, self.child.stdout.take()?))
    }

    /// Everything that the server has said to its log so far.
    pub fn log_text(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// An error with the server's last words if it has ended.
    pub fn still_runs(&mut self) -> Result<(), Error> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => {
                self.end_is_known = true;
                Err(Error::Ended {
                    program: self.program.clone(),
                    status,
                    last_words: last_lines(&self.log_text(), 12),
                })
            }
            Err(source) => Err(self.wait_error(source)),
        }
    }

    /// Asks `probe` until it is content; ends at once if the server does.
    pub async fn wait_until<E: std::fmt::Display>(
        &mut self,
        what: &str,
        deadline: Duration,
        mut probe: impl AsyncFnMut(&Self) -> Result<(), E>,
    ) -> Result<(), Error> {
        let outcome = wait::until(what, deadline, async || {
            if let Err(ended) = self.still_runs() {
                return Ok(Err(ended));
            }
            probe(self).await.map(Ok)
        })
        .await;
        match outcome {
            Ok(outcome) => outcome,
            Err::<_, TimedOut>(late) => Err(late.into()),
        }
    }

    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        let Some(group) = self.group() else {
            return Ok(());
        };
        killpg(group, signal).map_err(|source| Error::Signal { program: self.program.clone(), source })
    }

    /// Waits for the server to end by itself.
    pub async fn ended(&mut self, deadline: Duration) -> Result<ExitStatus, Error> {
        let what = format!("the end of {}", self.program);
        let status = wait::until(&what, deadline, async || match self.child.try_wait() {
            Ok(Some(status)) => Ok(Ok(status)),
            Ok(None) => Err("it still runs"),
            Err(source) => Ok(Err(source)),
        })
        .await?;
        self.end_is_known = true;
        status.map_err(|source| self.wait_error(source))
    }

    /// Asks the server to end, and waits until it has.
    pub async fn terminate(&mut self, deadline: Duration) -> Result<ExitStatus, Error> {
        self.signal(Signal::SIGTERM)?;
        self.ended(deadline).await
    }

    fn group(&self) -> Option<Pid> {
        // The id is gone once the child has been reaped; before that the number cannot belong to anyone else.
        let id = self.child.id()?;
        i32::try_from(id).ok().map(Pid::from_raw)
    }

    fn wait_error(&self, source: io::Error) -> Error {
        Error::Wait { program: self.program.clone(), source }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Whatever failed because of it, the reader of a failed test's output learns why.
        if !self.end_is_known
            && let Err(ended) = self.still_runs()
        {
            eprintln!("{ended}");
        }
        if let Some(group) = self.group() {
            // Reaped here and now, so that directories and ports are free for whoever comes next.
            let _ = killpg(group, Signal::SIGKILL);
            let _ = waitpid(group, None);
        }
        if let Some(charge) = &self.charge {
            reaper::release(charge);
        }
    }
}

fn open_twice(log: &Path) -> io::Result<(File, File)> {
    let file = File::options().create(true).append(true).open(log)?;
    Ok((file.try_clone()?, file))
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
