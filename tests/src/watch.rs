//! Samples a file and the agent's readiness throughout a fault test: what a launch would have found in the file at
//! each moment, and what health reported just before and after.
//!
//! Start it before the fault, and end it with [`Watch::end_well`] or, if the test itself damages the file, with
//! [`Watch::end_truthful`]. Its rate is limited; for volume use [`crate::readers`].

mod samples;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hdfs_native::{Client, ClientBuilder, HdfsError};
use hyper::StatusCode;
use jiff::Timestamp;
use tokio::runtime::{self, Runtime};
use tokio::time::{sleep, timeout};

use crate::http;
use crate::node::TRUSTED_REGISTRY;
use crate::testbed::{Published, Testbed, count_reconciliations};
use crate::yarn;
use samples::{Flaw, Sample, Summary, check_launch};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot start the watch")]
    Start { source: io::Error },
    #[error("cannot create an HDFS client")]
    Hdfs { source: HdfsError },
}

/// A running watch; it ends when dropped.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Summary>>,
}

impl Watch {
    /// Watches the published file as the NodeManagers' user, and `testbed`'s agent whenever it runs.
    pub fn over(testbed: &Testbed, published: &Published) -> Result<Self, Error> {
        let runtime = new_runtime()?;
        let client = published.client();
        // Needs its own runtime: by default a client uses the test's, which stands still while the test waits for
        // the watch to end.
        let client = ClientBuilder::new()
            .with_io_runtime(runtime.handle().clone())
            .with_config_dir(client.conf_dir().display().to_string())
            .with_url(client.uri(""))
            .with_user(yarn::USER)
            .build()
            .map_err(|source| Error::Hdfs { source })?;
        Self::start(
            runtime,
            testbed.listen(),
            Subject::Published { client, path: published.path().to_owned() },
        )
    }

    /// Watches the node's own Docker config.
    pub fn over_local(testbed: &Testbed) -> Result<Self, Error> {
        Self::start(new_runtime()?, testbed.listen(), Subject::Local(testbed.node.docker_config()))
    }

    /// Asserts that after the first good read the file was never missing, torn, without a credential or with an
    /// expired one, and that health was truthful.
    pub fn end_well(self) {
        let summary = self.end();
        assert!(summary.reads > summary.outages, "nothing was read: {summary:?}");
        assert!(summary.flaws.is_empty(), "{summary:?}");
        assert!(summary.false_ready.is_empty(), "{summary:?}");
    }

    /// Asserts that health never reported ready when a launch would have failed: not at all with an expired
    /// credential, otherwise not after enough reconciliations to notice.
    pub fn end_truthful(self) {
        let summary = self.end();
        assert!(summary.reads > 0 && summary.false_ready.is_empty(), "{summary:?}");
    }

    fn start(runtime: Runtime, agent: SocketAddr, subject: Subject) -> Result<Self, Error> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        // A separate thread, which the test cannot block.
        let watching = move || {
            let summary = runtime.block_on(watch(agent, &subject, &stopped));
            runtime.shutdown_background();
            summary
        };
        let thread = thread::Builder::new()
            .name("watch".to_owned())
            .spawn(watching)
            .map_err(|source| Error::Start { source })?;
        Ok(Self { stop, thread: Some(thread) })
    }

    fn end(mut self) -> Summary {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("only `end` takes it");
        thread.join().expect("the watch does not panic")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn new_runtime() -> Result<Runtime, Error> {
    runtime::Builder::new_current_thread().enable_all().build().map_err(|source| Error::Start { source })
}

/// The file to read.
#[derive(Debug)]
enum Subject {
    Published { client: Client, path: String },
    Local(PathBuf),
}

impl Subject {
    /// The kind as the metrics name it.
    fn kind(&self) -> &'static str {
        match self {
            Self::Published { .. } => "hdfs",
            Self::Local(_) => "local",
        }
    }

    async fn read(&self) -> Result<Vec<u8>, Flaw> {
        match self {
            Self::Local(path) => fs::read(path).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => Flaw::Missing,
                _ => Flaw::Outage(error.to_string()),
            }),
            Self::Published { client, path } => {
                let mut step = "the NameNode";
                let read = async {
                    let mut reader = client.read(path).await?;
                    step = "the DataNode";
                    let length = reader.file_length();
                    reader.read_bytes(length).await
                };
                match timeout(PATIENCE, read).await {
                    Err(_elapsed) => Err(Flaw::Silence(step)),
                    Ok(Err(HdfsError::FileNotFound(_))) => Err(Flaw::Missing),
                    Ok(Err(error)) => Err(Flaw::Outage(error.to_string())),
                    Ok(Ok(bytes)) => Ok(bytes.to_vec()),
                }
            }
        }
    }
}

async fn watch(agent: SocketAddr, subject: &Subject, stop: &AtomicBool) -> Summary {
    let mut summary = Summary::default();
    while !stop.load(Ordering::Relaxed) {
        let ready_before = is_ready(agent).await;
        // A stalled read may end after the token that it got has been replaced.
        let now = Timestamp::now();
        let launch = subject.read().await.and_then(|bytes| check_launch(&bytes, TRUSTED_REGISTRY, now));
        let ready = ready_before && is_ready(agent).await;
        let looked = if launch.is_err() { reconciliations(agent, subject).await } else { None };
        summary.note(Sample { launch, ready, looked });
        sleep(PACE).await;
    }
    summary
}

async fn is_ready(agent: SocketAddr) -> bool {
    let answer = timeout(PATIENCE, http::get(agent, "/readyz")).await;
    answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status == StatusCode::OK))
}

/// Passes do not count, since not every pass reads HDFS again.
async fn reconciliations(agent: SocketAddr, subject: &Subject) -> Option<u64> {
    let answer = timeout(PATIENCE, http::get(agent, "/metrics")).await.ok()?.ok()?;
    count_reconciliations(&answer.text(), subject.kind())
}

/// How long to wait for a response.
const PATIENCE: Duration = Duration::from_secs(3);
const PACE: Duration = Duration::from_millis(100);
