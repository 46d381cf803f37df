//! Runs the agent's binary, configured by files and in an otherwise empty environment.

use std::env;
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;
use std::time::Duration;

use emr_ecr_agent::BUILD_ID;
use hyper::StatusCode;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use crate::http::{self, Answer};
use crate::node::Node;
use crate::process::{self, Server};
use crate::wait::{self, TimedOut};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the agent is not built: {} does not exist; `cargo build` builds it", path.display())]
    NotBuilt { path: PathBuf },
    #[error("cannot determine the directory of this build's programs")]
    Directory { source: io::Error },
    #[error("cannot run {} --version", path.display())]
    Version { path: PathBuf, source: io::Error },
    #[error("{} is stale: it has build id {found}, this test {BUILD_ID}; `cargo build --workspace` builds it", path.display())]
    Stale { path: PathBuf, found: String },
    #[error(transparent)]
    Process(#[from] process::Error),
    #[error(transparent)]
    Http(#[from] http::Error),
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
    #[error("cannot signal the agent")]
    Signal { source: Errno },
    #[error("the agent's status is not JSON")]
    Status { source: serde_json::Error },
}

/// A running agent, killed when dropped.
#[derive(Debug)]
pub struct Agent {
    server: Server,
    /// Whether the server is a wrapper that started the agent as its child.
    is_within: bool,
    listen: SocketAddr,
}

impl Agent {
    /// Runs the agent on `node`, whose agent.toml must exist and must set the health endpoint to `listen`.
    pub fn start(node: &Node, listen: SocketAddr) -> Result<Self, Error> {
        Self::start_with(node, listen, &[])
    }

    /// Like [`Agent::start`], with additional environment variables.
    pub fn start_with(
        node: &Node,
        listen: SocketAddr,
        environment: &[(&'static str, PathBuf)],
    ) -> Result<Self, Error> {
        let mut command = command(node)?;
        command.envs(environment.iter().cloned());
        Self::spawn(node, listen, command, false)
    }

    /// Like [`Agent::start`], behind a command prefix that enters another environment.
    pub fn start_within(
        node: &Node,
        listen: SocketAddr,
        words: impl Iterator<Item = OsString>,
    ) -> Result<Self, Error> {
        let command = process::bound_to_parent_words(words.chain([program()?.into_os_string()]));
        Self::spawn(node, listen, with_environment(command, node), true)
    }

    fn spawn(node: &Node, listen: SocketAddr, mut command: Command, is_within: bool) -> Result<Self, Error> {
        command.arg("run").arg("--config").arg(node.agent_toml());
        let log = node.path("agent.log");
        let server = Server::start("the agent", command, &log)?;
        Ok(Self { server, is_within, listen })
    }

    pub fn address(&self) -> SocketAddr {
        self.listen
    }

    /// `None` once the process is known to have ended.
    pub fn process_id(&self) -> Option<u32> {
        self.server.process_id()
    }

    /// Everything logged so far.
    pub fn log_text(&self) -> String {
        self.server.log_text()
    }

    pub async fn get(&self, path: &str) -> Result<Answer, Error> {
        Ok(http::get(self.listen, path).await?)
    }

    pub async fn status(&self) -> Result<Value, Error> {
        let answer = self.get("/status").await?;
        serde_json::from_slice(&answer.body).map_err(|source| Error::Status { source })
    }

    /// Returns an error with the end of the log if the agent has ended.
    pub fn still_runs(&mut self) -> Result<(), Error> {
        Ok(self.server.still_runs()?)
    }

    /// Waits until `/readyz` returns 200; fails at once if the agent ends.
    pub async fn wait_ready(&mut self, deadline: Duration) -> Result<(), Error> {
        self.wait_for_readiness(StatusCode::OK, "", deadline).await
    }

    /// Waits until `/readyz` returns 503.
    pub async fn wait_not_ready(&mut self, deadline: Duration) -> Result<(), Error> {
        self.wait_for_readiness(StatusCode::SERVICE_UNAVAILABLE, "", deadline).await
    }

    /// Waits until `/readyz` returns 503 with `reason` in its text: on a busy machine a check can fail first because
    /// its result is too old.
    pub async fn wait_not_ready_with(&mut self, reason: &str, deadline: Duration) -> Result<(), Error> {
        self.wait_for_readiness(StatusCode::SERVICE_UNAVAILABLE, reason, deadline).await
    }

    /// Waits until `wanted` accepts the status; its error describes what is missing.
    pub async fn wait_for_status<T>(
        &self,
        what: &str,
        deadline: Duration,
        mut wanted: impl FnMut(&Value) -> Result<T, String>,
    ) -> Result<T, TimedOut> {
        wait::until(what, deadline, async || {
            let status = self.status().await.map_err(|error| error.to_string())?;
            wanted(&status)
        })
        .await
    }

    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        if !self.is_within {
            return Ok(self.server.signal(signal)?);
        }
        if let Some(agent) = self.process_id().and_then(process::only_child) {
            kill(agent, signal).map_err(|source| Error::Signal { source })?;
        }
        Ok(())
    }

    /// Sends SIGTERM and returns the exit status.
    pub async fn terminate(&mut self, deadline: Duration) -> Result<ExitStatus, Error> {
        self.signal(Signal::SIGTERM)?;
        Ok(self.server.ended(deadline).await?)
    }

    /// Waits until the agent ends on its own. The exit code is -1 if a signal killed it.
    pub async fn exit_code(&mut self, deadline: Duration) -> Result<i32, Error> {
        Ok(self.server.ended(deadline).await?.code().unwrap_or(-1))
    }

    async fn wait_for_readiness(
        &mut self,
        wanted: StatusCode,
        text: &str,
        deadline: Duration,
    ) -> Result<(), Error> {
        let listen = self.listen;
        let what = format!("{wanted} {text:?} from http://{listen}/readyz");
        self.server
            .wait_until(&what, deadline, async |_| {
                let answer = http::get(listen, "/readyz").await.map_err(|error| error.to_string())?;
                if answer.status == wanted && answer.text().contains(text) {
                    return Ok(());
                }
                Err(format!("{}: {}", answer.status, answer.text().trim()))
            })
            .await?;
        Ok(())
    }
}

/// A command for the agent's binary in its environment on `node`, without arguments.
pub fn command(node: &Node) -> Result<Command, Error> {
    Ok(with_environment(process::bound_to_parent(&program()?), node))
}

fn with_environment(mut command: Command, node: &Node) -> Command {
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", node.home_dir());
    command
}

/// The agent's binary from the same build as this program; an error if it was built from other sources.
pub fn program() -> Result<PathBuf, Error> {
    let path = program_directory().map_err(|source| Error::Directory { source })?.join("emr-ecr-agent");
    if !path.exists() {
        return Err(Error::NotBuilt { path });
    }
    if IS_CURRENT.get().is_none() {
        check_build(&path)?;
        let _ = IS_CURRENT.set(());
    }
    Ok(path)
}

/// Set once the binary is known to match this build.
static IS_CURRENT: OnceLock<()> = OnceLock::new();

/// Cargo rebuilds the library for this program whenever its sources change, but not always the agent's binary.
fn check_build(path: &Path) -> Result<(), Error> {
    let output = Command::new(path).arg("--version").env_clear().output();
    let output = output.map_err(|source| Error::Version { path: path.to_owned(), source })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let found = text.lines().find_map(|line| line.strip_prefix("build ")).unwrap_or("unknown");
    if found == BUILD_ID {
        return Ok(());
    }
    Err(Error::Stale { path: path.to_owned(), found: found.to_owned() })
}

/// The directory of this build's binaries: next to this one, or one level up from a test, which is in `deps/`.
pub(crate) fn program_directory() -> io::Result<PathBuf> {
    let here = env::current_exe()?;
    let directory = here.parent().unwrap_or(Path::new("/"));
    let programs =
        if directory.ends_with("deps") { directory.parent().unwrap_or(directory) } else { directory };
    Ok(programs.to_owned())
}
