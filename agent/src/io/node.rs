//! Data about this node: its name, EMR's own files, owners and modes, accounts, the names of Hadoop's jars.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CString, OsStr};
use std::fs;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use domain::check::{
    self, Access, Account, Content, HadoopVersion, Machine, NodeDockerConfig, NodeInputs, Permissions,
    Propagation, SiteContent, SiteFile, TextFile, entry_host,
};
use hadoop_rules::launch::DockerAccess;
use hadoop_rules::mounts::Paths;
use hadoop_rules::setup::{Binary, Owned};
use nix::unistd::{Group, User, getgrouplist, gethostname};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::io::disk;

/// Where EMR installs Hadoop's common jars, and container-executor.
const JARS: &str = "/usr/lib/hadoop";
/// One of EMR's instance files.
const EXTRA_DATA: &str = "extraInstanceData.json";
/// The config that the NodeManager's own pulls read.
const ROOT_DOCKER_CONFIG: &str = "/root/.docker/config.json";
const CONTAINER_EXECUTOR_KEY: &str = "yarn.nodemanager.linux-container-executor.path";

/// The node's host name, which signs what it publishes.
pub fn name() -> String {
    gethostname().map_or_else(|_| "unknown".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// Reads a file for a check.
pub fn text_file(path: &Path) -> TextFile {
    let content = match disk::read(path) {
        _ if path.is_dir() => Content::Directory,
        Ok(Some(bytes)) => Content::Bytes(bytes),
        Ok(None) => Content::Absent,
        Err(error) => Content::Unreadable(crate::io::chain(&error)),
    };
    TextFile { path: path.display().to_string(), content }
}

/// Reads a file named by the user, which may be a pipe; `-` is standard input.
pub(crate) fn named_file(path: &Path) -> TextFile {
    let is_pipe = |metadata: &fs::Metadata| metadata.file_type().is_fifo();
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else if fs::metadata(path).is_ok_and(|metadata| is_pipe(&metadata)) {
        match fs::File::open(path) {
            Ok(file) => Box::new(file),
            Err(_) => return text_file(path),
        }
    } else {
        return text_file(path);
    };
    let content = match disk::read_up_to(disk::LARGEST, source) {
        Ok(Some(bytes)) => Content::Bytes(bytes),
        Ok(None) => Content::Unreadable("it is too large".to_owned()),
        Err(error) => Content::Unreadable(error.to_string()),
    };
    let path = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    TextFile { path, content }
}

/// Collects what is known about the node; `info_dir` is the directory of EMR's instance files.
pub(crate) fn inputs(executor_cfg: &Path, info_dir: &Path, yarn_site: &SiteFile) -> NodeInputs {
    let extra: ExtraInstanceData = json(&info_dir.join(EXTRA_DATA));
    let named = named_binary(yarn_site);
    let instance: Instance = json(&info_dir.join("instance.json"));
    NodeInputs {
        chain: chain(executor_cfg),
        binary: binary(Path::new(named.unwrap_or(check::CONTAINER_EXECUTOR))),
        binary_is_missing: named.is_some_and(|path| !Path::new(path).exists()),
        binary_path: named.map(str::to_owned),
        root_registries: root_registries(),
        region: extra.region,
        runs_containers: instance.is_running_node_manager.unwrap_or(!instance.is_master),
        ..NodeInputs::default()
    }
}

/// EMR's release, as in `emr-6.9.0`; `info_dir` as above.
pub(crate) fn release(info_dir: &Path) -> Option<String> {
    json::<ExtraInstanceData>(&info_dir.join(EXTRA_DATA)).release_label
}

/// The Hadoop version whose rules apply to this node.
pub fn hadoop(release: Option<&str>) -> HadoopVersion {
    HadoopVersion::find(release, jars().iter().map(String::as_str))
}

/// The names of Hadoop's common jars and of the files next to them.
pub(crate) fn jars() -> Vec<String> {
    let entries = fs::read_dir(JARS).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// This machine's file system as the current user sees it, and its accounts.
pub struct ThisMachine;

/// The same as the NodeManager's user sees it, or as root while there is no such user.
pub struct ForNodeManager;

impl Paths for ThisMachine {
    /// `None` for relative paths: the NodeManager's working directory is a different one.
    fn realpath(&self, path: &[u8]) -> Option<Vec<u8>> {
        let path = Path::new(OsStr::from_bytes(path));
        let real = path.is_absolute().then(|| fs::canonicalize(path))?;
        Some(real.ok()?.into_os_string().into_vec())
    }

    fn is_directory(&self, path: &[u8]) -> bool {
        Path::new(OsStr::from_bytes(path)).is_dir()
    }
}

impl Machine for ThisMachine {
    fn group_id(&self, name: &[u8]) -> Option<u32> {
        let group = Group::from_name(std::str::from_utf8(name).ok()?).ok()??;
        Some(group.gid.as_raw())
    }

    fn account(&self, user: &[u8]) -> Option<Account> {
        let user = User::from_name(std::str::from_utf8(user).ok()?).ok()??;
        Some(Account { uid: user.uid.as_raw(), gid: user.gid.as_raw() })
    }

    /// Ignores what sudo would allow.
    fn docker_access(&self, user: &[u8]) -> DockerAccess {
        let Some(account) = self.account(user) else { return DockerAccess::UnknownUser };
        let groups = groups(user, account);
        let grants = |name: &[u8]| self.group_id(name).is_some_and(|id| groups.contains(&id));
        if grants(b"root") || grants(b"docker") { DockerAccess::Granted } else { DockerAccess::Denied }
    }

    fn is_executable(&self, path: &[u8]) -> bool {
        let metadata = fs::metadata(OsStr::from_bytes(path));
        metadata.is_ok_and(|metadata| metadata.is_file() && metadata.mode() & 0o111 != 0)
    }

    fn propagation(&self, path: &[u8]) -> Option<Propagation> {
        let real = fs::canonicalize(OsStr::from_bytes(path)).ok()?;
        propagation(&fs::read_to_string("/proc/self/mountinfo").ok()?, &real)
    }
}

impl Paths for ForNodeManager {
    fn realpath(&self, path: &[u8]) -> Option<Vec<u8>> {
        let real = ThisMachine.realpath(path)?;
        let Some(account) = ThisMachine.account(check::NM_USER.as_bytes()) else { return Some(real) };
        let groups = groups(check::NM_USER.as_bytes(), account);
        let may_enter = |directory: &Path| {
            fs::metadata(directory).is_ok_and(|metadata| may_enter(&metadata, account.uid, &groups))
        };
        let paths = [Path::new(OsStr::from_bytes(path)), Path::new(OsStr::from_bytes(&real))];
        paths.iter().flat_map(|path| path.ancestors().skip(1)).all(may_enter).then_some(real)
    }

    fn is_directory(&self, path: &[u8]) -> bool {
        ThisMachine.is_directory(path)
    }
}

impl Machine for ForNodeManager {
    fn group_id(&self, name: &[u8]) -> Option<u32> {
        ThisMachine.group_id(name)
    }

    fn account(&self, user: &[u8]) -> Option<Account> {
        ThisMachine.account(user)
    }

    fn docker_access(&self, user: &[u8]) -> DockerAccess {
        ThisMachine.docker_access(user)
    }

    fn is_executable(&self, path: &[u8]) -> bool {
        ThisMachine.is_executable(path)
    }

    fn propagation(&self, path: &[u8]) -> Option<Propagation> {
        ThisMachine.propagation(path)
    }
}

fn may_enter(metadata: &fs::Metadata, uid: u32, groups: &[u32]) -> bool {
    let mode = metadata.mode();
    let digit = if metadata.uid() == uid {
        mode >> 6
    } else if groups.contains(&metadata.gid()) {
        mode >> 3
    } else {
        mode
    };
    uid == 0 || digit & 1 == 1
}

/// All groups of the user, at least its primary one.
fn groups(user: &[u8], account: Account) -> Vec<u32> {
    let listed = CString::new(user).ok().and_then(|name| getgrouplist(&name, account.gid.into()).ok());
    listed
        .map_or_else(|| vec![account.gid], |groups| groups.into_iter().map(|group| group.as_raw()).collect())
}

/// The propagation of the path's mount, by the lines of a mountinfo; the last longest match is on top.
fn propagation(mountinfo: &str, path: &Path) -> Option<Propagation> {
    let holding = mountinfo.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        // The kernel writes a space as an octal escape.
        let point = fields.nth(4)?.replace("\\040", " ");
        let tags: Vec<&str> = fields.skip(1).take_while(|field| *field != "-").collect();
        path.starts_with(&point).then_some((point.len(), tags))
    });
    let (_, tags) = holding.max_by_key(|(length, _)| *length)?;
    let has = |tag: &str| tags.iter().any(|field| field.starts_with(tag));
    Some(if has("shared:") {
        Propagation::Shared
    } else if has("master:") {
        Propagation::Slave
    } else {
        Propagation::Private
    })
}

/// Who may read a local file.
pub(crate) fn access(path: &Path) -> Option<Access> {
    let permissions = |path: &Path| {
        let metadata = fs::metadata(path).ok()?;
        let user = User::from_uid(metadata.uid().into()).ok().flatten().map(|user| user.name);
        let group = Group::from_gid(metadata.gid().into()).ok().flatten().map(|group| group.name);
        Some(Permissions {
            path: path.display().to_string(),
            owner: user.unwrap_or_else(|| metadata.uid().to_string()),
            group: group.unwrap_or_else(|| metadata.gid().to_string()),
            mode: metadata.mode() & 0o7777,
        })
    };
    let directories = path.ancestors().skip(1).map(permissions).collect::<Option<_>>()?;
    Some(Access { file: permissions(path)?, is_directory: path.is_dir(), directories })
}

/// The registries that root's Docker config has credentials for; `None` if it leaves them to a helper.
fn root_registries() -> Option<BTreeSet<String>> {
    let config: DockerConfig = json(Path::new(ROOT_DOCKER_CONFIG));
    if config.creds_store.is_some() || !config.cred_helpers.is_empty() {
        return None;
    }
    let usable = config.auths.into_iter().filter(|(_, entry)| entry.auth.is_some());
    Some(usable.map(|(name, _)| entry_host(&name).to_owned()).collect())
}

/// A Docker config without its entries' secrets.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DockerConfig {
    auths: BTreeMap<String, Entry>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    /// Only its presence matters.
    auth: Option<IgnoredAny>,
}

/// The store and the helpers of a Docker config; empty if it cannot be read.
pub(crate) fn docker_config(path: &Path) -> NodeDockerConfig {
    let config: DockerConfig = json(path);
    NodeDockerConfig {
        path: path.display().to_string(),
        store: config.creds_store.filter(|store| !store.is_empty()),
        helpers: config.cred_helpers,
    }
}

/// The file with its links resolved, then each parent except the root.
fn chain(path: &Path) -> Vec<Owned> {
    let Ok(real) = fs::canonicalize(path) else { return Vec::new() };
    let owned = |path: &Path| {
        let metadata = fs::metadata(path).ok()?;
        let path = path.to_string_lossy().into_owned();
        Some(Owned { path, uid: metadata.uid(), mode: metadata.mode() & 0o7777 })
    };
    real.ancestors().filter(|path| path.parent().is_some()).filter_map(owned).collect()
}

/// The path of container-executor according to yarn-site.xml.
fn named_binary(yarn_site: &SiteFile) -> Option<&str> {
    match &yarn_site.content {
        SiteContent::Loaded { resolved, .. } => resolved.trimmed(CONTAINER_EXECUTOR_KEY),
        SiteContent::Absent | SiteContent::Unusable { .. } => None,
    }
}

fn binary(path: &Path) -> Option<Binary> {
    let metadata = fs::metadata(path).ok()?;
    Some(Binary { uid: metadata.uid(), gid: metadata.gid(), mode: metadata.mode() & 0o7777 })
}

/// The known parts of EMR's own files. They are undocumented, so what is missing or different counts as unknown.
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
