//! The environment of one test: a node, stand-ins for AWS, and the agent's settings, which the test can change
//! before the agent starts and while it runs.
//!
//! [`Testbed`] needs no real part; [`Published`] is the agent's file on a real HDFS.

pub mod identities;
mod published;

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::time::timeout;

pub use crate::node::Settings;
pub use published::{Published, planted};

use crate::agent::{self, Agent};
use crate::ecr::Ecr;
use crate::hdfs::{self, Hdfs};
use crate::http;
use crate::imds::Imds;
use crate::listener;
use crate::node::{self, AwsEndpoints, Node, REGION, TRUSTED_REGISTRY};
use crate::parts::{self, Part};
use crate::ports::{self, Port};
use crate::process::{self, Finished};
use crate::scratch;
use crate::site;
use crate::tls::TlsProxy;
use crate::wait::{self, TimedOut};

/// The result of tests and their helpers. Errors can cross threads, so that the rows of a table can run in parallel.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Long enough for anything the agent does on its own, on a machine that is busy with other tests.
pub const SOON: Duration = Duration::from_secs(90);
/// The real service's token life.
pub const TWELVE_HOURS: SignedDuration = SignedDuration::from_hours(12);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Agent(#[from] agent::Error),
    #[error(transparent)]
    Hdfs(#[from] hdfs::Error),
    #[error(transparent)]
    Http(#[from] http::Error),
    #[error(transparent)]
    Listener(#[from] listener::Error),
    #[error(transparent)]
    Node(#[from] node::Error),
    #[error(transparent)]
    Port(#[from] ports::Error),
    #[error(transparent)]
    Scratch(#[from] scratch::Error),
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
    #[error("cannot write {}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("cannot run the agent with {args}")]
    Run { args: String, source: std::io::Error },
    #[error("{what} is not JSON: {text}")]
    NotJson { what: String, text: String, source: serde_json::Error },
}

/// The environment of one agent.
#[derive(Debug)]
pub struct Testbed {
    pub ecr: Ecr,
    pub imds: Imds,
    pub node: Node,
    pub settings: Settings,
    /// Additional environment variables of the daemon.
    pub environment: Vec<(&'static str, PathBuf)>,
    port: Port,
    _conf: Option<scratch::Directory>,
}

impl Testbed {
    /// A node whose core-site.xml names no file system: everything but the published file can be fresh.
    pub async fn without_hdfs() -> Result<Self, Error> {
        Self::with_core_site(&[]).await
    }

    async fn with_core_site(properties: &[(&str, &str)]) -> Result<Self, Error> {
        let conf = scratch::directory("conf")?;
        for (name, properties) in [("core-site.xml", properties), ("hdfs-site.xml", &[])] {
            let path = conf.path().join(name);
            site::write(&path, properties).map_err(|source| Error::File { path, source })?;
        }
        let testbed = Self::on(conf.path(), "/user/hadoop/config.json").await?;
        Ok(Self { _conf: Some(conf), ..testbed })
    }

    /// Sends the agent's HTTPS requests through this proxy and makes the agent trust its certificates.
    pub fn use_proxy(&mut self, proxy: &TlsProxy) -> Result<(), Error> {
        self.node.write("authority.pem", proxy.authority())?;
        self.environment = vec![
            ("HTTPS_PROXY", format!("http://{}", proxy.address()).into()),
            ("SSL_CERT_FILE", self.node.path("authority.pem")),
        ];
        Ok(())
    }

    /// A node that publishes to a private directory on the shared HDFS. `None` with a message if the part is missing.
    pub async fn with_hdfs() -> Result<Option<(Self, Published)>, Error> {
        if !parts::present([Part::hadoop()]) {
            return Ok(None);
        }
        let published = Published::shared("hadoop", "0755").await?;
        Ok(Some((Self::publishing(&published).await?, published)))
    }

    /// A node that publishes to an HDFS for this test alone. `None`, with a message, if the part is missing.
    pub async fn with_own_hdfs() -> Result<Option<(Self, Published, Hdfs)>, Error> {
        if !parts::present([Part::hadoop()]) {
            return Ok(None);
        }
        let hdfs = Hdfs::start().await?.with_shared_shell();
        let published = Published::on(hdfs.client().clone(), "/user/hadoop");
        Ok(Some((Self::publishing(&published).await?, published, hdfs)))
    }

    /// A node whose NameNode is the returned listener, which accepts connections and never responds.
    pub async fn with_silent_namenode() -> Result<(Self, TcpListener), Error> {
        let failed = |source| Error::Listener(listener::Error::Bind { source });
        let namenode = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let uri = format!("hdfs://{}", namenode.local_addr().map_err(failed)?);
        Ok((Self::with_core_site(&[("fs.defaultFS", &uri)]).await?, namenode))
    }

    /// A node that publishes to a private directory on the shared HDFS, whose first NameNode by its configuration is
    /// the returned listener, which never responds. `None` with a message if the part is missing.
    pub async fn with_silent_first_namenode() -> Result<Option<(Self, Published, TcpListener)>, Error> {
        if !parts::present([Part::hadoop()]) {
            return Ok(None);
        }
        let failed = |source| Error::Listener(listener::Error::Bind { source });
        let silent = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let published = Published::shared("hadoop", "0755").await?;
        let address = silent.local_addr().map_err(failed)?.to_string();
        let properties = [
            ("fs.defaultFS", "hdfs://ha"),
            // As operators write lists.
            ("dfs.ha.namenodes.ha", "silent, real"),
            ("dfs.namenode.rpc-address.ha.silent", &address),
            ("dfs.namenode.rpc-address.ha.real", published.client().authority()),
        ];
        let mut testbed = Self::with_core_site(&properties).await?;
        testbed.settings.set("published.path", published.path());
        Ok(Some((testbed, published, silent)))
    }

    /// A node that publishes to this file.
    pub async fn publishing(published: &Published) -> Result<Self, Error> {
        Self::on(published.client().conf_dir(), published.path()).await
    }

    /// A node with the core-site.xml and hdfs-site.xml of `hdfs_conf`.
    pub async fn on(hdfs_conf: &Path, published: &str) -> Result<Self, Error> {
        let (ecr, imds) = (Ecr::start(TWELVE_HOURS).await?, Imds::start(REGION).await?);
        let node = Node::new(hdfs_conf)?;
        node.write_aws_config(AwsEndpoints { ecr: ecr.address(), imds: imds.address() })?;
        let port = Port::reserve()?;
        let settings = Settings::of(&node, published, port.address());
        Ok(Self { ecr, imds, node, settings, environment: Vec::new(), port, _conf: None })
    }

    pub fn write_settings(&self) -> Result<(), Error> {
        Ok(self.node.write_settings(&self.settings)?)
    }

    /// Starts the daemon with the current settings.
    pub fn start(&self) -> Result<Agent, Error> {
        self.write_settings()?;
        Ok(Agent::start_with(&self.node, self.port.address(), &self.environment)?)
    }

    /// Starts the daemon and waits until it is ready.
    pub async fn start_ready(&self) -> Result<Agent, Error> {
        let mut agent = self.start()?;
        agent.wait_ready(SOON).await?;
        Ok(agent)
    }

    /// The address of the health endpoint.
    pub fn listen(&self) -> std::net::SocketAddr {
        self.port.address()
    }

    /// Runs another command of the agent to completion, with the current settings.
    pub async fn run(&self, args: &[&str]) -> Result<Finished, Error> {
        self.write_settings()?;
        let config = self.node.agent_toml().display().to_string();
        let args: Vec<&str> = args.iter().copied().chain(["--config", &config]).collect();
        self.run_plainly(&args).await
    }

    /// Runs the agent's binary with only these arguments.
    pub async fn run_plainly(&self, args: &[&str]) -> Result<Finished, Error> {
        let failed = |source| Error::Run { args: args.join(" "), source };
        let mut command = agent::command(&self.node)?;
        command.args(args);
        timeout(SOON * 2, process::run(command)).await.map_err(|late| failed(late.into()))?.map_err(failed)
    }

    /// Waits until the node's Docker config has the newest token of the trusted registry and satisfies `wanted`.
    pub async fn wait_for_docker_config(&self, wanted: impl Fn(&Value) -> bool) -> Result<(), TimedOut> {
        wait::until("the Docker config", SOON, async || {
            let config = self.docker_config().map_err(|error| error.to_string())?;
            let auth = self.ecr.newest(REGION).map(|token| token.auth()).unwrap_or_default();
            let matches = config["auths"][TRUSTED_REGISTRY]["auth"] == auth && wanted(&config);
            if matches { Ok(()) } else { Err("its content is different".to_owned()) }
        })
        .await
    }

    /// The node's own Docker config.
    pub fn docker_config(&self) -> Result<Value, Error> {
        let path = self.node.docker_config();
        let what = path.display().to_string();
        let text = std::fs::read_to_string(&path).map_err(|source| Error::File { path, source })?;
        parse(what, text)
    }
}

impl Finished {
    /// The standard output as JSON.
    pub fn json(&self) -> Result<Value, Error> {
        parse("standard output".to_owned(), self.out.clone())
    }
}

/// Waits until `wanted` finds a value in the agent's status, and returns it.
pub async fn shown<T>(
    agent: &Agent,
    what: &str,
    mut wanted: impl FnMut(&Value) -> Option<T>,
) -> Result<T, TimedOut> {
    agent.wait_for_status(what, SOON, |status| wanted(status).ok_or_else(|| status.to_string())).await
}

/// Waits until the node's Docker config, the first sink, is fresh.
pub async fn docker_config_fresh(agent: &Agent) -> Result<(), TimedOut> {
    shown(agent, "a fresh Docker config", |status| (status["sinks"][0]["fresh"] == true).then_some(())).await
}

/// Waits for an error about the node's Docker config, and returns it.
pub async fn docker_config_error(agent: &Agent) -> Result<String, TimedOut> {
    shown(agent, "an error", |status| status["sinks"][0]["error"].as_str().map(str::to_owned)).await
}

/// Waits for an error about the published file, the sink after a single Docker config, and returns it.
pub async fn hdfs_error(agent: &Agent) -> Result<String, TimedOut> {
    shown(agent, "an error on HDFS", |status| status["sinks"][1]["error"].as_str().map(str::to_owned)).await
}

/// Waits until the first registry's token request has failed, and returns the error.
pub async fn token_error(agent: &Agent) -> Result<String, TimedOut> {
    shown(agent, "a token error", |status| status["registries"][0]["last_error"].as_str().map(str::to_owned))
        .await
}

/// Waits until the first registry has a token and no error, and the sinks have the token.
pub async fn wait_for_token(agent: &Agent) -> Result<(), Error> {
    shown(agent, "a token", |status| {
        let registry = &status["registries"][0];
        (registry["expires_at"].is_string() && registry["last_error"].is_null()).then_some(())
    })
    .await?;
    // The status shows a token before the sinks have it.
    passes(agent, 1).await
}

/// Waits until the agent, whose fault has just been removed, is ready; checks that this took two passes, apart from
/// the one under way and the one that may begin before the caller notices.
pub async fn recovers(agent: &mut Agent) -> Result<(), Error> {
    recovers_until(agent, async || Ok(())).await
}

/// Like [`recovers`], with an additional condition for the recovery.
pub async fn recovers_until(
    agent: &mut Agent,
    mut recovered: impl AsyncFnMut() -> Result<(), String>,
) -> Result<(), Error> {
    let before = passes_so_far(agent).await?;
    // As of the last probe that failed: noticing the recovery may take a busy test longer than a pass.
    let mut failing = before;
    wait::until("recovery", SOON, async || {
        let passes = passes_so_far(agent).await.map_err(|error| error.to_string())?;
        let readiness = agent.get("/readyz").await.map_err(|error| error.to_string())?;
        let probe = if readiness.status.is_success() { recovered().await } else { Err(readiness.text()) };
        if probe.is_err() {
            failing = passes;
        }
        probe
    })
    .await?;
    let passes = failing - before;
    assert!(passes <= 4, "it took more than {passes} passes to recover");
    Ok(())
}

/// Waits for `count` more passes, after which the agent has done everything it would do.
pub async fn passes(agent: &Agent, count: u64) -> Result<(), Error> {
    passes_after(agent, passes_so_far(agent).await?, count).await
}

/// Triggers a pass with SIGHUP and waits for its end.
pub async fn provoke_pass(agent: &Agent) -> Result<(), Error> {
    let before = passes_so_far(agent).await?;
    agent.signal(Signal::SIGHUP)?;
    passes_after(agent, before, 1).await
}

async fn passes_after(agent: &Agent, before: u64, count: u64) -> Result<(), Error> {
    wait::until("more passes", SOON, async || match passes_so_far(agent).await {
        Ok(now) if now >= before + count => Ok(()),
        Ok(now) => Err(format!("{} of {count}", now - before)),
        Err(error) => Err(error.to_string()),
    })
    .await?;
    Ok(())
}

async fn passes_so_far(agent: &Agent) -> Result<u64, Error> {
    Ok(count_passes(&agent.get("/metrics").await?.text()))
}

/// The number of passes, from the metrics.
pub(crate) fn count_passes(metrics: &str) -> u64 {
    let counts = metrics.lines().filter_map(|line| line.strip_prefix("emr_ecr_agent_passes_total{"));
    counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// How often the agent has reconciled its sinks of this kind, from the metrics; `None` before the first time.
pub fn count_reconciliations(metrics: &str, kind: &str) -> Option<u64> {
    let count = format!("emr_ecr_agent_reconcile_duration_seconds_count{{sink=\"{kind}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&count)?.parse().ok())
}

fn parse(what: String, text: String) -> Result<Value, Error> {
    serde_json::from_str(&text).map_err(|source| Error::NotJson { what, text, source })
}
