//! The published copy on HDFS, and the turn by which the nodes of a cluster renew it one at a time.

mod access;
mod error;
mod file;
mod kerberos;
mod session;
mod turn;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Instant;

use domain::problem::Problem;
use domain::refresh::TurnMemory;
use domain::settings::{Deadlines, PublishedSettings};
use domain::status::PlaceKind;
use hdfs_native::{Client, ClientBuilder};

use crate::io::{chain, hadoop_conf};
use crate::place::{Intent, Place, Planner, SharedPlace, StoreError as _, Turn, Visit, VisitError, converge};
use error::Call as _;
pub use error::HdfsError;
use file::{PublishedFile, Remembered};
use session::Sessions;

/// A folder without files: keeps hdfs-native from reading the environment's configuration, which it
/// understands less of than Hadoop; it is given what was resolved by Hadoop's rules instead.
const NO_CONF_DIR: &str = "/dev/null";
/// hdfs-native's default of 15 attempts takes minutes to say that a NameNode refuses connections.
const FAILOVER_SETTINGS: [(&str, &str); 3] = [
    ("dfs.client.failover.max.attempts", "3"),
    ("dfs.client.failover.sleep.base.millis", "200"),
    ("dfs.client.failover.sleep.max.millis", "2000"),
];
/// Where a NameNode listens unless told otherwise.
const NAMENODE_PORT: u16 = 8020;

/// The published copy.
#[derive(Debug)]
pub struct Published {
    settings: PublishedSettings,
    conf_dir: PathBuf,
    node: String,
    sessions: Sessions,
    remembered: Option<Remembered>,
    turn: TurnMemory,
    started: Instant,
}

impl Published {
    pub fn new(settings: PublishedSettings, conf_dir: PathBuf, node: String, deadlines: &Deadlines) -> Self {
        let turn = TurnMemory::new(deadlines.turn());
        Self {
            settings,
            conf_dir,
            node,
            sessions: Sessions::new(deadlines.hdfs),
            remembered: None,
            turn,
            started: Instant::now(),
        }
    }

    async fn converge(&mut self, planner: Planner, intent: Intent) -> Result<Visit, VisitError<HdfsError>> {
        let remembered = self.remembered.take();
        let node = self.node.clone();
        let visit = self.with_client(move |client, settings, file_system| async move {
            let remembered = remembered.filter(|remembered| remembered.is_of(&file_system));
            let mut file = PublishedFile::new(client, settings, node, file_system, remembered);
            let visit = converge(&mut file, &planner, intent).await?;
            Ok::<_, VisitError<HdfsError>>((visit, file.into_remembered()))
        });
        let (visit, remembered) = visit.await?;
        self.remembered = remembered;
        Ok(visit)
    }

    /// Runs `visit` within the deadline, with a client that ends with it and the file system's URI.
    async fn with_client<T, E, F>(
        &self,
        visit: impl FnOnce(Client, PublishedSettings, String) -> F + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<HdfsError> + Send + 'static,
        F: Future<Output = Result<T, E>>,
    {
        let (file_system, properties) = self.file_system()?;
        let settings = self.settings.clone();
        let visit = self.sessions.run(move || async move {
            let client = connect(&file_system, properties, &settings)?;
            visit(client, settings, file_system).await
        });
        visit.await.map_err(|source| HdfsError::Session { source })?
    }

    /// The file system's URI, and Hadoop's configuration to reach it.
    fn file_system(&self) -> Result<(String, BTreeMap<String, String>), HdfsError> {
        let properties =
            hadoop_conf::client_properties(&self.conf_dir).map_err(|source| HdfsError::Conf { source })?;
        let named = self.settings.path.file_system().map(str::to_owned);
        let file_system = named.or_else(|| properties.get("fs.defaultFS").map(|uri| uri.trim().to_owned()));
        match file_system {
            Some(uri) if uri.starts_with("viewfs://") => Ok((uri, properties)),
            Some(uri) if uri.starts_with("hdfs://") => Ok((with_port(uri, &properties), properties)),
            Some(uri) => Err(HdfsError::NotHdfs { uri }),
            None => Err(HdfsError::NoDefaultFs { conf_dir: self.conf_dir.clone() }),
        }
    }
}

impl Place for Published {
    fn kind(&self) -> PlaceKind {
        PlaceKind::Hdfs
    }

    fn path(&self) -> String {
        self.settings.path.to_string()
    }

    fn visit(
        &mut self,
        planner: Planner,
        intent: Intent,
    ) -> Pin<Box<dyn Future<Output = Result<Visit, Problem>> + '_>> {
        Box::pin(async move {
            let visit = self.converge(planner, intent).await;
            visit.map_err(|error| error.problem(&self.path(), chain(&error)))
        })
    }
}

impl SharedPlace for Published {
    fn take_turn(&mut self) -> Pin<Box<dyn Future<Output = Result<Turn, Problem>> + '_>> {
        Box::pin(async move {
            let problem =
                |error: HdfsError| Problem { waits_for: error.waits_for(), ..Problem::new(chain(&error)) };
            turn::take(self).await.map_err(problem)
        })
    }

    fn end_turn(&mut self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(async move {
            if let Err(error) = turn::end(self).await {
                tracing::debug!(error = %chain(&error), "the turn is left to end by itself");
            }
        })
    }
}

/// Adds the NameNode's default port where neither a port is named nor a nameservice is meant.
fn with_port(uri: String, properties: &BTreeMap<String, String>) -> String {
    let authority = uri["hdfs://".len()..].split('/').next().unwrap_or_default();
    let is_nameservice = properties.contains_key(&format!("dfs.ha.namenodes.{authority}"));
    if authority.is_empty() || authority.contains(':') || is_nameservice {
        return uri;
    }
    format!("hdfs://{authority}:{NAMENODE_PORT}")
}

fn connect(
    file_system: &str,
    properties: BTreeMap<String, String>,
    settings: &PublishedSettings,
) -> Result<Client, HdfsError> {
    let secure = properties.get("hadoop.security.authentication").is_some_and(|by| by.trim() == "kerberos");
    let overrides = FAILOVER_SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let builder = ClientBuilder::new()
        .with_config_dir(NO_CONF_DIR)
        .with_config(properties.into_iter().chain(overrides))
        .with_url(file_system);
    // With Kerberos the name comes from the ticket; naming another user would ask to impersonate it.
    let builder = match &settings.kerberos {
        _ if !secure => builder.with_user(&settings.user),
        Some(login) => kerberos::log_in(builder, login)?,
        None => builder,
    };
    builder.build().call("connect to", file_system)
}

#[cfg(test)]
mod tests {
    use super::with_port;

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
