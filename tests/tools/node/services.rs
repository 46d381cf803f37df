//! The services around the node (HDFS, ECR, instance metadata), and checks of the agent from outside.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use emr_ecr_agent_tests::ecr::{Ecr, Issued};
use emr_ecr_agent_tests::hdfs::SharedHdfs;
use emr_ecr_agent_tests::imds::Imds;
use emr_ecr_agent_tests::node::TRUSTED_REGISTRY;
use emr_ecr_agent_tests::ports::Port;
use emr_ecr_agent_tests::testbed::TWELVE_HOURS;
use emr_ecr_agent_tests::{http, wait};
use hyper::StatusCode;
use jiff::Timestamp;
use serde_json::Value;

use crate::machine::Machine;
use crate::{Outcome, ensure};

/// Long enough for anything the agent does on its own; its passes are a minute apart.
pub(crate) const SOON: Duration = Duration::from_secs(90);

pub(crate) struct Services<Filesystem = SharedHdfs> {
    pub ecr: Ecr,
    pub imds: Imds,
    pub hdfs: Filesystem,
    issued: Arc<Mutex<Vec<Issued>>>,
    port: Port,
}

impl<Filesystem> Services<Filesystem> {
    pub(crate) async fn around(hdfs: Filesystem) -> Outcome<Self> {
        let ecr = Ecr::start(TWELVE_HOURS).await?;
        let issued: Arc<Mutex<Vec<Issued>>> = Arc::default();
        let list = Arc::clone(&issued);
        ecr.on_issue(move |token| list.lock().unwrap_or_else(PoisonError::into_inner).push(token.clone()));
        Ok(Self { ecr, issued, imds: Imds::start("us-east-1").await?, hdfs, port: Port::reserve()? })
    }

    /// The address of the health endpoint.
    pub(crate) fn listen(&self) -> SocketAddr {
        self.port.address()
    }

    /// Points the node's AWS clients to these services.
    pub(crate) fn write_environment(&self, node: &Machine) -> Outcome {
        let (ecr, imds) = (self.ecr.address(), self.imds.address());
        node.write(
            "/etc/emr-ecr-agent/environment",
            0o644,
            &format!("AWS_ENDPOINT_URL_ECR=http://{ecr}\nAWS_EC2_METADATA_SERVICE_ENDPOINT=http://{imds}\n"),
        )
    }

    pub(crate) async fn status(&self) -> Outcome<Value> {
        let answer = http::get(self.listen(), "/status").await?;
        Ok(serde_json::from_slice(&answer.body)?)
    }

    pub(crate) async fn wait_for_answer(&self, path: &str, wanted: StatusCode) -> Outcome {
        let what = format!("{wanted} from {path}");
        let answered = wait::until(&what, SOON, async || {
            let answer = http::get(self.listen(), path).await.map_err(|error| error.to_string())?;
            if answer.status == wanted { Ok(()) } else { Err(answer.text()) }
        });
        Ok(answered.await?)
    }

    pub(crate) async fn wait_ready(&self) -> Outcome {
        self.wait_for_answer("/readyz?verbose", StatusCode::OK).await
    }

    /// All tokens that ECR has issued.
    pub(crate) fn issued(&self) -> Vec<Issued> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns an error unless the document has a valid credential. It need not be the newest: an agent that starts
    /// requests a token, but leaves a fresh file alone.
    pub(crate) fn is_good(&self, document: &str) -> Outcome {
        let document: Value = serde_json::from_str(document)?;
        let auth = &document["auths"][TRUSTED_REGISTRY]["auth"];
        let lives = |token: &Issued| *auth == token.auth() && token.expires_at > Timestamp::now();
        ensure(self.issued().iter().any(lives), || "it has no valid credential".to_owned())
    }
}

impl Services {
    pub(crate) async fn start() -> Outcome<Self> {
        // Like /user/hadoop on EMR.
        Self::around(SharedHdfs::join("hadoop:hdfsadmingroup", "0777").await?).await
    }

    /// The published path.
    pub(crate) fn published(&self) -> String {
        self.hdfs.path("config.json")
    }

    /// The installer's options for these services.
    pub(crate) fn options(&self) -> String {
        format!("--hdfs-path {} --listen {}", self.published(), self.listen())
    }

    /// Reads the published file as the NodeManagers' user and checks it.
    pub(crate) async fn published_is_good(&self) -> Outcome {
        let text = self.hdfs.client().fs_shell("yarn", &["-cat", &self.published()]).await?;
        self.is_good(&text)
    }

    /// Reads and checks the published file continuously while `work` runs. Also returns the number of reads.
    pub(crate) async fn while_reading<T>(
        &self,
        work: impl Future<Output = Outcome<T>>,
    ) -> Outcome<(T, usize)> {
        tokio::pin!(work);
        let mut reads = 0;
        loop {
            tokio::select! {
                // Poll the work first, so that the loop ends with it.
                biased;
                done = &mut work => return Ok((done?, reads)),
                read = self.published_is_good() => {
                    read?;
                    reads += 1;
                }
            }
        }
    }
}
