//! The namespaces of a node, and the control groups of its containers.

use std::ffi::OsString;
use std::process::Command;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::Error;
use super::booted::{self, Booted};
use crate::agent;
use crate::node::Node;
use crate::parts::{self, Part};
use crate::process::{self, Server};
use crate::reaper::{self, Resource};

const START: Duration = Duration::from_secs(60);
const SCRIPT: &str = include_str!("node.sh");

/// The control groups of the engine's containers, all below one, removed when dropped.
#[derive(Debug)]
pub(super) struct ControlGroups(String);

impl ControlGroups {
    pub(super) fn named_after(files: &Node) -> Result<Self, Error> {
        let home = files.path("");
        let name = home.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("emr-ecr-agent-{name}");
        let resource = Resource::ControlGroups(name.clone());
        reaper::register(&resource)
            .map_err(|source| Error::Run { program: "the reaper".to_owned(), source })?;
        Ok(Self(name))
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }
}

impl Drop for ControlGroups {
    fn drop(&mut self) {
        reaper::remove_control_groups(&self.0);
        reaper::release(&Resource::ControlGroups(self.0.clone()));
    }
}

/// Mount, UTS and PID namespaces, kept alive by their first process.
#[derive(Debug)]
pub(super) struct Namespaces {
    unshare: Server,
    first: Pid,
}

impl Namespaces {
    /// Starts them on this machine, or on a booted node and its files.
    pub(super) async fn start(files: &Node, host_name: &str, on: Option<Booted>) -> Result<Self, Error> {
        let home = files.path("");
        let entry: Vec<OsString> = match on {
            None => vec!["/usr/bin/unshare".into()],
            Some(node) => node.entry().chain(["/usr/bin/unshare".into()]).collect(),
        };
        let mut command = process::bound_to_parent_words(entry);
        command.args(["--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        command.args(["bash", "-c", SCRIPT, "node.sh"]).arg(&home);
        command.arg(parts::cache()).arg(Part::docker()?.path("")).arg(host_name);
        let programs = agent::program()?;
        command.args(programs.parent());
        command.args(on.map(|_| booted::MACHINE));
        let mut unshare = Server::start("the node", command, &files.path("node.log"))?;
        let ready = files.path("ready");
        unshare
            .wait_until("the node's file systems", START, async |_| {
                if ready.exists() { Ok(()) } else { Err("not mounted yet") }
            })
            .await?;
        let first = unshare
            .process_id()
            .and_then(process::only_child)
            .and_then(|first| Pid::from_raw(first.as_raw()));
        let gone = || Error::Failed { program: "the node".to_owned(), message: unshare.log_text() };
        let first = first.ok_or_else(gone)?;
        Ok(Self { unshare, first })
    }

    /// The command prefix that runs a program on the node.
    pub(super) fn words(&self) -> impl Iterator<Item = OsString> + use<> {
        let target = self.first.as_raw_nonzero().to_string();
        ["/usr/bin/nsenter", "--target", &target, "--mount", "--uts", "--pid", "--"]
            .map(OsString::from)
            .into_iter()
    }

    pub(super) fn command(&self) -> Command {
        process::bound_to_parent_words(self.words())
    }
}

impl Drop for Namespaces {
    /// When the first process ends, the kernel kills all others before it reports that end.
    fn drop(&mut self) {
        if self.unshare.still_runs().is_ok()
            && let Ok(first) = pidfd_open(self.first, PidfdFlags::empty())
        {
            let _ = pidfd_send_signal(&first, Signal::KILL);
            let _ = retry_on_intr(|| poll(&mut [PollFd::new(&first, PollFlags::IN)], None));
        }
    }
}
