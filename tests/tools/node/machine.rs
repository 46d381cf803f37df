//! A node booted by systemd-nspawn.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use emr_ecr_agent_tests::parts::Part;
use emr_ecr_agent_tests::process::{self, Server, bound_to_parent};
use emr_ecr_agent_tests::{scratch, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use tokio::time::timeout;

use crate::Outcome;

const BOOT: Duration = Duration::from_secs(60);
/// The deadline of each script. An upgrade waits up to a minute until the agent is ready.
const LONGEST: Duration = Duration::from_secs(120);

/// A running node, killed when dropped.
pub(crate) struct Machine {
    // Fields drop in this order: the node must end before its log goes.
    _nspawn: Server,
    leader: String,
    _home: scratch::Directory,
}

/// The number of nodes that this process has booted.
static BOOTED: AtomicU32 = AtomicU32::new(0);

impl Drop for Machine {
    /// Kills the node's first process, and thereby all others: killing nspawn would leave them running.
    fn drop(&mut self) {
        if let Ok(leader) = self.leader.parse() {
            // The process may have ended on its own.
            let _ = kill(Pid::from_raw(leader), Signal::SIGKILL);
        }
    }
}

/// The user who runs a script.
#[derive(Debug, Clone, Copy)]
pub(crate) enum User {
    Root,
    /// The user of bootstrap actions.
    Hadoop,
}

/// A script's exit code and output.
#[derive(Debug)]
pub(crate) struct Output {
    pub code: i32,
    /// Standard output, then standard error.
    pub text: String,
}

impl Machine {
    /// Checks whether nodes can boot here; the error is the reason.
    pub(crate) async fn can_boot() -> Result<(), String> {
        if !geteuid().is_root() {
            return Err("booting a node requires root".to_owned());
        }
        Self::boot(Path::new("/usr")).await.map(drop).map_err(|error| error.to_string())
    }

    /// Boots a fresh node with `packages` mounted at /packages.
    pub(crate) async fn boot(packages: &Path) -> Outcome<Self> {
        Self::boot_with(packages, &[]).await
    }

    /// Like [`Machine::boot`], with these mounts, each a path of this machine and one of the node.
    pub(crate) async fn boot_with(packages: &Path, mounts: &[(PathBuf, String)]) -> Outcome<Self> {
        let home = scratch::directory("machine")?;
        let mut command = bound_to_parent(Path::new("/usr/bin/systemd-nspawn"));
        command
            .args([
                "--quiet",
                "--boot",
                "--register=no",
                "--keep-unit",
                "--link-journal=no",
                "--console=pipe",
            ])
            .args(["--volatile=overlay", "--resolv-conf=off", "--timezone=off"])
            // A unique name, since the previous node's may still be in use.
            .arg(format!(
                "--machine=emr-node-{}-{}",
                std::process::id(),
                BOOTED.fetch_add(1, Ordering::Relaxed)
            ))
            .arg(format!("--directory={}", Part::node()?.path("root").display()))
            .arg(format!("--bind-ro={}:/packages", packages.display()))
            .args(mounts.iter().map(|(from, to)| format!("--bind={}:{to}", from.display())));
        let mut nspawn = Server::start("the node", command, &home.path().join("console.log"))?;
        let process = nspawn.process_id().ok_or("the node ended at once")?;
        nspawn
            .wait_until("the boot of the node", BOOT, async |_| {
                let output = run(&leader(process)?, User::Root, "systemctl is-system-running").await?;
                match output.text.trim() {
                    "running" | "degraded" => Ok(()),
                    other => Err(other.to_owned()),
                }
            })
            .await?;
        let node = Self { _nspawn: nspawn, leader: leader(process)?, _home: home };
        // Debian's own timers would leave files on the node at midnight.
        node.run(User::Root, "systemctl stop '*.timer'").await?;
        Ok(node)
    }

    /// The node's process 1, by its id on this machine.
    pub(crate) fn leader(&self) -> Outcome<u32> {
        Ok(self.leader.parse()?)
    }

    /// Runs a script in bash, whatever its exit code.
    pub(crate) async fn attempt(&self, user: User, script: &str) -> Outcome<Output> {
        Ok(run(&self.leader, user, script).await?)
    }

    /// Runs a script that must exit 0, and returns its output.
    pub(crate) async fn run(&self, user: User, script: &str) -> Outcome<String> {
        let output = self.attempt(user, script).await?;
        match output.code {
            0 => Ok(output.text.trim().to_owned()),
            code => Err(format!("`{script}` ended with {code}: {}", output.text.trim()).into()),
        }
    }

    /// Repeats the script until it exits 0.
    pub(crate) async fn wait_for(&self, what: &str, deadline: Duration, script: &str) -> Outcome<String> {
        let output = wait::until(what, deadline, async || {
            let output = run(&self.leader, User::Root, script).await?;
            if output.code == 0 { Ok(output.text.trim().to_owned()) } else { Err(output.text) }
        });
        Ok(output.await?)
    }

    /// One property of the agent's unit.
    pub(crate) async fn unit(&self, property: &str) -> Outcome<String> {
        self.run(User::Root, &format!("systemctl show --value --property {property} emr-ecr-agent")).await
    }

    /// Writes a file owned by root on the node, creating its directories.
    pub(crate) fn write(&self, path: &str, mode: u32, text: &str) -> Outcome {
        self.write_bytes(path, mode, text.as_bytes())
    }

    pub(crate) fn write_bytes(&self, path: &str, mode: u32, content: &[u8]) -> Outcome {
        let path = self.path(path);
        fs::create_dir_all(path.parent().ok_or("the path has no parent")?)?;
        fs::write(&path, content)?;
        Ok(fs::set_permissions(&path, fs::Permissions::from_mode(mode))?)
    }

    pub(crate) fn read(&self, path: &str) -> Outcome<String> {
        let path = self.path(path);
        fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()).into())
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// Maps a path of the node to this machine.
    fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.leader))
    }
}

/// The node's process 1, nspawn's only child.
fn leader(nspawn: u32) -> Result<String, String> {
    let children = fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children")).unwrap_or_default();
    children.split_whitespace().next().map(str::to_owned).ok_or_else(|| "no process yet".to_owned())
}

async fn run(leader: &str, user: User, script: &str) -> Result<Output, String> {
    let (name, home) = match user {
        User::Root => ("root", "/root"),
        User::Hadoop => ("hadoop", "/home/hadoop"),
    };
    let mut command = Command::new("nsenter");
    command.args([
        "--all",
        "--target",
        leader,
        "--",
        "/sbin/runuser",
        "-u",
        name,
        "--",
        "/usr/bin/env",
        "-i",
    ]);
    command.arg(format!("HOME={home}"));
    command.args([
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "/bin/bash",
        "-c",
        script,
    ]);
    let finished = timeout(LONGEST, process::run(command)).await;
    let finished = finished.map_err(|_| format!("`{script}` did not end within {} s", LONGEST.as_secs()))?;
    let finished = finished.map_err(|error| format!("cannot run nsenter: {error}"))?;
    Ok(Output { code: finished.code, text: finished.out + &finished.err })
}
