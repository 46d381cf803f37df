//! Runs programs: servers that log to a file and never outlive this process, and commands that run to completion.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::reaper::{self, Resource};
use crate::wait::{self, TimedOut};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot open the log {} of {program}", path.display())]
    Log { program: String, path: PathBuf, source: io::Error },
    #[error("cannot start {program}")]
    Start { program: String, source: io::Error },
    #[error("cannot signal {program}")]
    Signal { program: String, source: Errno },
    #[error("cannot register {program} with the reaper")]
    Reaper { program: String, source: io::Error },
    #[error("cannot wait for {program}")]
    Wait { program: String, source: io::Error },
    #[error("{program} ended ({status}); the end of its log:\n{log_end}")]
    Ended { program: String, status: ExitStatus, log_end: String },
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
}

/// A running server, in its own process group. Dropping it kills the group. The kernel kills the server when the
/// thread that started it ends, so start it from a thread that lives long enough. The [`reaper`] kills what the
/// server has started, however this process ends.
#[derive(Debug)]
pub struct Server {
    program: String,
    child: Child,
    resource: Option<Resource>,
    log: PathBuf,
    // Whether a caller has already received an error or a status for its end.
    end_is_known: bool,
}

/// A server's standard input and output.
#[derive(Debug)]
pub struct Pipes {
    pub stdin: ChildStdin,
    pub stdout: ChildStdout,
}

/// A command's exit code and output.
#[derive(Debug)]
pub struct Finished {
    /// The exit code; -1 if a signal ended it.
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Runs a command to completion, without input. Dropping the future kills it.
pub async fn run(mut command: Command) -> io::Result<Finished> {
    command.stdin(Stdio::null());
    let output = tokio::process::Command::from(command).kill_on_drop(true).output().await?;
    Ok(Finished {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Returns a command that the kernel kills together with the thread that starts it.
pub fn bound_to_parent(program: &Path) -> Command {
    bound_to_parent_words([program])
}

/// Like [`bound_to_parent`], for a program with its first arguments.
pub fn bound_to_parent_words(words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new("/usr/bin/setpriv");
    command.args(["--pdeathsig", "KILL"]).args(words);
    command
}

/// The only running child of `process`.
pub fn only_child(process: u32) -> Option<Pid> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
    Some(Pid::from_raw(children.split_whitespace().next()?.parse().ok()?))
}

impl Server {
    /// Starts a command made by [`bound_to_parent`] and appends its output to `log`; messages call it `program`.
    pub fn start(program: &str, mut command: Command, log: &Path) -> Result<Self, Error> {
        command.stdin(Stdio::null()).stdout(open(program, log)?);
        Self::spawn(program, command, log)
    }

    /// Like [`Server::start`], but only standard error goes to `log`.
    pub fn start_piped(program: &str, mut command: Command, log: &Path) -> Result<(Self, Pipes), Error> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut server = Self::spawn(program, command, log)?;
        match (server.child.stdin.take(), server.child.stdout.take()) {
            (Some(stdin), Some(stdout)) => Ok((server, Pipes { stdin, stdout })),
            _ => Err(Error::Start {
                program: server.program.clone(),
                source: io::ErrorKind::BrokenPipe.into(),
            }),
        }
    }

    fn spawn(program: &str, mut command: Command, log: &Path) -> Result<Self, Error> {
        let program = program.to_owned();
        command.process_group(0).stderr(open(&program, log)?);
        let child = tokio::process::Command::from(command)
            .spawn()
            .map_err(|source| Error::Start { program: program.clone(), source })?;
        let resource = child.id().and_then(Resource::process);
        let server = Self { program, child, resource, log: log.to_owned(), end_is_known: false };
        if let Some(resource) = &server.resource {
            reaper::register(resource)
                .map_err(|source| Error::Reaper { program: server.program.clone(), source })?;
        }
        Ok(server)
    }

    /// `None` once the process is known to have ended.
    pub fn process_id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Everything the server has logged so far.
    pub fn log_text(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Returns an error with the end of the log if the server has ended.
    pub fn still_runs(&mut self) -> Result<(), Error> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => {
                self.end_is_known = true;
                Err(Error::Ended {
                    program: self.program.clone(),
                    status,
                    log_end: last_lines(&self.log_text(), 12),
                })
            }
            Err(source) => Err(self.wait_error(source)),
        }
    }

    /// Calls `probe` until it succeeds; fails at once if the server ends.
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

    /// Waits until the server accepts connections at `address`.
    pub async fn wait_for_port(&mut self, address: SocketAddr, deadline: Duration) -> Result<(), Error> {
        let what = format!("the port of {}", self.program);
        self.wait_until(&what, deadline, async |_| TcpStream::connect(address).await.map(drop)).await
    }

    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        let Some(group) = self.group() else {
            return Ok(());
        };
        killpg(group, signal).map_err(|source| Error::Signal { program: self.program.clone(), source })
    }

    /// Waits for the server to end on its own.
    pub async fn ended(&mut self, deadline: Duration) -> Result<ExitStatus, Error> {
        let what = format!("the end of {}", self.program);
        let status = wait::until(&what, deadline, async || match self.child.try_wait() {
            Ok(Some(status)) => Ok(Ok(status)),
            Ok(None) => Err("it is still running"),
            Err(source) => Ok(Err(source)),
        })
        .await?;
        self.end_is_known = true;
        status.map_err(|source| self.wait_error(source))
    }

    /// Sends SIGTERM and waits for the server to end.
    pub async fn terminate(&mut self, deadline: Duration) -> Result<ExitStatus, Error> {
        self.signal(Signal::SIGTERM)?;
        self.ended(deadline).await
    }

    fn group(&self) -> Option<Pid> {
        // `None` once the child has been reaped; until then no other process can have this id.
        let id = self.child.id()?;
        i32::try_from(id).ok().map(Pid::from_raw)
    }

    fn wait_error(&self, source: io::Error) -> Error {
        Error::Wait { program: self.program.clone(), source }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Explains, in a failed test's output, why later steps failed.
        if !self.end_is_known
            && let Err(ended) = self.still_runs()
        {
            eprintln!("{ended}");
        } else if thread::panicking() {
            eprintln!("the end of the log of {}:\n{}", self.program, last_lines(&self.log_text(), 60));
        }
        if let Some(group) = self.group() {
            // Reap it here, so that its directories and ports are free for the next server.
            let _ = killpg(group, Signal::SIGKILL);
            let _ = waitpid(group, None);
        }
        if let Some(resource) = &self.resource {
            reaper::release(resource);
        }
    }
}

fn open(program: &str, log: &Path) -> Result<File, Error> {
    File::options().create(true).append(true).open(log).map_err(|source| Error::Log {
        program: program.to_owned(),
        path: log.to_owned(),
        source,
    })
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
