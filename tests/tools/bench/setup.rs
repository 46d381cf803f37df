//! The environment of the measurements: a real HDFS, AWS's stand-ins over TLS, and byte counters on every connection.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use emr_ecr_agent_tests::agent;
use emr_ecr_agent_tests::hdfs::Hdfs;
use emr_ecr_agent_tests::hdfs::proxy::NameNodeProxy;
use emr_ecr_agent_tests::listener::{Listener, Reply};
use emr_ecr_agent_tests::node::TRUSTED_REGISTRY;
use emr_ecr_agent_tests::parts::Part;
use emr_ecr_agent_tests::relay::{Relay, Traffic};
use emr_ecr_agent_tests::testbed::{Published, Testbed};
use emr_ecr_agent_tests::tls::{Route, TlsProxy};
use hyper::Response;

use crate::Outcome;
use crate::meter::Measured;

/// Everything except the measured programs.
pub(crate) struct Setup {
    pub testbed: Testbed,
    pub published: Published,
    pub namenode: NameNodeProxy,
    pub hdfs: Hdfs,
    wires: Wires,
    _registry: Listener,
    _tls: TlsProxy,
}

/// The relays between the node and each service.
struct Wires {
    namenode: Relay,
    datanode: Relay,
    aws: Relay,
}

/// The traffic through each relay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wired {
    pub namenode: Traffic,
    pub datanode: Traffic,
    pub aws: Traffic,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the DataNode's log does not name its address")]
    NoDataNode,
    #[error("cannot {operation} {}", path.display())]
    File { operation: &'static str, path: PathBuf, source: std::io::Error },
}

/// The DataNode's host name: a second loopback address, where its relay listens.
const DATANODE_HOST: &str = "127.0.0.2";
/// The certificate stores of Debian and Amazon Linux.
const CERTIFICATES: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

impl Setup {
    pub(crate) async fn build() -> Outcome<Self> {
        let hdfs = Hdfs::start_with_datanode_host(DATANODE_HOST).await?;
        let datanode = hdfs.datanode_address().ok_or(Error::NoDataNode)?;
        // No call fails, so none must be spared.
        let namenode = NameNodeProxy::start(hdfs.client().authority().parse()?, "none").await?;
        let published = Published::on(hdfs.client().clone(), "/user/hadoop");
        let mut testbed = Testbed::publishing(&published).await?;

        let registry = Listener::start(|_| Reply::Whole(Response::new(Bytes::from_static(b"{}")))).await?;
        let ecr = Route { host: "localhost".to_owned(), server: testbed.ecr.address() };
        let docker = Route { host: TRUSTED_REGISTRY.to_owned(), server: registry.address() };
        let tls = TlsProxy::start(vec![ecr, docker]).await?;
        let ip: IpAddr = DATANODE_HOST.parse()?;
        let wires = Wires {
            namenode: Relay::start(namenode.address()).await?,
            datanode: Relay::start_on(ip, datanode).await?,
            aws: Relay::start(tls.address()).await?,
        };
        testbed.settings.set("refresh.pass_interval", "60s");
        use_relays(&mut testbed, &wires, hdfs.client().authority(), tls.authority())?;
        Ok(Self { testbed, published, namenode, hdfs, wires, _registry: registry, _tls: tls })
    }

    pub(crate) fn wired(&self) -> Wired {
        let Wires { namenode, datanode, aws } = &self.wires;
        Wired { namenode: namenode.traffic(), datanode: datanode.traffic(), aws: aws.traffic() }
    }

    /// The agent with these arguments, in the daemon's environment.
    pub(crate) fn agent(&self, args: &[&str]) -> Outcome<Measured> {
        let program = agent::program()?;
        Ok(self.with_aws(Measured::new(&program, args.iter().copied())))
    }

    /// Gives a program the node's access to AWS.
    pub(crate) fn with_aws(&self, program: Measured) -> Measured {
        let variables =
            self.testbed.environment.iter().map(|(name, value)| (*name, value.display().to_string()));
        let home = self.testbed.node.home_dir().display().to_string();
        variables.fold(program.env("HOME", home), |program, (name, value)| program.env(name, value))
    }

    /// `hadoop fs ARGS` as Hadoop's script starts it, with the JVM's defaults. `quick` uses the harness's options,
    /// which start a JVM faster than on any cluster: a class archive and no optimizing compiler.
    pub(crate) fn hadoop_fs(&self, quick: bool, args: &[&str]) -> Outcome<Measured> {
        let part = Part::hadoop()?;
        let jars = read(&part.path("classpath"))?;
        let conf = self.hdfs.client().conf_dir().display().to_string();
        let options = if quick {
            format!("@{}", part.path("jvm.options").display())
        } else {
            "-Djava.net.preferIPv4Stack=true".to_owned()
        };
        let class_path = format!("{jars}:{}:{conf}", part.path("web").display());
        let fixed = [&options, "-cp", &class_path, "org.apache.hadoop.fs.FsShell"];
        let program = Measured::new(&part.path("java"), fixed.into_iter().chain(args.iter().copied()));
        Ok(program.env("HADOOP_USER_NAME", "hadoop"))
    }

    /// Removes both documents, so that the next refresh writes both.
    pub(crate) async fn clear(&self) -> Outcome<()> {
        self.published.shell(&["-rm", "-f", "-skipTrash", self.published.path()]).await?;
        // The file may not exist.
        let _ = fs::remove_file(self.testbed.node.docker_config());
        Ok(())
    }

    /// The number of calls to one method so far.
    pub(crate) fn calls_of(&self, method: &str) -> u64 {
        self.namenode.calls().get(method).copied().unwrap_or_default()
    }
}

/// Makes the node reach everything through the relays.
fn use_relays(testbed: &mut Testbed, wires: &Wires, namenode: &str, authority: &str) -> Outcome<()> {
    let node = &testbed.node;
    let core_site = read(&node.conf_dir().join("core-site.xml"))?;
    node.write("conf/core-site.xml", &core_site.replace(namenode, &wires.namenode.address().to_string()))?;
    let hdfs_site = read(&node.conf_dir().join("hdfs-site.xml"))?;
    node.write("conf/hdfs-site.xml", &hdfs_site.replace("</configuration>", BY_NAME))?;

    let aws = wires.aws.address();
    node.write("aws/.aws/config", &aws_config(testbed.imds.address(), aws))?;
    let store = CERTIFICATES.iter().find_map(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    node.write("certificates.pem", &format!("{store}\n{authority}"))?;
    let proxy = format!("http://{aws}");
    testbed.environment = vec![
        ("HTTPS_PROXY", proxy.into()),
        ("SSL_CERT_FILE", node.path("certificates.pem")),
        ("AWS_CA_BUNDLE", node.path("certificates.pem")),
    ];
    Ok(())
}

fn aws_config(imds: SocketAddr, ecr: SocketAddr) -> String {
    let port = ecr.port();
    format!(
        "[default]
ec2_metadata_service_endpoint = http://{imds}
services = sandbox

[services sandbox]
ecr =
  endpoint_url = https://localhost:{port}
"
    )
}

const BY_NAME: &str = "\
  <property><name>dfs.client.use.datanode.hostname</name><value>true</value></property>\n</configuration>";

pub(crate) fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::File {
        operation: "read",
        path: path.to_owned(),
        source,
    })
}
