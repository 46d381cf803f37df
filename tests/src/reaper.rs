//! Cleans up after this process however it ends, even by SIGKILL. A helper process, started on first use, waits for
//! this one to end; then it kills the registered processes and removes the registered directories with their mounts.
//! It also kills this process when its parent ends, so that nothing survives the test runner.

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

/// A resource that must not outlive this process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// A directory and all mounts below it.
    Directory(PathBuf),
    /// Control groups with this name, in every hierarchy, and those below them.
    ControlGroups(String),
    /// A process and, if it leads one, its group. The start time distinguishes it from a later process with the same
    /// id.
    Process { id: i32, started: u64 },
}

impl Resource {
    /// `None` if the process no longer exists.
    pub fn process(id: u32) -> Option<Self> {
        let id = i32::try_from(id).ok()?;
        Some(Self::Process { id, started: started(id)? })
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Message {
    Register(Resource),
    Release(Resource),
}

/// Makes the reaper clean up `resource` until [`release`].
pub fn register(resource: &Resource) -> io::Result<()> {
    send(&Message::Register(resource.clone()))
}

/// Undoes [`register`]. If the message is lost, the reaper finds nothing to clean up.
pub fn release(resource: &Resource) {
    let _ = send(&Message::Release(resource.clone()));
}

/// Lets this process, which several test processes share, outlive its parent. Call it before anything else.
pub fn outlive_parent() -> io::Result<()> {
    start(None).map(|reaper| drop(REAPER.set(reaper)))
}

static REAPER: OnceLock<Mutex<ChildStdin>> = OnceLock::new();
static STARTING: Mutex<()> = Mutex::new(());

fn send(message: &Message) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
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
        // Outside this process's group, which a test runner kills as a whole.
        .process_group(0)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut reaper = command.spawn()?;
    reaper.stdin.take().map(Mutex::new).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
}

/// The reaper: reads messages until `owner` ends, or kills it when `parent` ends, and then cleans up.
pub fn reap(owner: i32, parent: Option<i32>) -> io::Result<()> {
    let mut messages = Messages::default();
    if let (Some(owner), Some(parent)) = (open(owner), parent) {
        // `None` if it has already ended.
        let parent = open(parent);
        while parent.as_ref().is_some_and(|parent| !messages.or_end_of(parent)) && messages.read()? {}
        let _ = pidfd_send_signal(owner, Signal::KILL);
    }
    while messages.read()? {}
    messages.resources.iter().for_each(clean_up);
    Ok(())
}

fn open(process: i32) -> Option<OwnedFd> {
    Pid::from_raw(process).and_then(|process| pidfd_open(process, PidfdFlags::empty()).ok())
}

/// The resources registered and not released so far.
#[derive(Debug, Default)]
struct Messages {
    resources: Vec<Resource>,
    unread: Vec<u8>,
}

impl Messages {
    /// Waits for a message or the end of `process`; returns whether it has ended.
    fn or_end_of(&self, process: &OwnedFd) -> bool {
        let stdin = io::stdin();
        let mut events = [PollFd::new(&stdin, PollFlags::IN), PollFd::new(process, PollFlags::IN)];
        let _ = retry_on_intr(|| poll(&mut events, None));
        events[1].revents().contains(PollFlags::IN)
    }

    /// Reads from the pipe; returns false at its end, when the owner has ended.
    fn read(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        let count = retry_on_intr(|| read(io::stdin(), &mut buffer))?;
        self.unread.extend_from_slice(&buffer[..count]);
        while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            match serde_json::from_slice(&line)? {
                Message::Register(resource) => self.resources.push(resource),
                Message::Release(resource) => self.resources.retain(|registered| *registered != resource),
            }
        }
        Ok(count > 0)
    }
}

/// Ignores errors: at this point they cannot be reported.
fn clean_up(resource: &Resource) {
    match resource {
        Resource::Process { id, started: expected } => {
            let Some(pid) = Pid::from_raw(*id).filter(|_| started(*id) == Some(*expected)) else { return };
            let ended = open(*id);
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = kill_process(pid, Signal::KILL);
            if let Some(ended) = ended {
                let _ = retry_on_intr(|| poll(&mut [PollFd::new(&ended, PollFlags::IN)], None));
            }
        }
        Resource::ControlGroups(name) => remove_control_groups(name),
        Resource::Directory(path) => {
            for mount in mounts_below(path) {
                let _ = Command::new("umount").args(["--lazy", "--"]).arg(mount).status();
            }
            // Processes that are ending may still write there.
            while fs::remove_dir_all(path)
                .is_err_and(|error| error.kind() == io::ErrorKind::DirectoryNotEmpty)
            {}
        }
    }
}

/// Removes the control groups with this name as soon as their processes have ended.
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

/// Innermost first.
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
    // The name, in parentheses, may contain spaces.
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(19)?.parse().ok()
}
