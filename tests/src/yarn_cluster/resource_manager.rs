//! The ResourceManager and its REST interface.

use std::fs;
use std::path::Path;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::Value;

use super::conf::{self, Addresses};
use super::{Error, Launch, Launched};
use crate::hdfs::{HdfsClient, Jvm};
use crate::http::{self, Call};
use crate::parts::Part;
use crate::process::Server;
use crate::scratch;
use crate::wait;

const MAIN: &str = "org.apache.hadoop.yarn.server.resourcemanager.ResourceManager";
const START: Duration = Duration::from_secs(120);
/// The longest that a container here takes, on a busy machine.
const LAUNCH: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub(super) struct ResourceManager {
    // Fields drop in this order: the server ends before its files go.
    server: Server,
    addresses: Addresses,
    _home: scratch::Directory,
}

impl ResourceManager {
    pub(super) fn start(hdfs: &HdfsClient) -> Result<Self, Error> {
        let home = scratch::directory("resourcemanager")?;
        let conf_dir = home.path().join("conf");
        let addresses = Addresses::reserve()?;
        make_directory(&conf_dir)?;
        make_directory(&home.path().join("tmp"))?;
        for name in ["core-site.xml", "hdfs-site.xml", "log4j.properties"] {
            copy(&hdfs.conf_dir().join(name), &conf_dir.join(name))?;
        }
        conf::write_resource_manager(&conf_dir, &addresses)?;

        let jvm = Jvm::new(Part::hadoop()?, conf_dir);
        let command = jvm.command_with(&["-Xmx256m"], conf::YARN, MAIN);
        let log = home.path().join("resourcemanager.log");
        let server = Server::start("the ResourceManager", command, &log)?;
        Ok(Self { server, addresses, _home: home })
    }

    pub(super) fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Waits until this many nodes can take containers, as long as `they_run`.
    pub(super) async fn wait_for_nodes(
        &mut self,
        count: usize,
        mut they_run: impl FnMut() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let web = self.addresses.web();
        wait::until("the NodeManagers at the ResourceManager", START, async || {
            let all_run = self.server.still_runs().map_err(Error::from).and_then(|()| they_run());
            if let Err(ended) = all_run {
                return Ok(Err(ended));
            }
            let answer = http::get(web, "/ws/v1/cluster/metrics").await.map_err(|error| error.to_string())?;
            let metrics: Value = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
            match metrics["clusterMetrics"]["activeNodes"].as_u64() {
                Some(active) if active == count as u64 => Ok(Ok(())),
                active => Err(format!("{active:?} of {count}")),
            }
        })
        .await?
    }

    pub(super) async fn launch(&self, launch: &Launch) -> Result<Launched, Error> {
        let user = format!("?user.name={}", launch.user);
        let path = format!("/ws/v1/cluster/apps/new-application{user}");
        let application = self.call(Method::POST, &path, None, StatusCode::OK).await?;
        let application = application["application-id"].as_str().unwrap_or_default().to_owned();
        let body = launch.submission(&application);
        self.call(Method::POST, &format!("/ws/v1/cluster/apps{user}"), Some(&body), StatusCode::ACCEPTED)
            .await?;

        let what = format!("the end of {application}");
        let path = format!("/ws/v1/cluster/apps/{application}{user}");
        let report = wait::until(&what, LAUNCH, async || {
            let report = self
                .call(Method::GET, &path, None, StatusCode::OK)
                .await
                .map_err(|error| error.to_string())?;
            let report = &report["app"];
            match report["state"].as_str() {
                Some("FINISHED" | "FAILED" | "KILLED") => Ok(report.clone()),
                state => Err(format!("{state:?}: {}", report["diagnostics"])),
            }
        })
        .await?;
        Ok(Launched::of(application, &report))
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        expected: StatusCode,
    ) -> Result<Value, Error> {
        let mut call =
            Call::new(method.clone(), self.addresses.web(), path).header("accept", "application/json");
        if let Some(body) = body {
            call = call.header("content-type", "application/json").body(body.to_string());
        }
        let answer = call.send().await?;
        let refused =
            |text| Error::Refused { request: format!("{method} {path}"), status: answer.status, text };
        if answer.status != expected {
            return Err(refused(answer.text()));
        }
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer.body).map_err(|error| refused(error.to_string()))
    }
}

fn make_directory(path: &Path) -> Result<(), Error> {
    fs::create_dir(path).map_err(|source| Error::File {
        operation: "make the directory",
        path: path.to_owned(),
        source,
    })
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let copied = fs::copy(from, to);
    copied.map(drop).map_err(|source| Error::File { operation: "write", path: to.to_owned(), source })
}
