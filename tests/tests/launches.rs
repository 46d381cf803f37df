//! Launches as users run them: containers of private images on a real YARN cluster with Docker, launched by a
//! NodeManager with the published file. This is the final check of what the agent does.

use std::collections::BTreeSet;
use std::env;
use std::fs;

use emr_ecr_agent_tests::agent;
use emr_ecr_agent_tests::executor_config;
use emr_ecr_agent_tests::node::{AwsEndpoints, REGION, Settings, TRUSTED_REGISTRY};
use emr_ecr_agent_tests::registry::Registry;
use emr_ecr_agent_tests::schema::assert_follows;
use emr_ecr_agent_tests::testbed::{Outcome, Published, SOON, TWELVE_HOURS, shown};
use emr_ecr_agent_tests::wait;
use emr_ecr_agent_tests::yarn_cluster::{self, ClusterNode, Launch, Launched, YarnCluster};
use emr_ecr_agent_tests::{ecr::Ecr, imds::Imds};
use futures_util::future::try_join_all;
use nix::sys::signal::Signal;
use serde_json::Value;

/// Proves that the container itself has run.
const RAN: &str = "exit 77";
/// The repository of the tags that the agent adds to images it has pulled in advance.
const MARKS: &str = "emr-ecr-agent-warm";

/// A cluster of two nodes without agents, and what private images need.
struct World {
    // Fields drop in this order: the nodes must end before the servers they use.
    cluster: YarnCluster,
    registry: Registry,
    published: Published,
    ecr: Ecr,
    imds: Imds,
}

#[tokio::test]
async fn private_images_launch_whatever_becomes_of_tokens() -> Outcome {
    if !yarn_cluster::can_run() {
        return Ok(());
    }
    let world = World::start().await?;
    world.images_launch_on_every_node().await?;
    world.warmed_image_launches_with_a_dead_token().await
}

impl World {
    async fn start() -> Outcome<Self> {
        let published = Published::shared("hadoop", "0755").await?;
        let registry = Registry::start_with_shell().await?;
        let cluster = YarnCluster::join(published.client(), 2, &[&registry.host()]).await?;
        let (ecr, imds) = (Ecr::start(TWELVE_HOURS).await?, Imds::start(REGION).await?);
        registry.follow(&ecr);
        Ok(Self { cluster, registry, published, ecr, imds })
    }

    fn endpoints(&self) -> AwsEndpoints {
        AwsEndpoints { ecr: self.ecr.address(), imds: self.imds.address() }
    }

    fn settings(&self, node: &ClusterNode, published: &Published) -> Settings {
        let mut settings = node.settings(published.path());
        settings.registry(TRUSTED_REGISTRY, &[&self.registry.host()]);
        settings
    }

    async fn images_launch_on_every_node(&self) -> Outcome {
        let Self { cluster, registry, published, ecr, imds } = self;
        let node = &cluster.nodes()[0];
        ran_everywhere(cluster, &Launch::plain(RAN)).await?;
        let mut agents = cluster.start_agents(self.endpoints(), |node| self.settings(node, published))?;
        for agent in &mut agents {
            agent.wait_ready(SOON).await?;
        }

        let launch = |uri: &str| Launch::docker(&registry.image(), RAN).client_config(uri);
        let uri = published.client().uri(published.path());
        ran_everywhere(cluster, &launch(&uri)).await?;
        let copy = published.beside("copy.json");
        published.shell(&["-cp", published.path(), &copy]).await?;

        let first = ecr.newest(REGION).ok_or("no token was issued")?;
        let calls = ecr.calls().len();
        imds.set_role("replaced");
        // The agent that requested the first token notices the change.
        agents.iter().try_for_each(|agent| agent.signal(Signal::SIGHUP))?;
        ecr.wait_for_calls(calls + 1, SOON).await?;
        let second = ecr.newest(REGION).ok_or("no token was issued")?;
        assert_ne!(first.password(), second.password());
        published.wait_for_auth(&registry.host(), &second.auth()).await?;

        for node in cluster.nodes() {
            node.remove_image(&registry.image()).await?;
        }
        let failed = cluster.launch(&launch(&published.client().uri(&copy))).await?;
        assert_eq!(failed.exit_code, Some(7), "{}", failed.diagnostics);
        let pulled = tried(node, &registry.image(), &uri).await?;
        assert_eq!(
            (pulled["ok"].as_bool(), pulled["on_node"].as_bool()),
            (Some(false), Some(false)),
            "{pulled}"
        );
        assert!(pulled["pull_seconds"].is_f64() && pulled["bytes"].as_u64() > Some(0), "{pulled}");
        assert_eq!(pulled["would_launch"], true, "{pulled}");
        let failures = pulled["failures"].to_string();
        assert!(
            failures.contains("docker run failed") && failures.contains("java"),
            "the image has no Java: {failures}"
        );
        let refused = tried(node, &registry.image(), &published.client().uri(&copy)).await?;
        let failures = refused["failures"].to_string();
        assert!(failures.contains("docker pull failed") && failures.contains("unauthorized"), "{failures}");
        let dockers_words = "docker: Error response from daemon: unauthorized: authentication required";
        assert!(failed.diagnostics.contains(dockers_words), "{}", failed.diagnostics);
        ran_everywhere(cluster, &launch(&uri)).await?;
        assert!(!node.node_manager_log().contains(second.password()));

        let agent = &mut agents[0];
        let finding = |status: &Value| {
            let findings = status["findings"].as_array();
            findings.into_iter().flatten().any(|finding| finding["code"] == "entry-with-whitespace")
        };
        // A space after a comma becomes part of the entry.
        let path = "conf/container-executor.cfg";
        let right = fs::read_to_string(node.files().path(path))?;
        let wrong = right.replace(
            &format!("{TRUSTED_REGISTRY},{}", registry.host()),
            &format!("{}, {TRUSTED_REGISTRY}", registry.host()),
        );
        assert_ne!(wrong, right);
        node.run(&["/usr/bin/docker", "tag", &registry.image(), ECR_IMAGE]).await?;
        let of_ecr = Launch::docker(ECR_IMAGE, RAN);
        node.files().write(path, &wrong)?;
        shown(agent, "the finding", |status| finding(status).then_some(())).await?;
        let expected = "[-]launches failed: /etc/hadoop/conf/container-executor.cfg:";
        agent.wait_not_ready_with(expected, SOON).await?;
        let why = agent.get("/readyz").await?.text();
        assert!(why.contains(expected) && why.contains(TRUSTED_REGISTRY), "{why}");
        let failed = cluster.launch(&of_ecr).await?;
        assert_eq!(failed.exit_code, Some(127), "{}", failed.diagnostics);
        assert!(failed.diagnostics.contains("is not trusted"), "{}", failed.diagnostics);
        node.files().write(path, &right)?;
        shown(agent, "the end of the finding", |status| (!finding(status)).then_some(())).await?;
        agent.wait_ready(SOON).await?;
        // The log entry follows at the end of the pass.
        shown(agent, "the event", |status| {
            let gone = |event: &&Value| {
                event["event"] == "finding resolved"
                    && event["text"].to_string().contains("entry-with-whitespace")
            };
            status["recent_events"].as_array()?.iter().find(gone).map(drop)
        })
        .await?;
        let logged = agent.log_text().matches("code=\"entry-with-whitespace\"").count();
        assert_eq!(logged, 2, "once when it came, once when it went: {}", agent.log_text());
        let launched = cluster.launch(&of_ecr).await?;
        assert_eq!(launched.exit_code, Some(77), "{}", launched.diagnostics);
        Ok(())
    }

    async fn warmed_image_launches_with_a_dead_token(&self) -> Outcome {
        let Self { cluster, registry, ecr, imds, .. } = self;
        // An agent notices a change of its identity only after it has requested a token itself.
        let published = &Published::shared("hadoop", "0755").await?;
        let node = &cluster.nodes()[1];
        fs::remove_file(node.files().docker_config())?;
        node.remove_images().await?;
        node.import_image("foreign:1").await?;
        let image = registry.image();
        let settings = |images: &[&str], floor: u64| {
            let mut settings = self.settings(node, published);
            settings.set("warm.images", images).set("warm.spread", "0s").set("warm.disk_floor_gb", floor);
            settings
        };
        // More than any disk has.
        let mut agent = node.start_agent(&settings(&[&image, "127.0.0.1:1/none:1"], 1_000_000))?;
        agent.wait_ready(SOON).await?;
        let metric = async |agent: &agent::Agent, wanted: &str| {
            wait::until(wanted, SOON, async || match agent.get("/metrics").await {
                Ok(answer) if answer.text().contains(wanted) => Ok(()),
                Ok(answer) => Err(answer.text()),
                Err(error) => Err(error.to_string()),
            })
            .await
        };
        metric(&agent, "emr_ecr_agent_warm_pulls_total{result=\"disk_floor\"} 2\n").await?;
        let images =
            async || node.run(&["/usr/bin/docker", "images", "--format={{.Repository}}:{{.Tag}}"]).await;
        assert_eq!(images().await?.trim(), "foreign:1");

        let change = |settings: &Settings| -> Outcome {
            node.files().write_settings(settings)?;
            Ok(agent.signal(Signal::SIGHUP)?)
        };
        change(&settings(&[&image, "127.0.0.1:1/none:1"], 0))?;
        metric(&agent, "emr_ecr_agent_warm_images{state=\"on_node\"} 1\n").await?;
        metric(&agent, "emr_ecr_agent_warm_pulls_total{result=\"failed\"}").await?;
        let on_node = images().await?;
        assert!(on_node.contains(&image) && on_node.contains(MARKS), "{on_node}");
        let left = fs::read_dir(node.files().path(""))?.flatten();
        let configs = left.filter(|entry| entry.file_name().to_string_lossy().contains("-docker-")).count();
        assert!(configs <= 1, "the pull that is tried again may have one");

        let copy = published.beside("copy.json");
        published.shell(&["-cp", published.path(), &copy]).await?;
        let first = ecr.newest(REGION).ok_or("no token was issued")?;
        let calls = ecr.calls().len();
        imds.set_role("replaced-again");
        agent.signal(Signal::SIGHUP)?;
        ecr.wait_for_calls(calls + 1, SOON).await?;
        let second = ecr.newest(REGION).ok_or("no token was issued")?;
        published.wait_for_auth(&registry.host(), &second.auth()).await?;
        let launch = Launch::docker(&image, RAN).client_config(&published.client().uri(&copy)).on(node);
        let launched = cluster.launch(&launch).await?;
        assert_eq!(launched.exit_code, Some(77), "a dead token matters no more: {}", launched.diagnostics);

        change(&settings(&[], 0))?;
        wait::until("the end of what the agent pulled", SOON, async || {
            let left = images().await.map_err(|error| error.to_string())?;
            if left.trim() == "foreign:1" { Ok(()) } else { Err(left) }
        })
        .await?;
        let failed = cluster.launch(&launch).await?;
        assert_eq!(failed.exit_code, Some(7), "{}", failed.diagnostics);
        for token in [first, second] {
            assert!(!agent.log_text().contains(token.password()));
        }
        Ok(())
    }
}

/// The output of `try` for an image on a node.
async fn tried(node: &ClusterNode, image: &str, client_config: &str) -> Outcome<Value> {
    let program = agent::program()?.display().to_string();
    let config = node.files().agent_toml().display().to_string();
    let words =
        [&program, "try", "--json", "--config", &config, "--image", image, "--client-config", client_config];
    let output = node.output(&words).await?;
    let tried = serde_json::from_slice(&output.stdout)?;
    assert_follows("try", &tried);
    Ok(tried)
}

/// Launches on all nodes at once; each container must run, and on the requested node.
async fn ran_everywhere(cluster: &YarnCluster, launch: &Launch) -> Outcome {
    let on = async |node: &ClusterNode| {
        let launched = cluster.launch(&launch.clone().on(node)).await?;
        assert_eq!(launched.exit_code, Some(77), "{}", launched.diagnostics);
        assert_eq!(launched.host, node.host());
        Ok(())
    };
    try_join_all(cluster.nodes().iter().map(on)).await.map(drop)
}

/// The exit code and output of a NodeManager 3.4.1 with the native container-executor 3.4.0 and Docker 20.10.24,
/// with one changed setting or one unusual request per case. `$NODE` is the directory of the node's files; `$APP`
/// and `$CONTAINER` are ids.
const RECORDED: &str = include_str!("../testdata/launches.jsonl");
/// All cases take two minutes, so only every second one runs unless the environment variable `LAUNCHES` is `all`.
const STRIDE: usize = 2;
const ECR_IMAGE: &str = "123456789123.dkr.ecr.us-east-1.amazonaws.com/app:1";
const BASE: &str = "\
yarn.nodemanager.linux-container-executor.group=yarn
banned.users=bin
min.user.id=1000
allowed.system.users=hadoop
[docker]
  module.enabled=true
  docker.binary=/usr/bin/docker
  docker.allowed.capabilities=SYS_CHROOT
  docker.allowed.networks=host,none
  docker.allowed.ro-mounts=/etc/passwd,/etc/group,$NODE/nm-local,$NODE/spark
  docker.allowed.rw-mounts=$NODE/nm-local,$NODE/nm-log
  docker.trusted.registries=123456789123.dkr.ecr.us-east-1.amazonaws.com
";

#[tokio::test]
async fn launches_end_as_recorded_on_the_native_container_executor() -> Outcome {
    if !yarn_cluster::can_run() {
        return Ok(());
    }
    let published = Published::shared("hadoop", "0755").await?;
    let cluster = YarnCluster::join(published.client(), 1, &[]).await?;
    let node = &cluster.nodes()[0];
    node.import_image("base:1").await?;
    let home = node.files().path("").display().to_string();
    let home = home.trim_end_matches('/');
    fs::create_dir(node.files().path("spark"))?;

    let stride = env::var("LAUNCHES").ok().filter(|which| which == "all").map_or(STRIDE, |_| 1);
    let (mut tagged, mut differing) = (BTreeSet::new(), Vec::new());
    for line in RECORDED.lines().step_by(stride) {
        let case: Value = serde_json::from_str(&line.replace("$NODE", home))?;
        let image = case["image"].as_str().unwrap_or(ECR_IMAGE);
        if case["tag"] != false && tagged.insert(image.to_owned()) {
            // Some cases contain a name that Docker rejects.
            let _ = node.run(&["/usr/bin/docker", "tag", "base:1", image]).await;
        }
        let configuration = executor_config::changed(&BASE.replace("$NODE", home), &case);
        node.files().write("conf/container-executor.cfg", &configuration)?;
        let launched = cluster.launch(&wanted(&case, image)).await?;
        let said = case["says"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let unsaid: Vec<&str> = said.filter(|words| !says(&launched, words)).collect();
        if launched.exit_code.map(i64::from) != case["exit"].as_i64() || !unsaid.is_empty() {
            let (name, exit) = (&case["name"], &case["exit"]);
            let (code, text) = (launched.exit_code, launched.diagnostics);
            differing.push(format!("{name}: {code:?} instead of {exit}, without {unsaid:?}:\n{text}"));
        }
    }
    assert!(differing.is_empty(), "{} differ:\n{}", differing.len(), differing.join("\n"));
    Ok(())
}

fn wanted(case: &Value, image: &str) -> Launch {
    let mut launch = Launch::docker(image, RAN);
    if let Some(mounts) = case["mounts"].as_array() {
        let mounts: Vec<&str> = mounts.iter().filter_map(Value::as_str).collect();
        launch = launch.mounts(&mounts);
    }
    if let Some(network) = case["network"].as_str() {
        launch = launch.network(network);
    }
    if case["privileged"] == true { launch.privileged() } else { launch }
}

/// Returns whether the diagnostics contain these words, with this launch's ids.
fn says(launched: &Launched, words: &str) -> bool {
    let container = launched.application.replace("application", "container") + "_01_000001";
    let words = words.replace("$APP", &launched.application).replace("$CONTAINER", &container);
    launched.diagnostics.contains(words.trim_end())
}
