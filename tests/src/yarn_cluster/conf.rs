//! The site files of ResourceManager and NodeManager.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Error;
use super::partition::Partition;
use crate::kerberos;
use crate::ports::Port;
use crate::site;

/// The group that may run container-executor, which is also the NodeManager's own.
pub(super) const YARN: &str = "yarn";

/// The addresses a ResourceManager listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    clients: SocketAddr,
    schedulers: SocketAddr,
    trackers: SocketAddr,
    admins: SocketAddr,
    pub web: SocketAddr,
}

impl Addresses {
    pub(super) fn reserve() -> Result<[Port; 5], Error> {
        let port = Port::reserve;
        Ok([port()?, port()?, port()?, port()?, port()?])
    }

    pub(super) fn of(ports: &[Port; 5]) -> Self {
        let [clients, schedulers, trackers, admins, web] = ports.each_ref().map(Port::address);
        Self { clients, schedulers, trackers, admins, web }
    }

    fn properties(&self) -> Vec<(String, String)> {
        let property = |name: &str, at: SocketAddr| (format!("yarn.resourcemanager.{name}"), at.to_string());
        vec![
            property("address", self.clients),
            property("scheduler.address", self.schedulers),
            property("resource-tracker.address", self.trackers),
            property("admin.address", self.admins),
            property("webapp.address", self.web),
        ]
    }
}

/// The settings of a server with this keytab; every server must know the ResourceManager's principal.
fn with_kerberos(server: &str, keytab: Option<PathBuf>) -> Vec<(String, String)> {
    let Some(keytab) = keytab else { return Vec::new() };
    own([
        ("yarn.resourcemanager.principal".to_owned(), kerberos::YARN.to_owned()),
        (format!("yarn.{server}.principal"), kerberos::YARN.to_owned()),
        (format!("yarn.{server}.keytab"), text(&keytab)),
    ])
}

pub(super) fn write_resource_manager(
    conf_dir: &Path,
    addresses: &Addresses,
    keytab: Option<PathBuf>,
) -> Result<(), Error> {
    let mut properties = addresses.properties();
    properties.extend(with_kerberos("resourcemanager", keytab));
    properties.extend(own([
        // Requests name their user in the query.
        ("hadoop.http.filter.initializers", "org.apache.hadoop.security.AuthenticationFilterInitializer"),
        ("hadoop.http.authentication.type", "simple"),
        ("hadoop.http.authentication.simple.anonymous.allowed", "true"),
        ("yarn.resourcemanager.nodemanagers.heartbeat-interval-ms", "200"),
        ("yarn.resourcemanager.am.max-attempts", "1"),
        ("yarn.scheduler.minimum-allocation-mb", "128"),
        ("yarn.node-labels.enabled", "true"),
    ]));
    for store in ["node-labels", "node-attribute"] {
        let directory = format!("file://{}", conf_dir.with_file_name(store).display());
        properties.push((format!("yarn.{store}.fs-store.root-dir"), directory));
    }
    write(&conf_dir.join("yarn-site.xml"), &properties)?;
    write(&conf_dir.join("capacity-scheduler.xml"), &scheduler())
}

/// One queue, which may use every node entirely.
fn scheduler() -> Vec<(String, String)> {
    const ROOT: &str = "yarn.scheduler.capacity.root";
    let mut properties = own([
        (format!("{ROOT}.queues"), "default"),
        (format!("{ROOT}.default.capacity"), "100"),
        (format!("{ROOT}.accessible-node-labels"), "*"),
        (format!("{ROOT}.default.accessible-node-labels"), "*"),
        // Most containers here are application masters.
        ("yarn.scheduler.capacity.maximum-am-resource-percent".to_owned(), "1"),
        (format!("{ROOT}.default.maximum-am-resource-percent"), "1"),
    ]);
    for label in Partition::labels() {
        properties.extend(own([
            (format!("{ROOT}.accessible-node-labels.{label}.capacity"), "100"),
            (format!("{ROOT}.default.accessible-node-labels.{label}.capacity"), "100"),
            (format!("{ROOT}.default.accessible-node-labels.{label}.maximum-am-resource-percent"), "1"),
        ]));
    }
    properties
}

/// A NodeManager's settings in addition to the addresses.
pub(super) struct NodeManagerConf<'a> {
    pub host: &'a str,
    pub port: u16,
    pub web_port: u16,
    pub container_executor: &'a Path,
    pub local_dir: &'a Path,
    pub log_dir: &'a Path,
    pub recovery_dir: &'a Path,
    pub keytab: Option<PathBuf>,
}

impl NodeManagerConf<'_> {
    pub(super) fn write(self, conf_dir: &Path, addresses: &Addresses) -> Result<(), Error> {
        let at = |port: u16| format!("{}:{port}", self.host);
        let mut properties = addresses.properties();
        properties.extend(with_kerberos("nodemanager", self.keytab));
        properties.extend(own([
            ("yarn.nodemanager.hostname", self.host.to_owned()),
            // The ResourceManager recognizes a restarted NodeManager by these.
            ("yarn.nodemanager.address", at(self.port)),
            ("yarn.nodemanager.webapp.address", at(self.web_port)),
            ("yarn.nodemanager.localizer.address", at(0)),
            ("yarn.nodemanager.recovery.dir", text(self.recovery_dir)),
            ("yarn.nodemanager.local-dirs", text(self.local_dir)),
            ("yarn.nodemanager.log-dirs", text(self.log_dir)),
            ("yarn.nodemanager.linux-container-executor.path", text(self.container_executor)),
        ]));
        properties.extend(own([
            // Its containers outlive it.
            ("yarn.nodemanager.recovery.enabled", "true"),
            ("yarn.nodemanager.recovery.supervised", "true"),
            ("yarn.nodemanager.linux-container-executor.group", YARN),
            ("yarn.nodemanager.linux-container-executor.nonsecure-mode.limit-users", "false"),
            (
                "yarn.nodemanager.container-executor.class",
                "org.apache.hadoop.yarn.server.nodemanager.LinuxContainerExecutor",
            ),
            ("yarn.nodemanager.runtime.linux.allowed-runtimes", "default,docker"),
            ("yarn.nodemanager.runtime.linux.docker.allowed-container-networks", "host,none"),
            ("yarn.nodemanager.runtime.linux.docker.default-container-network", "host"),
            ("yarn.nodemanager.runtime.linux.docker.capabilities", "SYS_CHROOT"),
            ("yarn.nodemanager.runtime.linux.docker.image-update", "false"),
            (
                "yarn.nodemanager.runtime.linux.docker.default-ro-mounts",
                "/etc/passwd:/etc/passwd,/etc/group:/etc/group",
            ),
            ("yarn.nodemanager.env-whitelist", "JAVA_HOME"),
            ("yarn.nodemanager.resource.memory-mb", "4096"),
            ("yarn.nodemanager.resource.cpu-vcores", "8"),
            ("yarn.nodemanager.pmem-check-enabled", "false"),
            ("yarn.nodemanager.vmem-check-enabled", "false"),
            // A full disk on this machine must not affect the tests.
            ("yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage", "99.9"),
        ]));
        write(&conf_dir.join("yarn-site.xml"), &properties)
    }
}

fn own<const N: usize>(properties: [(impl Display, impl Display); N]) -> Vec<(String, String)> {
    properties.into_iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn write(path: &Path, properties: &[(String, String)]) -> Result<(), Error> {
    let borrowed: Vec<(&str, &str)> =
        properties.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    site::write(path, &borrowed).map_err(|source| Error::File {
        operation: "write",
        path: path.to_owned(),
        source,
    })
}
