//! Inputs of this node: its name, EMR's own files, owners and modes, accounts, the names of Hadoop's jars.

use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use domain::check::{Content, HadoopVersion, Machine, NodeInputs, TextFile};
use hadoop_rules::mounts::Paths;
use hadoop_rules::setup::{Binary, Owned};
use nix::unistd::{Group, gethostname};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::io::disk;

/// Where EMR installs Hadoop's common jars, and container-executor.
const JARS: &str = "/usr/lib/hadoop";
const CONTAINER_EXECUTOR: &str = "/usr/lib/hadoop-yarn/bin/container-executor";

/// The node's host name, as it signs what it publishes.
pub fn name() -> String {
    gethostname().map_or_else(|_| "unknown".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// A file to be checked.
pub fn text_file(path: &Path) -> TextFile {
    let content = match disk::read(path) {
        _ if path.is_dir() => Content::Directory,
        Ok(Some(bytes)) => Content::Bytes(bytes),
        Ok(None) => Content::Absent,
        Err(error) => Content::Unreadable(crate::io::chain(&error)),
    };
    TextFile { path: path.display().to_string(), content }
}

/// What is known of the node; `info_dir` is the directory of EMR's instance files.
pub fn inputs(executor_cfg: &Path, info_dir: &Path) -> NodeInputs {
    let extra: ExtraInstanceData = json(&info_dir.join("extraInstanceData.json"));
    let instance: Instance = json(&info_dir.join("instance.json"));
    NodeInputs {
        chain: chain(executor_cfg),
        binary: binary(),
        release: extra.release_label,
        region: extra.region,
        runs_containers: instance.is_running_node_manager.unwrap_or(!instance.is_master),
        ..NodeInputs::default()
    }
}

/// Which of Hadoop's rules this node goes by.
pub fn hadoop(release: Option<&str>) -> HadoopVersion {
    let entries = fs::read_dir(JARS).into_iter().flatten().flatten();
    let names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    HadoopVersion::find(release, names.iter().map(String::as_str))
}

/// This machine's file system and accounts.
pub struct ThisMachine;

impl Paths for ThisMachine {
    /// Relative paths lead nowhere: the NodeManager's working directory is not this one's.
    fn realpath(&self, path: &[u8]) -> Option<Vec<u8>> {
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        let real = path.is_absolute().then(|| fs::canonicalize(path))?;
        Some(real.ok()?.into_os_string().into_vec())
    }

    fn is_directory(&self, path: &[u8]) -> bool {
        Path::new(std::ffi::OsStr::from_bytes(path)).is_dir()
    }
}

impl Machine for ThisMachine {
    fn group_id(&self, name: &[u8]) -> Option<u32> {
        let group = Group::from_name(std::str::from_utf8(name).ok()?).ok()??;
        Some(group.gid.as_raw())
    }
}

/// The file with its links resolved, then each parent but the root.
fn chain(path: &Path) -> Vec<Owned> {
    let Ok(real) = fs::canonicalize(path) else { return Vec::new() };
    let owned = |path: &Path| {
        let metadata = fs::metadata(path).ok()?;
        let path = path.to_string_lossy().into_owned();
        Some(Owned { path, uid: metadata.uid(), mode: metadata.mode() & 0o7777 })
    };
    real.ancestors().filter(|path| path.parent().is_some()).filter_map(owned).collect()
}

fn binary() -> Option<Binary> {
    let metadata = fs::metadata(CONTAINER_EXECUTOR).ok()?;
    Some(Binary { uid: metadata.uid(), gid: metadata.gid(), mode: metadata.mode() & 0o7777 })
}

/// EMR's own files, as far as they are understood. They are not documented: what is missing or different counts as
/// unknown.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ExtraInstanceData {
    release_label: Option<String>,
    region: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Instance {
    is_master: bool,
    is_running_node_manager: Option<bool>,
}

fn json<T: DeserializeOwned + Default>(path: &Path) -> T {
    let bytes = disk::read(path).ok().flatten();
    bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}
