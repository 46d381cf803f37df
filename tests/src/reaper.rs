//! Cleans up after this process however it ends, also by SIGKILL: another process, started on first use, kills the
//! processes and removes the mounts and directories that were entrusted to it once this one is gone. It also ends this
//! process when its parent does, so that nothing survives the test runner.

use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, parent_id};
use std::path::{Path, PathBuf};
use std::process::{self, ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{read, retry_on_intr};
use rustix::process::{
    Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open, pidfd_send_signal,
};
use serde::{Deserialize, Serialize};

use crate::agent::program_directory;

/// Something that must not outlive this process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Charge {
    /// A directory, with all that is mounted below it.
    Directory(PathBuf),
    /// Control groups of this name, in every hierarchy, with those below them.
    ControlGroups(String),
    /// A process and, if it leads one, its group. The start time tells it from a later one of the same number.
    Process { id: i32, started: u64 },
}

impl Charge {
    /// `None` if there is no such process any more.
    pub fn process(id: u32) -> Option<Self> {
        let id = i32::try_from(id).ok()?;
        Some(Self::Process { id, started: started(id)? })
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    Take(Charge),
    Release(Charge),
}

/// Entrusts `charge` to the reaper until [`release`].
pub fn take(charge: &Charge) -> io::Result<()> {
    send(&Order::Take(charge.clone()))
}

/// Tells the reaper that `charge` is gone already. If it cannot be told, it will find that out by itself.
pub fn release(charge: &Charge) {
    let _ = send(&Order::Release(charge.clone()));
}

/// Makes this process outlive its parent: for one that several test processes share. Call it first of all.
pub fn outlive_parent() -> io::Result<()> {
    start(None).map(|reaper| drop(REAPER.set(reaper)))
}

static REAPER: OnceLock<Mutex<ChildStdin>> = OnceLock::new();
static STARTING: Mutex<()> = Mutex::new(());

fn send(order: &Order) -> io::Result<()> {
    let mut line = serde_json::to_vec(order)?;
    line.push(b'\n');
    reaper()?.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line)
}

fn reaper() -> io::Result<&'static Mutex<ChildStdin>> {
    let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(reaper) = REAPER.get() {
        return Ok(reaper);
    }
    let reaper = start(Some(parent_id()))?;
    Ok(REAPER.get_or_init(|| reaper))
}

fn start(parent: Option<u32>) -> io::Result<Mutex<ChildStdin>> {
    let mut command = Command::new(program_directory()?.join("reaper"));
    command
        .arg(process::id().to_string())
        .args(parent.map(|parent| parent.to_string()))
        // Apart from this process's group, which a runner kills as a whole.
        .process_group(0)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut reaper = command.spawn()?;
    reaper.stdin.take().map(Mutex::new).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
}

/// The reaper's whole life: takes orders until `owner` is gone, or ends it when `parent` is, and then cleans up.
pub fn reap(owner: i32, parent: Option<i32>) -> io::Result<()> {
    let mut orders = Orders::default();
    if let (Some(owner), Some(parent)) = (open(owner), parent) {
        // No such process: it has ended already.
        let parent = open(parent);
        while parent.as_ref().is_some_and(|parent| !orders.or_end_of(parent)) && orders.read()? {}
        let _ = pidfd_send_signal(owner, Signal::KILL);
    }
    while orders.read()? {}
    orders.charges.iter().for_each(clean_up);
    Ok(())
}

fn open(process: i32) -> Option<OwnedFd> {
    Pid::from_raw(process).and_then(|process| pidfd_open(process, PidfdFlags::empty()).ok())
}

/// What was entrusted and not released so far.
#[derive(Debug, Default)]
struct Orders {
    charges: Vec<Charge>,
    unread: Vec<u8>,
}

impl Orders {
    /// Waits for an order or for the end of `process`; whether it has ended.
    fn or_end_of(&self, process: &OwnedFd) -> bool {
        let stdin = io::stdin();
        let mut events = [PollFd::new(&stdin, PollFlags::IN), PollFd::new(process, PollFlags::IN)];
        let _ = retry_on_intr(|| poll(&mut events, None));
        events[1].revents().contains(PollFlags::IN)
    }

    /// Takes what the pipe holds, or waits for it; false at its end, which is that of the owner.
    fn read(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        let count = retry_on_intr(|| read(io::stdin(), &mut buffer))?;
        self.unread.extend_from_slice(&buffer[..count]);
        while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            match serde_json::from_slice(&line)? {
                Order::Take(charge) => self.charges.push(charge),
                Order::Release(charge) => self.charges.retain(|taken| *taken != charge),
            }
        }
        Ok(count > 0)
    }
}

/// As far as it goes: what fails here has nobody left to hear of it.
fn clean_up(charge: &Charge) {
    match charge {
        Charge::Process { id, started: expected } => {
            let Some(pid) = Pid::from_raw(*id).filter(|_| started(*id) == Some(*expected)) else { return };
            let ended = open(*id);
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = kill_process(pid, Signal::KILL);
            if let Some(ended) = ended {
                let _ = retry_on_intr(|| poll(&mut [PollFd::new(&ended, PollFlags::IN)], None));
            }
        }
        Charge::ControlGroups(name) => remove_control_groups(name),
        Charge::Directory(path) => {
            for mount in mounts_below(path) {
                let _ = Command::new("umount").args(["--lazy", "--"]).arg(mount).status();
            }
            // Processes that are still ending may write there.
            while fs::remove_dir_all(path)
                .is_err_and(|error| error.kind() == io::ErrorKind::DirectoryNotEmpty)
            {}
        }
    }
}

/// Removes the control groups of this name as soon as their processes have ended.
pub fn remove_control_groups(name: &str) {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    for hierarchy in hierarchies.chain([root.to_owned()]) {
        remove_control_group(&hierarchy.join(name));
    }
}

fn remove_control_group(path: &Path) {
    let below = fs::read_dir(path).into_iter().flatten().flatten();
    for entry in below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_control_group(&entry.path());
    }
    while fs::remove_dir(path).is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy) {}
}

/// The innermost first.
fn mounts_below(path: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    let mut below: Vec<PathBuf> = points.filter(|point| point.starts_with(path)).collect();
    below.reverse();
    below
}

/// When a process started, in clock ticks since boot.
fn started(id: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name before the last parenthesis may hold spaces.
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(19)?.parse().ok()
}
