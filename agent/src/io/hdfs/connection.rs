//! HDFS calls through one client. Errors name the operation, the file and its NameNode.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use domain::check::NM_USER;
use domain::documents::Document;
use domain::settings::PublishedSettings;
use hdfs_native::client::FileStatus;
use hdfs_native::{Client, ClientBuilder, WriteOptions};

use super::HdfsError;
use super::error::{Call as _, Operation};
use super::login::Login;
use super::worker::{Threads, WorkerError};
use crate::io::hadoop_conf;

/// Larger documents are not read: anyone may write one, and a NodeManager would load it at each launch.
const LARGEST: usize = 256 << 10;
/// An empty configuration directory: keeps hdfs-native from reading the environment's configuration, which it
/// understands less completely than Hadoop. It gets the properties resolved by Hadoop's rules instead.
const NO_CONF_DIR: &str = "/dev/null";
/// hdfs-native's default of 15 attempts takes minutes to detect that a NameNode refuses connections.
const FAILOVER_SETTINGS: [(&str, &str); 3] = [
    ("dfs.client.failover.max.attempts", "3"),
    ("dfs.client.failover.sleep.base.millis", "200"),
    ("dfs.client.failover.sleep.max.millis", "2000"),
];
/// Prefix of the list of a nameservice's NameNodes.
const NAMENODES: &str = "dfs.ha.namenodes.";
const SOCKET_TIMEOUT: &str = "dfs.client.socket-timeout";
/// DataNodes that a call can wait for within its deadline.
const DATANODES_PER_CALL: u32 = 3;
const LEAST_TIMEOUT: Duration = Duration::from_secs(1);
/// A NameNode's default port.
const NAMENODE_PORT: u16 = 8020;

/// What a client is built from. The client is reused while this stays the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClientSpec {
    /// Scheme and authority.
    file_system: String,
    /// Hadoop's configuration for reaching it.
    properties: BTreeMap<String, String>,
    login: Login,
}

/// How to treat servers that do not answer. hdfs-native waits for a silent NameNode without a limit, and a minute for
/// a DataNode, so it would never get to the next one within the deadline.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Of a call.
    pub deadline: Duration,
    /// How many calls have missed it so far: each makes the next of the NameNodes the first to ask.
    pub misses: usize,
}

/// A client and the spec it was built from.
#[derive(Debug)]
pub(super) struct Session {
    spec: Arc<ClientSpec>,
    client: Client,
    /// `None` unless the agent can act as the NodeManager's user.
    as_node_manager: Option<Client>,
}

/// The clients for one call.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    spec: Arc<ClientSpec>,
    client: Client,
    as_node_manager: Option<Client>,
    threads: Threads,
}

/// Attributes of a new file.
#[derive(Debug, Clone, Default)]
pub(super) struct NewFile {
    pub mode: u32,
    pub replication: u16,
    pub owner: Option<String>,
    pub group: Option<String>,
}

impl ClientSpec {
    /// Derives the spec from the settings and this node's current files.
    pub(super) fn current(
        settings: &PublishedSettings,
        conf_dir: &Path,
        patience: Patience,
    ) -> Result<Self, HdfsError> {
        let properties =
            hadoop_conf::client_properties(conf_dir).map_err(|source| HdfsError::Conf { source })?;
        let properties = patience.adapt(properties);
        let named = settings.path.file_system().map(str::to_owned);
        let file_system = named.or_else(|| properties.get("fs.defaultFS").map(|uri| uri.trim().to_owned()));
        let file_system = match file_system {
            Some(uri) if uri.starts_with("viewfs://") => uri,
            Some(uri) if uri.starts_with("hdfs://") => with_port(uri, &properties),
            Some(uri) => return Err(HdfsError::NotHdfs { uri }),
            None => return Err(HdfsError::NoDefaultFs { conf_dir: conf_dir.to_owned() }),
        };
        let login = Login::current(settings, hadoop_conf::is_kerberos(&properties))?;
        Ok(Self { file_system: file_system.trim_end_matches('/').to_owned(), properties, login })
    }

    pub(super) fn file_system(&self) -> &str {
        &self.file_system
    }

    pub(super) fn gave_up(&self, source: WorkerError) -> HdfsError {
        HdfsError::Worker { file_system: self.file_system.clone(), source }
    }

    fn is_still(&self, now: &Self) -> bool {
        self == now && self.login.is_still(&now.login)
    }

    fn connect(&self) -> Result<Client, HdfsError> {
        self.connect_by(&self.login)
    }

    fn connect_by(&self, login: &Login) -> Result<Client, HdfsError> {
        let overrides = FAILOVER_SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let builder = ClientBuilder::new()
            .with_config_dir(NO_CONF_DIR)
            .with_config(self.properties.clone().into_iter().chain(overrides))
            .with_url(&self.file_system);
        login.apply(builder).build().call(Operation::Connect, || self.file_system.clone())
    }
}

impl Patience {
    fn adapt(self, properties: BTreeMap<String, String>) -> BTreeMap<String, String> {
        let most = (self.deadline / DATANODES_PER_CALL).max(LEAST_TIMEOUT).as_millis();
        let set = properties.get(SOCKET_TIMEOUT).and_then(|text| text.parse().ok()).filter(|set| *set > 0);
        let timeout = set.map_or(most, |set: u128| set.min(most));
        let adapted = properties.into_iter().map(|(name, value)| {
            if !name.starts_with(NAMENODES) {
                return (name, value);
            }
            // hdfs-native does not trim the names, as Hadoop does.
            let mut ids: Vec<&str> = value.split(',').map(str::trim).filter(|id| !id.is_empty()).collect();
            let first = self.misses.checked_rem(ids.len()).unwrap_or_default();
            ids.rotate_left(first);
            (name, ids.join(","))
        });
        adapted.chain([(SOCKET_TIMEOUT.to_owned(), timeout.to_string())]).collect()
    }
}

impl Session {
    /// Returns the kept session, or a new one if its spec has changed.
    pub(super) fn resumed(kept: Option<Self>, spec: Arc<ClientSpec>) -> Result<Self, HdfsError> {
        match kept {
            Some(kept) if kept.spec.is_still(&spec) => Ok(kept),
            _ => {
                let node_manager = spec.login.of(NM_USER);
                let as_node_manager = node_manager.map(|login| spec.connect_by(&login)).transpose()?;
                Ok(Self { client: spec.connect()?, as_node_manager, spec })
            }
        }
    }

    pub(super) fn connection(&self, threads: Threads) -> Connection {
        let Self { spec, client, as_node_manager } = self;
        Connection {
            spec: Arc::clone(spec),
            client: client.clone(),
            as_node_manager: as_node_manager.clone(),
            threads,
        }
    }
}

impl Connection {
    pub(super) fn file_system(&self) -> &str {
        self.spec.file_system()
    }

    /// A connection that reads as the NodeManager's user, where the agent can.
    pub(super) fn as_node_manager(&self) -> Option<Self> {
        let client = self.as_node_manager.clone()?;
        Some(Self { client, as_node_manager: None, ..self.clone() })
    }

    /// The full URI of `path`.
    pub(super) fn uri(&self, path: &str) -> String {
        format!("{}{path}", self.spec.file_system)
    }

    /// `None` if `path` does not exist.
    pub(super) async fn status(&self, path: &str) -> Result<Option<FileStatus>, HdfsError> {
        match self.client.get_file_info(path).await {
            Ok(status) => Ok(Some(status)),
            Err(hdfs_native::HdfsError::FileNotFound(_)) => Ok(None),
            Err(error) => Err(error).call(Operation::Stat, || self.uri(path)),
        }
    }

    /// The content of a file, without a last block that is still being written.
    pub(super) async fn read(&self, path: &str) -> Result<Document, HdfsError> {
        let mut reader = self.client.read(path).await.call(Operation::Open, || self.uri(path))?;
        let length = reader.file_length();
        if length > LARGEST {
            return Err(HdfsError::TooLarge { uri: self.uri(path), length });
        }
        match reader.read_bytes(length).await {
            Ok(bytes) => Ok(Document::new(bytes.to_vec())),
            Err(error) => Err(HdfsError::Read { uri: self.uri(path), source: error.into() }),
        }
    }

    /// Creates a file with its content. Its mode and owner are set before it has any content.
    pub(super) async fn create(&self, path: &str, new: NewFile, content: &Document) -> Result<(), HdfsError> {
        let (spec, path, content) = (Arc::clone(&self.spec), path.to_owned(), content.clone());
        let written = self.threads.run_once(move || async move {
            let client = spec.connect()?;
            let uri = || format!("{}{path}", spec.file_system);
            let options = WriteOptions::default()
                .permission(new.mode)
                .replication(new.replication.into())
                .overwrite(false)
                .create_parent(false);
            let mut writer = match client.create(&path, options).await {
                Err(hdfs_native::HdfsError::AlreadyExists(_)) => {
                    return Err(HdfsError::AlreadyExists { uri: uri() });
                }
                created => created.call(Operation::Create, uri)?,
            };
            if new.owner.is_some() || new.group.is_some() {
                set_owner(&client, &path, &new.owner, &new.group).await.call(Operation::SetOwner, uri)?;
            }
            if !content.bytes().is_empty() {
                writer.write_bytes(content.bytes().to_vec().into()).await.call(Operation::Write, uri)?;
            }
            writer.close().await.call(Operation::Complete, uri)
        });
        written.await.map_err(|source| self.spec.gave_up(source))?
    }

    pub(super) async fn rename_over(&self, from: &str, to: &str) -> Result<(), HdfsError> {
        self.client.rename(from, to, true).await.call(Operation::Rename, || self.uri(to))
    }

    /// Renames to a path that did not exist; `false` if it exists now.
    pub(super) async fn rename_to_absent(&self, from: &str, to: &str) -> Result<bool, HdfsError> {
        match self.client.rename(from, to, false).await {
            Err(hdfs_native::HdfsError::AlreadyExists(_)) => Ok(false),
            renamed => renamed.call(Operation::Rename, || self.uri(to)).map(|()| true),
        }
    }

    pub(super) async fn delete(&self, path: &str) -> Result<bool, HdfsError> {
        self.client.delete(path, false).await.call(Operation::Delete, || self.uri(path))
    }

    pub(super) async fn set_mode(&self, path: &str, mode: u32) -> Result<(), HdfsError> {
        self.client.set_permission(path, mode).await.call(Operation::SetMode, || self.uri(path))
    }

    pub(super) async fn set_owner(
        &self,
        path: &str,
        owner: &Option<String>,
        group: &Option<String>,
    ) -> Result<(), HdfsError> {
        set_owner(&self.client, path, owner, group).await.call(Operation::SetOwner, || self.uri(path))
    }

    /// Creates a directory and its missing parents.
    pub(super) async fn make_directory(&self, path: &str, mode: u32) -> Result<(), HdfsError> {
        self.client.mkdirs(path, mode, true).await.call(Operation::MakeDirectory, || self.uri(path))
    }

    /// Revokes the writer's lease on the file; a later read finds it closed.
    pub(super) async fn recover_lease(&self, path: &str) -> Result<bool, HdfsError> {
        self.client.recover_lease(path).await.call(Operation::RecoverLease, || self.uri(path))
    }

    pub(super) async fn list(&self, path: &str) -> Result<Vec<FileStatus>, HdfsError> {
        self.client.list_status(path, false).await.call(Operation::List, || self.uri(path))
    }
}

async fn set_owner(
    client: &Client,
    path: &str,
    owner: &Option<String>,
    group: &Option<String>,
) -> hdfs_native::Result<()> {
    client.set_owner(path, owner.as_deref(), group.as_deref()).await
}

/// Adds the NameNode's default port unless the URI has a port or names a nameservice.
fn with_port(uri: String, properties: &BTreeMap<String, String>) -> String {
    let authority = uri["hdfs://".len()..].split('/').next().unwrap_or_default();
    let is_nameservice = properties.contains_key(&format!("dfs.ha.namenodes.{authority}"));
    if authority.is_empty() || authority.contains(':') || is_nameservice {
        return uri;
    }
    format!("hdfs://{authority}:{NAMENODE_PORT}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::{Patience, with_port};

    #[test]
    fn each_miss_makes_the_next_namenode_the_first() {
        let given: BTreeMap<_, _> = [("dfs.ha.namenodes.ha", "nn1, nn2,"), ("a", "b, c")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        for (misses, expected) in [(0, "nn1,nn2"), (1, "nn2,nn1"), (2, "nn1,nn2")] {
            let patience = Patience { deadline: Duration::from_secs(30), misses };
            let adapted = patience.adapt(given.clone());
            assert_eq!((adapted["dfs.ha.namenodes.ha"].as_str(), adapted["a"].as_str()), (expected, "b, c"));
        }
    }

    #[test]
    fn a_datanode_has_a_third_of_the_deadline_at_most() {
        for (deadline, set, expected) in
            [(30, None, "10000"), (30, Some("60000"), "10000"), (30, Some("5000"), "5000"), (1, None, "1000")]
        {
            let given = set.map(|set: &str| ("dfs.client.socket-timeout".to_owned(), set.to_owned()));
            let patience = Patience { deadline: Duration::from_secs(deadline), misses: 0 };
            let adapted = patience.adapt(given.into_iter().collect());
            assert_eq!(adapted["dfs.client.socket-timeout"], expected);
        }
    }

    #[test]
    fn a_namenode_has_its_default_port_and_a_nameservice_none() {
        let properties = [("dfs.ha.namenodes.ha-nn-uri".to_owned(), "nn1,nn2".to_owned())].into();
        let check = |uri: &str, expected: &str| assert_eq!(with_port(uri.to_owned(), &properties), expected);
        check("hdfs://ip-10-0-0-1", "hdfs://ip-10-0-0-1:8020");
        check("hdfs://ip-10-0-0-1/", "hdfs://ip-10-0-0-1:8020");
        check("hdfs://ip-10-0-0-1:9000", "hdfs://ip-10-0-0-1:9000");
        check("hdfs://ha-nn-uri", "hdfs://ha-nn-uri");
    }
}
