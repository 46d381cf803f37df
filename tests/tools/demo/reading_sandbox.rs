//! The servers and the agent of the demo, started step by step.

use std::error::Error;

use emr_ecr_agent_tests::agent::Agent;
use emr_ecr_agent_tests::ecr::Ecr;
use emr_ecr_agent_tests::hdfs::Hdfs;
use emr_ecr_agent_tests::imds::Imds;
use emr_ecr_agent_tests::node::{AwsEndpoints, Node, REGION, Settings, TRUSTED_REGISTRY};
use emr_ecr_agent_tests::parts::hadoop_version;
use emr_ecr_agent_tests::ports::Port;
use emr_ecr_agent_tests::registry::Registry;
use emr_ecr_agent_tests::yarn::YarnReader;
use jiff::SignedDuration;

use emr_ecr_agent_tests::screen::{Failure, Screen};

/// A token's life in the demo.
pub(crate) const TOKEN_LIFE: SignedDuration = SignedDuration::from_secs(40);
/// The published file, as in EMR's documentation.
pub(crate) const PUBLISHED: &str = "/user/hadoop/config.json";

pub(crate) struct Sandbox {
    // Fields drop in this order: the agent must end before the servers it uses.
    pub agent: Agent,
    pub yarn: YarnReader,
    pub ecr: Ecr,
    pub imds: Imds,
    pub registry: Registry,
    pub hdfs: Hdfs,
    pub node: Node,
    _health_port: Port,
}

impl Sandbox {
    pub(crate) async fn build(screen: &Screen) -> Result<Self, Failure> {
        let start = format!("start HDFS {} (NameNode, DataNode)", hadoop_version());
        let hdfs = screen.step(&start, Hdfs::start()).await?;
        let registry = screen.step("start docker-registry and push an image", Registry::start()).await?;
        let (ecr, imds) = screen
            .step("start the stand-ins for ECR and IMDSv2", async {
                Ok::<_, Box<dyn Error>>((Ecr::start(TOKEN_LIFE).await?, Imds::start(REGION).await?))
            })
            .await?;
        registry.follow(&ecr);
        let yarn = screen
            .step("start YARN's config.json reader as user yarn", async { YarnReader::start(hdfs.client()) })
            .await?;

        let endpoints = AwsEndpoints { ecr: ecr.address(), imds: imds.address() };
        let (node, agent, health_port) = screen
            .step("start the agent on an EMR-like core node", async {
                start_agent(&hdfs, &registry, endpoints)
            })
            .await?;
        Ok(Self { agent, yarn, ecr, imds, registry, hdfs, node, _health_port: health_port })
    }

    /// The published file's URI in jobs.
    pub(crate) fn published_uri(&self) -> String {
        self.hdfs.client().uri(PUBLISHED)
    }
}

fn start_agent(
    hdfs: &Hdfs,
    registry: &Registry,
    endpoints: AwsEndpoints,
) -> Result<(Node, Agent, Port), Box<dyn Error>> {
    let node = Node::new(hdfs.client().conf_dir())?;
    node.write_aws_config(endpoints)?;
    let health_port = Port::reserve()?;
    let mut settings = Settings::of(&node, PUBLISHED, health_port.address());
    settings.set("refresh.minimum_validity", "5s").registry(TRUSTED_REGISTRY, &[&registry.host()]);
    node.write_settings(&settings)?;
    let agent = Agent::start(&node, health_port.address())?;
    Ok((node, agent, health_port))
}
