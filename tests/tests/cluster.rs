//! `cluster`: all nodes at a glance, on a real YARN cluster, and what prevents an answer.

use std::fs;

use bytes::Bytes;
use emr_ecr_agent_tests::agent;
use emr_ecr_agent_tests::listener::{Listener, Reply};
use emr_ecr_agent_tests::node::{AwsEndpoints, Node, REGION, Settings, TRUSTED_REGISTRY};
use emr_ecr_agent_tests::ports::Port;
use emr_ecr_agent_tests::process::{self, Finished};
use emr_ecr_agent_tests::schema::assert_follows;
use emr_ecr_agent_tests::site;
use emr_ecr_agent_tests::testbed::{Outcome, Published, SOON, TWELVE_HOURS, Testbed};
use emr_ecr_agent_tests::tls::{Route, TlsProxy};
use emr_ecr_agent_tests::wait;
use emr_ecr_agent_tests::yarn_cluster::{self, YarnCluster};
use emr_ecr_agent_tests::{ecr::Ecr, imds::Imds};
use hyper::Response;
use serde_json::{Value, json};

/// The cluster's primary node, which runs no agent.
struct Primary {
    node: Node,
    settings: Settings,
}

impl Primary {
    fn of(cluster: &YarnCluster, published: &Published) -> Outcome<Self> {
        let node = Node::new(published.client().conf_dir())?;
        let first = &cluster.nodes()[0];
        fs::copy(first.files().path("conf/yarn-site.xml"), node.conf_dir().join("yarn-site.xml"))?;
        // The command expects agents at this address, where only the first node's listens.
        let settings = Settings::of(&node, published.path(), first.listen());
        Ok(Self { node, settings })
    }

    async fn cluster(&self, args: &[&str]) -> Outcome<Finished> {
        self.node.write_settings(&self.settings)?;
        let mut command = agent::command(&self.node)?;
        command.arg("cluster").args(args).arg("--config").arg(self.node.agent_toml());
        Ok(process::run(command).await?)
    }

    /// Waits until the report satisfies `wanted` with this exit code.
    async fn shows(&self, what: &str, code: i32, wanted: impl Fn(&Value) -> bool) -> Outcome<Value> {
        let shown = wait::until(what, SOON, async || {
            let finished = self.cluster(&["--json"]).await.map_err(|error| error.to_string())?;
            let report = finished.json().map_err(|error| error.to_string())?;
            assert_follows("cluster", &report);
            if finished.code == code && wanted(&report) { Ok(report) } else { Err(finished.out) }
        });
        Ok(shown.await?)
    }

    /// Waits until the plain-text output satisfies `wanted`: a busy node may become unready again at any moment.
    async fn prints(&self, what: &str, wanted: impl Fn(&str) -> bool) -> Outcome {
        let printed = wait::until(what, SOON, async || {
            let finished = self.cluster(&[]).await.map_err(|error| error.to_string())?;
            if wanted(&finished.out) { Ok(()) } else { Err(finished.out) }
        });
        Ok(printed.await?)
    }
}

#[tokio::test]
async fn the_worst_node_comes_first() -> Outcome {
    if !yarn_cluster::can_run() {
        return Ok(());
    }
    let published = Published::shared("hadoop", "0755").await?;
    let mut cluster = YarnCluster::start(published.client(), 2, &[]).await?;
    let (ecr, imds) = (Ecr::start(TWELVE_HOURS).await?, Imds::start(REGION).await?);
    let endpoints = AwsEndpoints { ecr: ecr.address(), imds: imds.address() };
    let mut primary = Primary::of(&cluster, &published)?;
    let [first, second] = [0, 1].map(|index| cluster.nodes()[index].host());

    let none = primary.cluster(&["--json"]).await?;
    assert_eq!(none.code, 1, "{}", none.out);
    assert_eq!(none.json()?["nodes"][0]["source"], Value::Null, "{}", none.out);

    let mut agents = cluster.start_agents(endpoints, |node| node.settings(published.path()))?;
    for agent in &mut agents {
        agent.wait_ready(SOON).await?;
    }
    let both = primary
        .shows("both nodes, one by its /status and one by its note", 0, |report| {
            let source = |index: usize| &report["nodes"][index]["source"];
            (source(0), source(1)) == (&json!("status"), &json!("file"))
        })
        .await?;
    assert_eq!(both["summary"], "All 2 nodes are ready.");
    let left = &both["published"]["registries"][0];
    assert_eq!(left["registry"], TRUSTED_REGISTRY);
    assert!(left["seconds_left"].as_i64() > Some(11 * 3600), "{both:#}");
    let usable = format!("published  {}: usable", published.path());
    let ready = format!("{first}  RUNNING  yes    its /status");
    primary.prints("the ready node", |text| text.starts_with(&usable) && text.contains(&ready)).await?;
    let notes = published.beside(".emr-ecr-agent/nodes");
    let note = format!("{notes}/{second}.json");
    wait::until("the ready node's note", SOON, async || {
        let note = published.text_of(&note).await.map_err(|error| error.to_string())?;
        assert!(note.len() < 1024, "{note}");
        if note.contains("\"ready\":true") { Ok(()) } else { Err(note) }
    })
    .await?;

    // Break a file on the node that can only leave a note.
    let path = "conf/container-executor.cfg";
    let right = fs::read_to_string(cluster.nodes()[1].files().path(path))?;
    cluster.nodes()[1].files().write(path, "[docker\n")?;
    let broken = primary
        .shows("the broken node first", 1, |report| {
            let worst = &report["nodes"][0];
            let failing = worst["failing"].to_string();
            worst["node"] == second.as_str() && failing.contains("executor_config")
        })
        .await?;
    let worst = &broken["nodes"][0];
    assert_eq!(worst["ready"], false, "{worst:#}");
    assert!(worst["findings"].as_array().is_some_and(|codes| !codes.is_empty()), "{worst:#}");
    let row = |text: &str, host: &str| text.lines().position(|line| line.starts_with(host));
    primary
        .prints("the broken node first", |text| {
            row(text, &second) < row(text, &first)
                && row(text, &second).is_some()
                && text.contains("\n\n1 of 2 nodes is not ready: ")
        })
        .await?;
    cluster.nodes()[1].files().write(path, &right)?;
    primary.shows("both nodes ready again", 0, |_| true).await?;

    // What others write there is only a hint.
    let directory = published.beside(".emr-ecr-agent");
    let listing = published.shell(&["-ls", "-R", &directory]).await?;
    assert_eq!(listing.lines().filter(|line| line.contains(".json")).count(), 2, "{listing}");
    agents[1].terminate(SOON).await?;
    let silent = primary.shows("a silent node", 1, |report| report["nodes"][0]["ready"].is_null()).await?;
    let why = silent["nodes"][0]["error"].to_string();
    assert!(why.contains("no agent answers") && why.contains("it has no note"), "{why}");

    let nobody = Port::reserve()?;
    let elsewhere = format!("hdfs://{}{}", nobody.address(), published.path());
    primary.settings.set("published.path", elsewhere.as_str());
    let blind = primary.cluster(&["--json"]).await?;
    assert_eq!(blind.code, 3, "{}", blind.out);
    assert_eq!(blind.json()?["ready"], Value::Null);
    primary.settings.set("published.path", published.path());

    cluster.stop_resource_manager().await?;
    let blind = primary.cluster(&[]).await?;
    assert_eq!(blind.code, 3, "{}", blind.out);
    assert!(
        blind.out.contains("\nThe cluster's state is unknown: no response from http://"),
        "{}",
        blind.out
    );
    Ok(())
}

#[tokio::test]
async fn resource_managers_answer_by_https_or_refuse() -> Outcome {
    let mut testbed = Testbed::without_hdfs().await?;
    testbed.settings.registry(TRUSTED_REGISTRY, &[]);
    testbed.write_settings()?;
    let nodes =
        json!({ "nodes": { "node": [{ "nodeHostName": "127.0.0.1", "state": "RUNNING" }] } }).to_string();
    let answers = Listener::start(move |_| Reply::Whole(Response::new(Bytes::from(nodes.clone())))).await?;
    let refuses = Listener::start(|_| {
        let response = Response::builder().status(401).header("www-authenticate", "Negotiate");
        Reply::Whole(response.body(Bytes::new()).expect("a response"))
    })
    .await?;
    let route = Route { host: "localhost".to_owned(), server: answers.address() };
    let proxy = TlsProxy::start(vec![route]).await?;
    testbed.node.write("authority.pem", proxy.authority())?;
    let run = async |properties: &[(&str, &str)]| -> Outcome<Value> {
        site::write(&testbed.node.conf_dir().join("yarn-site.xml"), properties)?;
        let mut command = agent::command(&testbed.node)?;
        command.args(["cluster", "--json", "--config"]).arg(testbed.node.agent_toml());
        command.env("SSL_CERT_FILE", testbed.node.path("authority.pem"));
        let finished = process::run(command).await?;
        assert_eq!(finished.code, 3, "there is no HDFS: {}", finished.out);
        Ok(finished.json()?)
    };
    let by_https = format!("localhost:{}", proxy.address().port());
    let refusing = refuses.address().to_string();
    let shown = run(&[
        ("yarn.http.policy", "HTTPS_ONLY"),
        ("yarn.resourcemanager.webapp.address", &refusing),
        ("yarn.resourcemanager.webapp.https.address", &by_https),
    ])
    .await?;
    assert_eq!(shown["resource_manager"]["url"], format!("https://{by_https}"), "{shown:#}");
    assert_eq!(shown["nodes"][0]["node"], "127.0.0.1");
    let shown = run(&[("yarn.resourcemanager.webapp.address", &refusing)]).await?;
    assert!(shown["summary"].to_string().contains("requires Kerberos"), "{shown:#}");
    Ok(())
}
