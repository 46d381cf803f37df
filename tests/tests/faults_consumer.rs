//! Faults on the consumers' side of the published file: Docker, the registry, the NodeManager, HDFS, the clock, a
//! killed agent. For each: what a job sees, what the agent reports beforehand, and that all recovers once the fault
//! is gone.

use std::env;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use emr_ecr_agent_tests::agent::Agent;
use emr_ecr_agent_tests::clock;
use emr_ecr_agent_tests::ecr::{self, Ecr};
use emr_ecr_agent_tests::hdfs::HaHdfs;
use emr_ecr_agent_tests::hdfs::proxy::{Behavior, NameNodeProxy, Side};
use emr_ecr_agent_tests::imds::Imds;
use emr_ecr_agent_tests::node::{AwsEndpoints, REGION, Settings, TRUSTED_REGISTRY};
use emr_ecr_agent_tests::parts::{self, Part};
use emr_ecr_agent_tests::registry::{Fault, Gate, IMAGE, Registry};
use emr_ecr_agent_tests::testbed::{Outcome, Published, SOON, TWELVE_HOURS, provoke_pass, shown};
use emr_ecr_agent_tests::tls::{Route, TlsProxy};
use emr_ecr_agent_tests::wait;
use emr_ecr_agent_tests::yarn_cluster::{self, ClusterNode, Launch, Launched, YarnCluster};
use futures_util::future::try_join;
use jiff::SignedDuration;
use nix::sys::signal::Signal;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::time::timeout;

/// Proves that the container itself has run.
const RAN: &str = "exit 77";
const TEN_MINUTES: i64 = 600;

#[tokio::test]
async fn faults_are_announced_and_heal() -> Outcome {
    if !yarn_cluster::can_run() || !parts::present([Part::kerberos()]) {
        return Ok(());
    }
    let mut world = World::start().await?;
    world.node_without_an_agent().await?;
    world.docker_killed_in_a_pull().await?;
    world.data_root_full().await?;
    world.registry_down().await?;
    world.layer_slow().await?;
    world.node_manager_restarted().await?;
    if tries_all() {
        world.layer_cut().await?;
        world.layer_cut_for_good().await?;
        world.registry_silent().await?;
        world.clock_behind().await?;
    }
    world.clock_ahead().await?;
    world.data_node_lost().await?;
    world.failover().await?;
    world.agent_killed_during_a_refresh().await
}

/// Some faults take minutes and run only if the environment variable `LAUNCHES` is `all`.
fn tries_all() -> bool {
    env::var("LAUNCHES").is_ok_and(|which| which == "all")
}

/// A cluster of two nodes, the first with an agent, on an HDFS with two NameNodes.
struct World {
    // Fields drop in this order: the nodes must end before the servers they use.
    agent: Option<Agent>,
    cluster: YarnCluster,
    /// Serves the registry under its real name.
    tls: TlsProxy,
    gate: Gate,
    ecr: Ecr,
    _imds: Imds,
    published: Published,
    hdfs: HaHdfs,
}

impl World {
    async fn start() -> Outcome<Self> {
        let hdfs = HaHdfs::start().await?;
        let published = Published::on(hdfs.client().clone(), "/user/hadoop");
        let gate = Gate::before(Registry::start_with_shell().await?).await?;
        let (ecr, imds) = (Ecr::start(TWELVE_HOURS).await?, Imds::start(REGION).await?);
        gate.follow(&ecr);
        let cluster = YarnCluster::join(hdfs.client(), 2, &[&gate.host()]).await?;
        let endpoints = AwsEndpoints { ecr: ecr.address(), imds: imds.address() };
        let files = cluster.nodes()[0].files();
        files.write_aws_config(endpoints)?;
        let route = Route { host: TRUSTED_REGISTRY.to_owned(), server: gate.host().parse()? };
        let tls = TlsProxy::start(vec![route]).await?;
        files.write("authority.pem", tls.authority())?;
        let mut world = Self { agent: None, cluster, tls, gate, ecr, _imds: imds, published, hdfs };
        world.start_agent().await?;
        Ok(world)
    }

    fn node(&self) -> &ClusterNode {
        &self.cluster.nodes()[0]
    }

    fn node_mut(&mut self) -> &mut ClusterNode {
        &mut self.cluster.nodes_mut()[0]
    }

    fn settings(&self) -> Settings {
        let mut settings = self.node().settings(self.published.path());
        settings.registry(TRUSTED_REGISTRY, &[&self.gate.host()]);
        // A killed agent may hold the refresh lock for as long as calls may take.
        settings.set("deadlines.ecr", "2s").set("deadlines.hdfs", "4s");
        settings
    }

    /// Starts the agent and waits until it is ready.
    async fn start_agent(&mut self) -> Outcome {
        self.start_agent_with(&self.settings(), &[])?;
        self.is_ready().await
    }

    fn start_agent_with(&mut self, settings: &Settings, environment: &[(&'static str, PathBuf)]) -> Outcome {
        self.agent = None;
        let route = [
            ("HTTPS_PROXY", format!("http://{}", self.tls.address()).into()),
            ("SSL_CERT_FILE", self.node().files().path("authority.pem")),
        ];
        let agent = self.node().start_agent_with(settings, &[&route, environment].concat())?;
        self.agent = Some(agent);
        Ok(())
    }

    fn agent(&mut self) -> Outcome<&mut Agent> {
        self.agent.as_mut().ok_or_else(|| "no agent runs".into())
    }

    async fn is_ready(&mut self) -> Outcome {
        Ok(self.agent()?.wait_ready(SOON).await?)
    }

    async fn is_not_ready(&mut self, reason: &str) -> Outcome {
        Ok(self.agent()?.wait_not_ready_with(reason, SOON).await?)
    }

    /// Launches on a node that has to pull.
    async fn launch_on(&self, node: &ClusterNode) -> Outcome<Launched> {
        node.remove_images().await?;
        Ok(self.cluster.launch(&self.wanted(RAN).on(node)).await?)
    }

    async fn launch(&self) -> Outcome<Launched> {
        self.launch_on(self.node()).await
    }

    fn wanted(&self, command: &str) -> Launch {
        let file = self.published.client().uri(self.published.path());
        Launch::docker(&self.gate.image(IMAGE.1), command).client_config(&file)
    }

    /// Checks that the agent is ready and that a launch that pulls runs.
    async fn is_healed(&mut self) -> Outcome {
        self.is_ready().await?;
        ran(&self.launch().await?);
        Ok(())
    }

    async fn node_without_an_agent(&mut self) -> Outcome {
        ran(&self.launch().await?);
        // A launch needs only the published file; root's pull on that node uses no credential.
        let other = &self.cluster.nodes()[1];
        ran(&self.launch_on(other).await?);
        other.remove_images().await?;
        let pull = other.output(&["/usr/bin/docker", "pull", &self.gate.image(IMAGE.1)]).await?;
        let said = String::from_utf8_lossy(&pull.stderr);
        assert!(!pull.status.success() && said.contains("no basic auth credentials"), "{said}");
        Ok(())
    }

    async fn docker_killed_in_a_pull(&mut self) -> Outcome {
        self.node().remove_images().await?;
        self.gate.set_fault(Some(Fault::Slow));
        let (rest, wanted) = (self.cluster.rest(), self.wanted(RAN));
        let launch = async { Outcome::Ok(rest.launch(&wanted).await?) };
        let (gate, node) = (&self.gate, &mut self.cluster.nodes_mut()[0]);
        let kill = async {
            timeout(SOON, gate.struck()).await?;
            Outcome::Ok(node.kill_engine().await?)
        };
        let (launched, ()) = try_join(launch, kill).await?;
        failed(&launched, 7, "docker: unexpected EOF.");
        self.gate.set_fault(None);
        self.is_not_ready("the Docker engine does not answer").await?;
        let launched = self.cluster.launch(&self.wanted(RAN)).await?;
        failed(&launched, 29, "Cannot connect to the Docker daemon");
        self.node_mut().start_engine().await?;
        self.is_healed().await
    }

    async fn data_root_full(&mut self) -> Outcome {
        let root = self.node().files().path("docker").display().to_string();
        self.node_mut().stop_engine().await?;
        self.node().run(&["/bin/mount", "-t", "tmpfs", "-o", "size=96m", "docker", &root]).await?;
        self.node_mut().start_engine().await?;
        self.is_healed().await?;
        let ballast = format!("{root}/ballast");
        self.node().remove_images().await?;
        // dd fails once the file system is full.
        let _ = self.node().output(&["/bin/dd", "if=/dev/zero", &format!("of={ballast}"), "bs=64k"]).await?;
        self.is_not_ready("Docker's data root").await?;
        self.is_not_ready("KiB left").await?;
        let launched = self.cluster.launch(&self.wanted(RAN)).await?;
        failed(&launched, 7, "no space left on device");
        self.node().run(&["/bin/rm", &ballast]).await?;
        self.is_healed().await?;
        self.node_mut().stop_engine().await?;
        self.node().run(&["/bin/umount", &root]).await?;
        self.node_mut().start_engine().await?;
        self.is_healed().await
    }

    /// The credentials are good, so the node stays ready; the status shows that the registry is unreachable.
    async fn registry_down(&mut self) -> Outcome {
        self.gate.set_fault(Some(Fault::ServerError));
        self.agent()?.signal(Signal::SIGHUP)?;
        self.probe_is("unknown").await?;
        self.is_ready().await?;
        failed(&self.launch().await?, 7, "received unexpected HTTP status: 503 Service Unavailable");
        self.gate.set_fault(None);
        self.agent()?.signal(Signal::SIGHUP)?;
        self.probe_is("accepted").await?;
        self.is_healed().await
    }

    async fn probe_is(&mut self, result: &str) -> Outcome {
        shown(self.agent()?, "the probe", |status| {
            (status["registries"][0]["probe"] == result).then_some(())
        })
        .await?;
        Ok(())
    }

    /// Docker requests the rest by itself.
    async fn layer_cut(&mut self) -> Outcome {
        self.gate.set_fault(Some(Fault::CutOnce));
        ran(&self.launch().await?);
        self.is_ready().await
    }

    /// The launch waits for as long as the registry takes.
    async fn layer_slow(&mut self) -> Outcome {
        self.gate.set_fault(Some(Fault::Slow));
        let released = async {
            timeout(SOON, self.gate.struck()).await?;
            self.gate.set_fault(None);
            Outcome::Ok(())
        };
        let (launched, ()) = try_join(self.launch(), released).await?;
        ran(&launched);
        self.is_ready().await
    }

    async fn registry_silent(&mut self) -> Outcome {
        self.gate.set_fault(Some(Fault::Silent));
        self.is_ready().await?;
        failed(&self.launch().await?, 7, "Client.Timeout exceeded while awaiting headers");
        self.gate.set_fault(None);
        self.is_healed().await
    }

    async fn layer_cut_for_good(&mut self) -> Outcome {
        self.gate.set_fault(Some(Fault::Cut));
        self.is_ready().await?;
        failed(&self.launch().await?, 7, "\": EOF.");
        self.gate.set_fault(None);
        self.is_healed().await
    }

    /// A container started by the first NodeManager ends under the second, which learns its exit code.
    async fn node_manager_restarted(&mut self) -> Outcome {
        const HAS_PID: &str =
            "for file in \"$0\"/*/*/*.pid; do kill -0 \"$(cat \"$file\")\" && exit 0; done; exit 1";
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let command = format!("exec 3<>/dev/tcp/127.0.0.1/{port} && read -r <&3; {RAN}");
        let (rest, wanted) = (self.cluster.rest(), self.wanted(&command));
        let launch = async { Outcome::Ok(rest.launch(&wanted).await?) };
        let private = self.node().files().path("nm-local/nmPrivate").display().to_string();
        let node = &mut self.cluster.nodes_mut()[0];
        let agent = self.agent.as_mut().ok_or("no agent runs")?;
        let restart = async {
            let (mut container, _) = timeout(SOON, listener.accept()).await??;
            // Without the pid file, the second NodeManager gives up on the container.
            wait::until("the container's pid file", SOON, async || {
                node.run(&["/bin/sh", "-c", HAS_PID, &private]).await
            })
            .await?;
            node.kill_node_manager().await?;
            provoke_pass(agent).await?;
            agent.wait_ready(SOON).await?;
            node.start_node_manager()?;
            container.write_all(b"end\n").await?;
            Outcome::Ok(())
        };
        let (launched, ()) = try_join(launch, restart).await?;
        ran(&launched);
        self.is_healed().await
    }

    /// The NodeManager compares the expiry of each container's token with its own clock.
    async fn clock_ahead(&mut self) -> Outcome {
        self.set_clock(TEN_MINUTES).await?;
        self.is_not_ready("the local clock is").await?;
        self.is_not_ready("seconds ahead of AWS's").await?;
        let launched = self.launch().await?;
        assert_eq!(launched.exit_code, None, "{}", launched.diagnostics);
        assert!(launched.diagnostics.contains("This token is expired."), "{}", launched.diagnostics);
        self.set_clock(0).await?;
        self.is_healed().await
    }

    async fn clock_behind(&mut self) -> Outcome {
        self.set_clock(-TEN_MINUTES).await?;
        self.is_healed().await?;
        self.set_clock(0).await?;
        self.is_healed().await
    }

    /// Restarts NodeManager and agent with a clock that runs this far ahead. The agent keeps the living token.
    async fn set_clock(&mut self, seconds_ahead: i64) -> Outcome {
        let calls = self.ecr.calls().len();
        let environment = clock::ahead_by(seconds_ahead)?;
        self.node_mut().kill_node_manager().await?;
        self.node_mut().start_node_manager_with(&environment)?;
        self.start_agent_with(&self.settings(), &environment)?;
        shown(self.agent()?, "the clock's difference", |status| {
            let skew = status["clock_skew_seconds"].as_f64()?;
            ((skew + seconds_ahead as f64).abs() < 60.0).then_some(())
        })
        .await?;
        assert_eq!(self.ecr.calls().len(), calls);
        Ok(())
    }

    /// At whatever step the agent dies, jobs find the old or the new file, and the next agent carries on.
    async fn agent_killed_during_a_refresh(&mut self) -> Outcome {
        const STEPS: [(&str, Side); 8] = [
            ("create", Side::Before),
            ("create", Side::After),
            ("addBlock", Side::Before),
            ("addBlock", Side::After),
            ("complete", Side::Before),
            ("complete", Side::After),
            ("rename2", Side::Before),
            ("rename2", Side::After),
        ];
        // Each agent must find a token that is due.
        self.agent = None;
        self.ecr.set_token_life(SignedDuration::from_secs(60));
        self.published.shell(&["-rm", "-skipTrash", self.published.path()]).await?;
        fs::remove_file(self.node().files().docker_config())?;
        let proxy = NameNodeProxy::start(self.hdfs.second_namenode(), LOCK).await?;
        let mut settings = self.settings_behind(&proxy)?;
        settings.set("refresh.renew_at", 0.1);
        self.start_agent_with(&settings, &[])?;
        self.is_ready().await?;

        self.ecr.fail_next([ecr::Fault::Silent]);
        let calls = self.ecr.calls().len();
        self.start_agent_with(&settings, &[])?;
        self.ecr.wait_for_calls(calls + 1, SOON).await?;
        self.die_and_go_on(&settings).await?;
        let steps = if tries_all() { &STEPS[..] } else { &STEPS[6..] };
        for (call, side) in steps.iter().copied() {
            proxy.set_behavior(Behavior::Catch { call, side });
            self.start_agent_with(&settings, &[])?;
            timeout(SOON, proxy.caught()).await?;
            self.die_and_go_on(&settings).await?;
        }
        Ok(())
    }

    /// Kills the agent in the middle of a call and checks the recovery.
    async fn die_and_go_on(&mut self, settings: &Settings) -> Outcome {
        self.agent = None;
        ran(&self.launch().await?);
        self.start_agent_with(settings, &[])?;
        self.is_ready().await?;
        let newest = || self.ecr.newest(REGION).map(|token| token.auth()).unwrap_or_default();
        wait::until("the newest token in the file", SOON, async || {
            let document = self.published.json().await.map_err(|error| error.to_string())?;
            let is_newest = document["auths"][self.gate.host()]["auth"] == newest();
            if is_newest { Ok(()) } else { Err("it has another".to_owned()) }
        })
        .await?;
        ran(&self.launch().await?);
        Ok(())
    }

    /// Settings for an agent that reaches the NameNode through a proxy.
    fn settings_behind(&self, proxy: &NameNodeProxy) -> Outcome<Settings> {
        let conf_dir = self.node().files().path("conf-by-proxy");
        fs::create_dir_all(&conf_dir)?;
        for name in ["hdfs-site.xml", "yarn-site.xml", "container-executor.cfg"] {
            fs::copy(self.node().files().conf_dir().join(name), conf_dir.join(name))?;
        }
        let core_site = fs::read_to_string(self.node().files().conf_dir().join("core-site.xml"))?;
        let authority = self.published.client().authority();
        let by_proxy = core_site.replace(authority, &proxy.address().to_string());
        assert_ne!(by_proxy, core_site);
        fs::write(conf_dir.join("core-site.xml"), by_proxy)?;
        let mut settings = self.settings();
        settings.set("hadoop.conf_dir", conf_dir.display().to_string());
        Ok(settings)
    }

    async fn data_node_lost(&mut self) -> Outcome {
        self.hdfs.stop_datanode();
        self.is_not_ready("cannot read hdfs://").await?;
        let launched = self.launch().await?;
        failed(&launched, -1, "Fail to read additional docker client config file from hdfs://");
        self.hdfs.start_datanode().await?;
        self.is_healed().await
    }

    /// The NodeManager waits for the next active NameNode.
    async fn failover(&mut self) -> Outcome {
        self.hdfs.kill_active();
        self.is_not_ready("hdfs://").await?;
        let activate = async { Outcome::Ok(self.hdfs.activate_standby().await?) };
        let (launched, ()) = try_join(self.launch(), activate).await?;
        ran(&launched);
        self.is_healed().await
    }
}

/// Part of the refresh lock's name; the lock's calls are not part of publishing.
const LOCK: &str = "emr-ecr-agent-lock";

fn ran(launched: &Launched) {
    assert_eq!(launched.exit_code, Some(77), "{}", launched.diagnostics);
}

/// Checks the job's view of a failure: the exit code and the decisive words.
fn failed(launched: &Launched, exit_code: i32, words: &str) {
    assert_eq!(launched.exit_code, Some(exit_code), "{}", launched.diagnostics);
    assert!(launched.diagnostics.contains(words), "{}", launched.diagnostics);
}
