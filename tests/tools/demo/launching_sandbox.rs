//! The cluster, the servers and the agents for the story with containers, started step by step.

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use emr_ecr_agent_tests::agent::Agent;
use emr_ecr_agent_tests::ecr::Ecr;
use emr_ecr_agent_tests::hdfs::{self, Hdfs};
use emr_ecr_agent_tests::imds::Imds;
use emr_ecr_agent_tests::node::{AwsEndpoints, REGION, TRUSTED_REGISTRY};
use emr_ecr_agent_tests::parts::hadoop_version;
use emr_ecr_agent_tests::registry::Registry;
use emr_ecr_agent_tests::screen::{Failure, Screen};
use emr_ecr_agent_tests::testbed::Published;
use emr_ecr_agent_tests::yarn_cluster::YarnCluster;
use jiff::SignedDuration;

/// The minimum life of the first token, which is renewed at half of its life.
const FIRST_LIFE: Duration = Duration::from_secs(40);
const NODES: u8 = 2;

pub(crate) struct Sandbox {
    // Fields drop in this order: agents and nodes must end before the servers they use.
    pub agents: Vec<Agent>,
    pub cluster: YarnCluster,
    pub first_life: Duration,
    pub ecr: Ecr,
    pub imds: Imds,
    pub registry: Registry,
    /// The published file, as in EMR's documentation.
    pub published: Published,
    pub hdfs: Hdfs,
    /// Runs `hadoop fs`.
    pub shell_script: PathBuf,
}

impl Sandbox {
    /// Starts everything but the agents.
    pub(crate) async fn build(screen: &Screen) -> Result<Self, Failure> {
        let hadoop = hadoop_version();
        let start = format!("start HDFS {hadoop} (NameNode, DataNode)");
        let (hdfs, shell_script) = screen
            .step(&start, async {
                let hdfs = Hdfs::start().await?;
                let shell_script = hdfs.client().write_shell_script()?;
                Ok::<_, hdfs::Error>((hdfs, shell_script))
            })
            .await?;
        let registry = screen
            .step("start docker-registry and push a private image", Registry::start_with_shell())
            .await?;
        let (ecr, imds) = screen
            .step("start the stand-ins for ECR and IMDSv2", async {
                Ok::<_, Box<dyn Error>>((Ecr::start(signed(FIRST_LIFE)).await?, Imds::start(REGION).await?))
            })
            .await?;
        registry.follow(&ecr);
        let start =
            format!("start YARN {hadoop}: ResourceManager, {NODES} nodes with NodeManager and Docker");
        let host = registry.host();
        let began = Instant::now();
        let cluster = screen.step(&start, YarnCluster::start(hdfs.client(), NODES, &[&host])).await?;
        // Token 1 must outlive a launch, which takes longer on a busy machine, as the start did.
        let first_life = FIRST_LIFE.max(began.elapsed() * 4);
        ecr.set_token_life(signed(first_life));
        let published = Published::on(hdfs.client().clone(), "/user/hadoop");
        Ok(Self {
            agents: Vec::new(),
            cluster,
            first_life,
            ecr,
            imds,
            registry,
            published,
            hdfs,
            shell_script,
        })
    }

    pub(crate) fn start_agents(&mut self) -> Result<(), Box<dyn Error>> {
        let endpoints = AwsEndpoints { ecr: self.ecr.address(), imds: self.imds.address() };
        self.agents = self.cluster.start_agents(endpoints, |node| {
            let mut settings = node.settings(self.published.path());
            settings
                .set("refresh.minimum_validity", "5s")
                .registry(TRUSTED_REGISTRY, &[&self.registry.host()]);
            settings
        })?;
        Ok(())
    }

    /// The published file's URI in jobs.
    pub(crate) fn published_uri(&self) -> String {
        self.hdfs.client().uri(self.published.path())
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::from_secs(duration.as_secs().cast_signed())
}
