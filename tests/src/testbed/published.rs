//! The published file, read and changed by Hadoop's own shell.

use std::fs;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Error, SOON, parse};
use crate::hdfs::{HdfsClient, SUPERUSER, SharedHdfs};
use crate::node::TRUSTED_REGISTRY;
use crate::scratch;
use crate::wait;

/// The file that the agent publishes, on a real HDFS.
#[derive(Debug)]
pub struct Published {
    client: HdfsClient,
    directory: String,
    path: String,
    _lease: Option<SharedHdfs>,
}

impl Published {
    /// A file in a new directory with this owner and mode on the shared HDFS.
    pub async fn shared(owner: &str, mode: &str) -> Result<Self, Error> {
        let hdfs = SharedHdfs::join(owner, mode).await?;
        let (client, directory) = (hdfs.client().clone(), hdfs.directory().to_owned());
        Ok(Self { _lease: Some(hdfs), ..Self::on(client, &directory) })
    }

    /// A file in `directory` of another HDFS.
    pub fn on(client: HdfsClient, directory: &str) -> Self {
        Self {
            client,
            path: format!("{directory}/config.json"),
            directory: directory.to_owned(),
            _lease: None,
        }
    }

    pub fn client(&self) -> &HdfsClient {
        &self.client
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// The path of `name` in the file's directory.
    pub fn beside(&self, name: &str) -> String {
        format!("{}/{name}", self.directory)
    }

    pub async fn text(&self) -> Result<String, Error> {
        self.text_of(&self.path).await
    }

    pub async fn text_of(&self, path: &str) -> Result<String, Error> {
        self.shell(&["-cat", path]).await
    }

    pub async fn json(&self) -> Result<Value, Error> {
        parse(self.path.clone(), self.text().await?)
    }

    /// Replaces the file, as another user of the cluster would.
    pub async fn put(&self, text: &str) -> Result<(), Error> {
        let directory = scratch::directory("put")?;
        let local = directory.path().join("config.json");
        fs::write(&local, text).map_err(|source| Error::File { path: local.clone(), source })?;
        let local = local.display().to_string();
        // The put fails if the agent recreates the file between the shell's deletion and its rename.
        wait::until("the put", SOON, async || self.shell(&["-put", "-f", &local, &self.path]).await).await?;
        Ok(())
    }

    /// Runs `hadoop fs` with these arguments as the superuser, who bypasses all permissions.
    pub async fn shell(&self, args: &[&str]) -> Result<String, Error> {
        Ok(self.client.fs_shell(SUPERUSER, args).await?)
    }

    /// The mode, owner and group, such as `-rw-r--r-- hadoop hadoop`.
    pub async fn attributes(&self) -> Result<String, Error> {
        Ok(self.shell(&["-stat", "%A %u %g", &self.path]).await?.trim().to_owned())
    }

    /// What is in the file's directory, sorted by name, without the nodes' notes.
    pub async fn entries(&self) -> Result<Vec<Entry>, Error> {
        let listing = self.shell(&["-ls", &self.directory]).await?;
        let entries = listing.lines().filter_map(Entry::parse);
        Ok(entries.filter(|entry| entry.name != ".emr-ecr-agent").collect())
    }

    /// The names in the file's directory, without the nodes' notes and the refresh lock, which a running agent may
    /// release after the node is ready.
    pub async fn names(&self) -> Result<Vec<String>, Error> {
        let entries = self.entries().await?.into_iter();
        Ok(entries.filter(|entry| !entry.is_lock()).map(|entry| entry.name).collect())
    }

    /// Waits until the file has this `auth` for `registry`.
    pub async fn wait_for_auth(&self, registry: &str, auth: &str) -> Result<Value, Error> {
        let document = wait::until("the token in the published file", SOON, async || {
            let document = self.json().await.map_err(|error| error.to_string())?;
            if document["auths"][registry]["auth"] == auth {
                Ok(document)
            } else {
                Err("it has another or none".to_owned())
            }
        })
        .await?;
        Ok(document)
    }
}

/// A line of `hadoop fs -ls`.
#[derive(Debug)]
pub struct Entry {
    pub name: String,
    /// Such as `-rw-r--r--`.
    pub mode: String,
    pub owner: String,
}

impl Entry {
    fn parse(line: &str) -> Option<Self> {
        let [mode, _, owner, _, _, _, _, path] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            return None;
        };
        let name = path.rsplit('/').next().unwrap_or_default();
        Some(Self { name: name.to_owned(), mode: mode.to_owned(), owner: owner.to_owned() })
    }

    pub fn is_lock(&self) -> bool {
        self.name.ends_with(".emr-ecr-agent-lock")
    }
}

/// A document as an agent would have published it, with this `auth` and these times for the trusted registry.
pub fn planted(auth: &str, issued_at: Timestamp, expires_at: Timestamp) -> String {
    json!({
        "auths": { TRUSTED_REGISTRY: { "auth": auth } },
        "emr-ecr-agent": {
            "publisher": "mallory",
            "published_at": issued_at,
            "issued_at": { TRUSTED_REGISTRY: issued_at },
            "expires_at": { TRUSTED_REGISTRY: expires_at },
        },
    })
    .to_string()
}
