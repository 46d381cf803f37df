//! A Spark job in cluster mode: one executor, with all containers running a private image on one node.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use emr_ecr_agent_tests::hdfs::HdfsClient;
use emr_ecr_agent_tests::parts::Part;
use emr_ecr_agent_tests::wait;
use emr_ecr_agent_tests::yarn_cluster::{ClusterNode, Rest};
use serde_json::Value;

/// From submission to the first round, including a pull of the whole image.
const START: Duration = Duration::from_secs(300);
/// From the end of an executor to the first round on its successor.
const RECOVERY: Duration = Duration::from_secs(120);
const END: Duration = Duration::from_secs(120);
/// The number of failures after which Spark gives up.
const MOST_FAILURES: usize = 8;
const ROUNDS: &str = include_str!("rounds.py");
/// Spark's path in containers.
const SPARK: &str = "/opt/spark";
const JAVA: &str = "/usr/lib/jvm/java-17-openjdk-amd64";

/// The settings in which jobs differ.
pub(crate) struct Setup<'a> {
    pub name: &'static str,
    pub image: &'a str,
    /// The file with the job's credentials.
    pub file: &'a str,
    pub node: &'a ClusterNode,
}

/// A submitted job.
pub(crate) struct Job<'a> {
    setup: Setup<'a>,
    rest: Rest,
    hdfs: &'a HdfsClient,
    application: String,
    /// The containers of executors that worked.
    seen: BTreeSet<String>,
}

impl<'a> Job<'a> {
    pub(crate) async fn submit(
        setup: Setup<'a>,
        rest: Rest,
        hdfs: &'a HdfsClient,
    ) -> Result<Self, Box<dyn Error>> {
        let node = setup.node;
        node.files().write("rounds.py", ROUNDS)?;
        let words = submission(&setup, hdfs)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        node.run(&words).await?;
        let tagged = rest.tagged(setup.name).await?;
        let application = tagged.into_iter().next().ok_or("Spark has submitted nothing")?;
        Ok(Self { setup, rest, hdfs, application, seen: BTreeSet::new() })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.setup.name
    }

    /// How many executors have worked so far.
    pub(crate) fn executors(&self) -> usize {
        self.seen.len()
    }

    /// Waits for the first round.
    pub(crate) async fn works(&mut self) -> Result<(), Box<dyn Error>> {
        self.works_on_another_executor(START).await
    }

    /// Removes the image from the node and kills the executors.
    pub(crate) async fn lose_executors(&self) -> Result<(), Box<dyn Error>> {
        let node = self.setup.node;
        node.remove_image(self.setup.image).await?;
        let containers = self.application.replace("application", "container");
        let filter = format!("name={containers}");
        let names =
            node.run(&["/usr/bin/docker", "ps", "--filter", &filter, "--format", "{{.Names}}"]).await?;
        // The first container is the driver's.
        for name in names.lines().filter(|name| !name.ends_with("_000001")) {
            node.run(&["/usr/bin/docker", "kill", name]).await?;
        }
        Ok(())
    }

    /// Waits for a round on an executor that has not worked before.
    pub(crate) async fn recovers(&mut self) -> Result<(), Box<dyn Error>> {
        self.works_on_another_executor(RECOVERY).await
    }

    /// Makes the job end after the current round.
    pub(crate) async fn stop(&self) -> Result<(), Box<dyn Error>> {
        self.hdfs.fs_shell("hadoop", &["-touchz", &end_of(self.setup.name)]).await?;
        Ok(())
    }

    /// Waits for the job to end; returns the ResourceManager's report.
    pub(crate) async fn ended(&self) -> Result<Value, Box<dyn Error>> {
        Ok(self.rest.ended(&self.application, END).await?)
    }

    /// The driver's output on this stream.
    pub(crate) fn driver_log(&self, stream: &str) -> String {
        let container = self.application.replace("application", "container");
        let name = format!("nm-log/{}/{container}_01_000001/{stream}", self.application);
        fs::read_to_string(self.setup.node.files().path(&name)).unwrap_or_default()
    }

    async fn works_on_another_executor(&mut self, deadline: Duration) -> Result<(), Box<dyn Error>> {
        let what = format!("a round of the job {}", self.setup.name);
        let used = wait::until(&what, deadline, async || {
            let report = self.rest.report(&self.application).await.map_err(|error| error.to_string())?;
            if report["finalStatus"] != "UNDEFINED" {
                return Ok(Err(report["diagnostics"].as_str().unwrap_or_default().to_owned()));
            }
            let used = self.used();
            if used.is_subset(&self.seen) { Err(report["state"].to_string()) } else { Ok(Ok(used)) }
        })
        .await?;
        self.seen.extend(used?);
        Ok(())
    }

    /// The containers of all rounds so far.
    fn used(&self) -> BTreeSet<String> {
        let log = self.driver_log("stdout");
        let rounds = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        rounds
            .filter_map(|round| serde_json::from_value::<Vec<String>>(round["containers"].clone()).ok())
            .flatten()
            .collect()
    }
}

/// The spark-submit command line, with all settings for Docker on YARN.
fn submission(setup: &Setup<'_>, hdfs: &HdfsClient) -> Result<Vec<String>, Box<dyn Error>> {
    let (host, label) = (setup.node.host(), setup.node.label());
    let home = Part::spark()?.path("home").display().to_string();
    let java = fs::canonicalize(Part::hadoop()?.path("jdk"))?.display().to_string();
    let as_hadoop = ["setpriv", "--reuid", "hadoop", "--regid", "hadoop", "--init-groups", "--", "env"];
    let environment = [
        ("JAVA_HOME", &java),
        ("SPARK_HOME", &home),
        ("SPARK_LOCAL_IP", &host),
        ("HADOOP_CONF_DIR", &"/etc/hadoop/conf".to_owned()),
    ];
    let mut words: Vec<String> = as_hadoop.map(str::to_owned).to_vec();
    words.extend(environment.map(|(name, value)| format!("{name}={value}")));
    words.push(format!("{home}/bin/spark-submit"));
    words.extend(
        ["--master", "yarn", "--deploy-mode", "cluster", "--name", setup.name, "--num-executors", "1"]
            .map(str::to_owned),
    );
    for (key, value) in [
        ("driver.memory", "512m"),
        ("executor.memory", "512m"),
        ("ui.enabled", "false"),
        ("yarn.tags", setup.name),
        ("yarn.submit.waitAppCompletion", "false"),
        ("yarn.maxAppAttempts", "1"),
        ("yarn.am.waitTime", "300s"),
        ("yarn.am.nodeLabelExpression", &label),
        ("yarn.executor.nodeLabelExpression", &label),
        ("yarn.jars", &format!("local:{SPARK}/jars/*")),
        ("yarn.max.executor.failures", &MOST_FAILURES.to_string()),
        ("pyspark.python", "python3"),
    ] {
        words.extend(["--conf".to_owned(), format!("spark.{key}={value}")]);
    }
    let mounts = format!("{home}:{SPARK}:ro");
    for (name, value) in [
        ("YARN_CONTAINER_RUNTIME_TYPE", "docker"),
        ("YARN_CONTAINER_RUNTIME_DOCKER_IMAGE", setup.image),
        ("YARN_CONTAINER_RUNTIME_DOCKER_CLIENT_CONFIG", setup.file),
        ("YARN_CONTAINER_RUNTIME_DOCKER_MOUNTS", &mounts),
        ("JAVA_HOME", JAVA),
        ("SPARK_LOCAL_IP", &host),
    ] {
        for side in ["spark.yarn.appMasterEnv", "spark.executorEnv"] {
            words.extend(["--conf".to_owned(), format!("{side}.{name}={value}")]);
        }
    }
    let script: PathBuf = setup.node.files().path("rounds.py");
    words.extend([script.display().to_string(), hdfs.uri(&end_of(setup.name))]);
    Ok(words)
}

/// The file whose appearance ends the job.
fn end_of(name: &str) -> String {
    format!("/user/hadoop/end-of-{name}")
}
