//! Hadoop's own clients for a running HDFS: the commands `hadoop fs` and `hdfs dfsadmin`.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::{Mutex, OnceCell};

use super::jvm::Jvm;
use super::shell::{self, KeptShell, Program, ShellAnnouncement, ShellServer};
use super::{Error, SUPERUSER};
use crate::keeper::{self, Lease};
use crate::process::{self, Finished};
use crate::wait;

/// Access to a running HDFS, however it was started.
#[derive(Debug, Clone)]
pub struct HdfsClient {
    jvm: Jvm,
    authority: String,
    shell: Shell,
}

/// The process that runs shell commands.
#[derive(Debug, Clone)]
enum Shell {
    /// A private one, started on first use and restarted if it has died.
    Own(Arc<Mutex<Option<ShellServer>>>),
    /// The one that all users of this name share, from the first command on.
    Shared { name: &'static str, lease: Arc<OnceCell<Lease<KeptShell>>> },
}

impl HdfsClient {
    pub(super) fn new(jvm: Jvm, authority: String) -> Self {
        Self { jvm, authority, shell: Shell::Own(Arc::default()) }
    }

    /// Uses the shared shell of this name, which has no tickets: an HDFS with Kerberos needs its own.
    pub(super) fn with_shared_shell(self, name: &'static str) -> Self {
        Self { shell: Shell::Shared { name, lease: Arc::default() }, ..self }
    }

    async fn connect_to_shell(&self) -> Result<TcpStream, Error> {
        match &self.shell {
            Shell::Own(server) => {
                let mut server = server.lock().await;
                let server = match server.take_if(|server| server.still_runs().is_ok()) {
                    Some(running) => server.insert(running),
                    None => {
                        let log = self.conf_dir().with_file_name("shell.log");
                        server.insert(ShellServer::start(&self.jvm, &log).await?)
                    }
                };
                shell::connect(server.address()).await
            }
            Shell::Shared { .. } => {
                let connect = async || shell::connect(self.shared_shell().await?.address).await;
                // Longer than a start takes, because a failed start reports a better error.
                Ok(wait::until("the shared HDFS shell", keeper::START * 2, connect).await?)
            }
        }
    }

    /// The shared shell; it may have died in the meantime.
    pub async fn shared_shell(&self) -> Result<ShellAnnouncement, Error> {
        let Shell::Shared { name, lease } = &self.shell else { return Err(Error::OwnShell) };
        Ok(lease.get_or_try_init(|| Lease::take(name)).await?.ensure_announced().await?)
    }

    async fn shell(&self, program: Program, user: &str, args: &[&str]) -> Result<Finished, Error> {
        let command = shell::Command { conf_dir: self.conf_dir(), user, program, args };
        shell::run(self.connect_to_shell().await?, &command).await
    }

    /// The directory with this HDFS's core-site.xml and hdfs-site.xml.
    pub fn conf_dir(&self) -> &Path {
        self.jvm.conf_dir()
    }

    /// The authority in `hdfs://` URIs: the NameNode's address or a nameservice.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The full URI of an absolute path.
    pub fn uri(&self, path: &str) -> String {
        format!("hdfs://{}{path}", self.authority)
    }

    /// Runs `hadoop fs ARGS` as `user`, whatever its exit code.
    pub async fn try_fs_shell(&self, user: &str, args: &[&str]) -> Result<Finished, Error> {
        self.shell(Program::Fs, user, args).await
    }

    /// Runs `hadoop fs ARGS` as `user` and returns its output; fails on a nonzero exit code.
    pub async fn fs_shell(&self, user: &str, args: &[&str]) -> Result<String, Error> {
        let output = self.try_fs_shell(user, args).await?;
        succeeded("hadoop fs", args, output)
    }

    /// Runs `hadoop fs ARGS` in a separate process with the Kerberos tickets from this file.
    pub async fn fs_shell_by(&self, tickets: &Path, args: &[&str]) -> Result<String, Error> {
        succeeded("hadoop fs", args, self.try_fs_shell_by(tickets, args).await?)
    }

    /// Like [`HdfsClient::fs_shell_by`], whatever its exit code.
    pub async fn try_fs_shell_by(&self, tickets: &Path, args: &[&str]) -> Result<Finished, Error> {
        let mut command = self.jvm.command(SUPERUSER, FS_SHELL);
        command.env_remove("HADOOP_USER_NAME").env("KRB5CCNAME", tickets);
        run(command, args).await
    }

    /// Writes a script that runs `hadoop fs` as the superuser, for interactive use.
    pub fn write_shell_script(&self) -> Result<PathBuf, Error> {
        let path = self.conf_dir().with_file_name("hadoop-fs");
        let failed = |source| Error::File { operation: "write", path: path.clone(), source };
        let command = self.jvm.command(SUPERUSER, FS_SHELL);
        let quoted = |word: &OsStr| format!("'{}'", word.to_string_lossy());
        let words: Vec<String> =
            [command.get_program()].into_iter().chain(command.get_args()).map(quoted).collect();
        let words = words.join(" ");
        let script = format!("#!/bin/sh\nHADOOP_USER_NAME={SUPERUSER} exec {words} \"$@\"\n");
        fs::write(&path, script).map_err(failed)?;
        fs::set_permissions(&path, Permissions::from_mode(0o755)).map_err(failed)?;
        Ok(path)
    }

    /// Creates the directory with this owner and mode, along with missing parents.
    pub async fn make_directory(&self, path: &str, owner: &str, mode: &str) -> Result<(), Error> {
        self.fs_shell(SUPERUSER, &["-mkdir", "-p", path]).await?;
        self.fs_shell(SUPERUSER, &["-chmod", mode, path]).await?;
        self.fs_shell(SUPERUSER, &["-chown", owner, path]).await?;
        Ok(())
    }

    /// Enters or leaves safe mode, in which the NameNode rejects every change.
    pub async fn safe_mode(&self, on: bool) -> Result<(), Error> {
        let action = if on { "enter" } else { "leave" };
        self.dfs_admin(&["-safemode", action]).await.map(drop)
    }

    pub async fn in_safe_mode(&self) -> Result<bool, Error> {
        let answer = self.dfs_admin(&["-safemode", "get"]).await?;
        Ok(answer.contains("Safe mode is ON"))
    }

    pub(crate) fn java(&self, user: &str, class: &str) -> Command {
        self.jvm.command(user, class)
    }

    /// A command with the optimizing compiler, for programs that run long enough to need it.
    pub(crate) fn optimized_java(&self, user: &str, class: &str) -> Command {
        self.jvm.command_with(&["-XX:TieredStopAtLevel=4"], user, class)
    }

    /// Runs `hdfs dfsadmin ARGS` as the superuser.
    pub async fn dfs_admin(&self, args: &[&str]) -> Result<String, Error> {
        let output = self.shell(Program::DfsAdmin, SUPERUSER, args).await?;
        succeeded("hdfs dfsadmin", args, output)
    }
}

pub(super) const FS_SHELL: &str = "org.apache.hadoop.fs.FsShell";

pub(super) async fn run(mut command: Command, args: &[&str]) -> Result<Finished, Error> {
    command.args(args);
    process::run(command).await.map_err(|source| Error::Run { program: "java".to_owned(), source })
}

pub(super) fn succeeded(program: &str, args: &[&str], output: Finished) -> Result<String, Error> {
    if output.code == 0 {
        return Ok(output.out);
    }
    Err(Error::Refused {
        command: format!("{program} {}", args.join(" ")),
        status: output.code,
        message: output.err.trim().to_owned(),
    })
}
