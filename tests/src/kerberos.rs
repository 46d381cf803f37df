//! A realm on loopback: MIT's KDC, the principals of HDFS, YARN, the agent and a user, and their keytabs.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::parts::{Missing, Part};
use crate::ports::{self, Port};
use crate::process::{self, Server};
use crate::scratch;

pub const REALM: &str = "EXAMPLE.COM";
/// The principal of HDFS's servers.
pub const SERVICE: &str = "hdfs/localhost@EXAMPLE.COM";
/// The principal of HDFS's web servers.
pub const WEB: &str = "HTTP/localhost@EXAMPLE.COM";
/// The principal of YARN's servers.
pub const YARN: &str = "yarn/localhost@EXAMPLE.COM";
/// The principal of a user without any rights.
pub const ALICE: &str = "alice@EXAMPLE.COM";
/// The principal of the agent.
pub const AGENT: &str = "hadoop/node@EXAMPLE.COM";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Missing(#[from] Missing),
    #[error(transparent)]
    Scratch(#[from] scratch::Error),
    #[error(transparent)]
    Port(#[from] ports::Error),
    #[error(transparent)]
    Process(#[from] process::Error),
    #[error("cannot write {}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("cannot run {program}")]
    Run { program: String, source: io::Error },
    #[error("{program} failed: {message}")]
    Refused { program: String, message: String },
}

/// The realm. Dropping it stops the KDC and removes the files.
#[derive(Debug)]
pub struct Realm {
    // Fields drop in this order: the server must end before its files go.
    kdc: Option<Server>,
    part: Part,
    home: scratch::Directory,
    port: Port,
}

impl Realm {
    /// Creates the realm and starts its KDC. The agent's tickets live for `ticket_life`, the servers' for a day.
    pub async fn start(ticket_life: Duration) -> Result<Self, Error> {
        let part = Part::kerberos()?;
        let mut realm = Self { kdc: None, part, home: scratch::directory("realm")?, port: Port::reserve()? };
        realm.write_conf()?;
        realm.run("kdb5_util", &["create", "-s", "-P", "master", "-r", REALM])?;
        for (principal, keytab) in [
            (SERVICE, "hdfs.keytab"),
            (WEB, "hdfs.keytab"),
            (AGENT, "agent.keytab"),
            (YARN, "yarn.keytab"),
            (ALICE, "alice.keytab"),
        ] {
            let path = realm.path(keytab).display().to_string();
            realm.run("kadmin.local", &["addprinc", "-randkey", principal])?;
            realm.run("kadmin.local", &["ktadd", "-k", &path, principal])?;
        }
        let life = format!("{} seconds", ticket_life.as_secs());
        realm.run("kadmin.local", &["modprinc", "-maxlife", &life, AGENT])?;
        realm.start_kdc().await?;
        Ok(realm)
    }

    /// The clients' configuration.
    pub fn krb5_conf(&self) -> PathBuf {
        self.path("krb5.conf")
    }

    /// The keys of HDFS's servers.
    pub fn service_keytab(&self) -> PathBuf {
        self.path("hdfs.keytab")
    }

    /// The keys of YARN's servers.
    pub fn yarn_keytab(&self) -> PathBuf {
        self.path("yarn.keytab")
    }

    pub fn agent_keytab(&self) -> PathBuf {
        self.path("agent.keytab")
    }

    /// The directory with the libraries that clients load.
    pub fn libraries(&self) -> PathBuf {
        self.part.path("lib")
    }

    /// Kills the KDC: from then on there are no new tickets.
    pub fn stop_kdc(&mut self) {
        self.kdc = None;
    }

    pub async fn start_kdc(&mut self) -> Result<(), Error> {
        let mut command = process::bound_to_parent(&self.part.path("bin/krb5kdc"));
        command.arg("-n").envs(self.environment());
        let mut kdc = Server::start("the KDC", command, &self.path("kdc-process.log"))?;
        kdc.wait_for_port(self.port.address(), START).await?;
        self.kdc = Some(kdc);
        Ok(())
    }

    /// Gets tickets for the service principal from its keytab into a file, for Hadoop's own clients.
    pub fn service_tickets(&self) -> Result<PathBuf, Error> {
        self.tickets("hdfs", SERVICE)
    }

    /// Like [`Realm::service_tickets`], for the user.
    pub fn alices_tickets(&self) -> Result<PathBuf, Error> {
        self.tickets("alice", ALICE)
    }

    fn tickets(&self, name: &str, principal: &str) -> Result<PathBuf, Error> {
        let cache = self.path(&format!("{name}.tickets"));
        let keytab = self.path(&format!("{name}.keytab")).display().to_string();
        self.run("kinit", &["-k", "-t", &keytab, "-c", &cache.display().to_string(), principal])?;
        Ok(cache)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn run(&self, program: &str, args: &[&str]) -> Result<(), Error> {
        let mut command = Command::new(self.part.path("bin").join(program));
        let output = command
            .args(args)
            .envs(self.environment())
            .stdin(Stdio::null())
            .output()
            .map_err(|source| Error::Run { program: program.to_owned(), source })?;
        if output.status.success() {
            return Ok(());
        }
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Error::Refused { program: format!("{program} {}", args[0]), message })
    }

    fn environment(&self) -> [(&'static str, PathBuf); 3] {
        [
            ("KRB5_CONFIG", self.krb5_conf()),
            ("KRB5_KDC_PROFILE", self.path("kdc.conf")),
            ("LD_LIBRARY_PATH", self.libraries()),
        ]
    }

    fn write_conf(&self) -> Result<(), Error> {
        let address = self.port.address();
        write(&self.krb5_conf(), &krb5_conf(address))?;
        let kdc_conf = kdc_conf(self.home.path(), &self.part.path("plugins/kdb"), address);
        write(&self.path("kdc.conf"), &kdc_conf)
    }
}

const START: Duration = Duration::from_secs(30);

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|source| Error::File { path: path.to_owned(), source })
}

/// Uses TCP, so that clients notice at once when the KDC is gone. Disables canonicalization: a test node is named by
/// its address, whose end would count as localhost's domain.
fn krb5_conf(kdc: SocketAddr) -> String {
    format!(
        "[libdefaults]
default_realm = {REALM}
dns_lookup_kdc = false
dns_lookup_realm = false
dns_canonicalize_hostname = false
rdns = false
qualify_shortname = \"\"
udp_preference_limit = 1
[realms]
{REALM} = {{
  kdc = {kdc}
}}
[domain_realm]
localhost = {REALM}
"
    )
}

fn kdc_conf(home: &Path, plugins: &Path, kdc: SocketAddr) -> String {
    let (home, plugins) = (home.display(), plugins.display());
    format!(
        "[kdcdefaults]
kdc_listen = \"\"
kdc_tcp_listen = {kdc}
[realms]
{REALM} = {{
  database_name = {home}/principal
  key_stash_file = {home}/stash
  acl_file = {home}/acl
  max_life = 1d
}}
[dbmodules]
db_module_dir = {plugins}
[logging]
kdc = FILE:{home}/kdc.log
"
    )
}
