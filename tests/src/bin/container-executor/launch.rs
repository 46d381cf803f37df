//! Launches, in Docker, where the container outlives the docker client, and without.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::Node;
use crate::accounts::Account;
use crate::directories::{self, App};
use crate::docker;
use crate::exit::{self, Failure};

/// The files that the NodeManager passes to a launch.
pub(crate) struct Files<'a> {
    work_dir: &'a Path,
    script: &'a Path,
    tokens: &'a Path,
    pid_file: &'a Path,
}

impl<'a> Files<'a> {
    pub(crate) fn new(work_dir: &'a str, script: &'a str, tokens: &'a str, pid_file: &'a str) -> Self {
        let [work_dir, script, tokens, pid_file] = [work_dir, script, tokens, pid_file].map(Path::new);
        Self { work_dir, script, tokens, pid_file }
    }

    fn script_copy(&self) -> PathBuf {
        self.work_dir.join("launch_container.sh")
    }

    fn exit_code_file(&self) -> PathBuf {
        let mut path = self.pid_file.as_os_str().to_owned();
        path.push(".exitcode");
        path.into()
    }
}

impl Node {
    pub(crate) fn launch_in_docker(
        &self,
        user: &Account,
        app: &App<'_>,
        files: &Files<'_>,
        command_file: &Path,
    ) -> Result<u8, Failure> {
        self.require_docker()?;
        self.prepare(user, app, files)?;
        app.make_file_caches(user)?;
        let words = self.launch_words(command_file)?;
        say!("Getting exit code file...");
        say!("Changing effective user to root...");
        app.make_output_files(user, &self.manager)?;
        let ended = self.run_container(app.container(), &words, files);
        let exit_code = ended.as_ref().map_or_else(|failure| failure.code, |code| *code);
        let file = files.exit_code_file();
        self.write_as_manager(&file, &exit_code.to_string())?;
        say!("Wrote the exit code {exit_code} to {}", file.display());
        ended
    }

    pub(crate) fn launch_plainly(
        &self,
        user: &Account,
        app: &App<'_>,
        files: &Files<'_>,
    ) -> Result<u8, Failure> {
        self.prepare(user, app, files)?;
        say!("Getting exit code file...");
        say!("Launching container...");
        let mut child = Command::new("/bin/bash")
            .arg(files.script_copy())
            .current_dir(files.work_dir)
            .uid(user.uid.as_raw())
            .gid(user.gid.as_raw())
            // The NodeManager signals the process group.
            .process_group(0)
            .spawn()
            .map_err(|error| not_run(&error))?;
        say!("Writing pid file...");
        self.write_pid(files.pid_file, child.id())?;
        let status = child.wait().map_err(|error| not_run(&error))?;
        let exit_code = docker::exit_code(status);
        self.write_as_manager(&files.exit_code_file(), &exit_code.to_string())?;
        Ok(exit_code)
    }

    /// Prepares the directories, the launch script and the tokens.
    fn prepare(&self, user: &Account, app: &App<'_>, files: &Files<'_>) -> Result<(), Failure> {
        say!("Creating script paths...");
        let script = self.manager.read(files.script)?;
        let tokens = self.manager.read(files.tokens)?;
        say!("Creating local dirs...");
        app.make_user_directories(user, &self.manager)?;
        app.make_log_directories(user, &self.manager)?;
        user.act(|| {
            app.make_container_directories(files.work_dir)?;
            directories::write(&files.script_copy(), &script, 0o700)?;
            directories::write(&files.work_dir.join("container_tokens"), &tokens, 0o600)
        })?
    }

    fn run_container(&self, name: &str, words: &docker::Words, files: &Files<'_>) -> Result<u8, Failure> {
        let binary = self.docker_binary();
        let status = docker::command(words).status().map_err(|error| {
            let message = format!("failed to execute docker command! error: {}", docker::reason(&error));
            Failure::new(exit::UNABLE_TO_EXECUTE_CONTAINER_SCRIPT, message)
        })?;
        if !status.success() {
            return Err(Failure::new(exit::UNABLE_TO_EXECUTE_CONTAINER_SCRIPT, ""));
        }
        say!("Inspecting docker container...");
        say!("Docker inspect command: {} inspect --format {{{{.State.Pid}}}} {name}", binary.display());
        let pid: i32 = self.inspect(name, "{{.State.Pid}}")?;
        say!("pid from docker inspect: {pid}");
        // Zero means that it has already ended.
        if pid > 0 {
            say!("Writing pid file...");
            self.write_pid(files.pid_file, pid.unsigned_abs())?;
            say!("Waiting for docker container to finish.");
            wait_for_end(pid);
            self.wait_for_docker(name);
        }
        say!("Obtaining the exit code...");
        say!("Docker inspect command: {} inspect --format {{{{.State.ExitCode}}}} {name}", binary.display());
        let exit_code: u8 = self.inspect(name, "{{.State.ExitCode}}")?;
        say!("Exit code from docker inspect: {exit_code}");
        Ok(exit_code)
    }

    /// Docker notices the end a little late, and reports 0 until then. The native code polls once a second, so it
    /// hardly ever sees that.
    fn wait_for_docker(&self, name: &str) {
        let mut wait = Command::new(self.docker_binary());
        wait.args(["wait", name]).env_clear().stdout(Stdio::null());
        // If this fails, so does the next query.
        let _ = wait.status();
    }

    fn inspect<T: std::str::FromStr>(&self, name: &str, format: &str) -> Result<T, Failure> {
        let failed = || {
            Failure::new(exit::DOCKER_RUN_FAILED, format!("Could not inspect docker to get {format} {name}."))
        };
        let output = Command::new(self.docker_binary())
            .args(["inspect", "--format", format, name])
            .env_clear()
            .output()
            .map_err(|_| failed())?;
        String::from_utf8_lossy(&output.stdout).trim().parse().map_err(|_| failed())
    }

    fn write_pid(&self, path: &Path, pid: u32) -> Result<(), Failure> {
        say!("Writing to tmp file {}.tmp", path.display());
        self.write_as_manager(path, &pid.to_string())
    }

    /// The NodeManager sees either the whole file or none.
    fn write_as_manager(&self, path: &Path, text: &str) -> Result<(), Failure> {
        let mut draft = path.as_os_str().to_owned();
        draft.push(".tmp");
        let write = || fs::write(&draft, text).and_then(|()| fs::rename(&draft, path));
        self.manager.act(write)?.map_err(|error| {
            Failure::new(exit::WRITE_PIDFILE_FAILED, format!("Can't write {} - {error}", path.display()))
        })
    }
}

fn not_run(error: &io::Error) -> Failure {
    Failure::new(
        exit::UNABLE_TO_EXECUTE_CONTAINER_SCRIPT,
        format!("Couldn't execute the container launch file - {error}"),
    )
}

/// Returns at once if the process no longer exists.
fn wait_for_end(pid: i32) {
    let process = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    if let Some(process) = process {
        let _ = retry_on_intr(|| poll(&mut [PollFd::new(&process, PollFlags::IN)], None));
    }
}
