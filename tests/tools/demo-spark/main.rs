//! `make demo-spark`: two Spark jobs, side by side, that run for four token lifetimes. After each, both lose their
//! executor and its image, so that the next executor must pull. One uses the file that the agent publishes, the
//! other a copy made once by hand.
//!
//! The exit code is 0 only if the first job succeeded without a refused pull, and the second died because the
//! registry refused every pull; it is 77 if root or a part is missing.

mod job;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use emr_ecr_agent_tests::ecr::Ecr;
use emr_ecr_agent_tests::hdfs::Hdfs;
use emr_ecr_agent_tests::imds::Imds;
use emr_ecr_agent_tests::node::{AwsEndpoints, REGION, TRUSTED_REGISTRY};
use emr_ecr_agent_tests::parts::{Part, hadoop_version};
use emr_ecr_agent_tests::registry::{Gate, Registry};
use emr_ecr_agent_tests::screen::{Failure, Screen};
use emr_ecr_agent_tests::testbed::{Published, SOON};
use emr_ecr_agent_tests::yarn_cluster::{self, ClusterNode, YarnCluster};
use jiff::SignedDuration;
use serde_json::Value;
use tokio::time::{Instant, sleep_until};
use tokio::try_join;

use job::{Job, Setup};

/// Long enough for both jobs to start, so that the second dies in the middle of its work.
const FIRST_LIFE: SignedDuration = SignedDuration::from_secs(150);
const LATER_LIFE: SignedDuration = SignedDuration::from_secs(40);
const LIVES: u32 = 4;
const CONFIGURATION: &str = "conf/container-executor.cfg";
const NO_ROOT: u8 = 77;

// On the main thread: the kernel kills the servers when the thread that started them ends.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let screen = Screen::new();
    let missing = Part::spark().err().map(|missing| missing.to_string());
    if let Some(obstacle) = missing.or_else(yarn_cluster::obstacle) {
        screen.warn(&format!("NOTHING SHOWN: {obstacle}"));
        return ExitCode::from(NO_ROOT);
    }
    match run(&screen).await {
        Ok(rows) => verdict(&screen, &rows),
        Err(failure) => {
            screen.failed(&failure);
            ExitCode::FAILURE
        }
    }
}

/// A job's row in the summary.
struct Row {
    name: &'static str,
    /// How many executors worked.
    executors: usize,
    tokens: usize,
    refused: usize,
    report: Value,
}

async fn run(screen: &Screen) -> Result<[Row; 2], Failure> {
    screen.title("A cluster");
    let hdfs = screen.step(&format!("start HDFS {}", hadoop_version()), Hdfs::start()).await?;
    let (gate, ecr, imds) = screen
        .step(
            "start a registry with an image of Java and Python, and the stand-ins for ECR and IMDSv2",
            async {
                let registry = Registry::start_with_java(&[AGENT, COPY]).await?;
                let (gate, ecr) = (Gate::before(registry).await?, Ecr::start(FIRST_LIFE).await?);
                gate.follow(&ecr);
                Ok::<_, Box<dyn Error>>((gate, ecr, Imds::start(REGION).await?))
            },
        )
        .await?;
    let host = gate.host();
    let registries = [host.as_str()];
    let cluster = YarnCluster::start(hdfs.client(), 2, &registries);
    let cluster =
        screen.step("start YARN: ResourceManager, 2 nodes with NodeManager and Docker", cluster).await?;
    let published = Published::on(hdfs.client().clone(), "/user/hadoop");
    let endpoints = AwsEndpoints { ecr: ecr.address(), imds: imds.address() };
    let mut agents = screen
        .step("start an agent on each node", async {
            for node in cluster.nodes() {
                allow_mount(node, &Part::spark()?.path("home"))?;
            }
            Ok::<_, Box<dyn Error>>(cluster.start_agents(endpoints, |node| {
                let mut settings = node.settings(published.path());
                settings.set("refresh.minimum_validity", "5s").registry(TRUSTED_REGISTRY, &registries);
                settings
            })?)
        })
        .await?;
    for agent in &mut agents {
        screen.step("the agent is ready", agent.wait_ready(SOON)).await?;
    }
    // The first token expires a little earlier.
    let first_ends = Instant::now() + FIRST_LIFE.unsigned_abs();
    ecr.set_token_life(LATER_LIFE);
    let copy = published.beside("copy.json");
    screen
        .step(
            "a colleague copies the published file, once",
            published.shell(&["-cp", published.path(), &copy]),
        )
        .await?;

    let (first, later) = (FIRST_LIFE.as_secs(), LATER_LIFE.as_secs());
    screen.title(&format!("Two Spark jobs of {LIVES} token lifetimes: {first} s, then {later} s each"));
    let (nodes, client) = (cluster.nodes(), hdfs.client());
    let (agent_image, copy_image) = (gate.image(AGENT), gate.image(COPY));
    let (agent_file, copy_file) = (client.uri(published.path()), client.uri(&copy));
    let setup = |name, image, file, node| Setup { name, image, file, node };
    let submit = |setup| Job::submit(setup, cluster.rest(), client);
    let with_agent = setup(AGENT, agent_image.as_str(), agent_file.as_str(), &nodes[0]);
    let with_copy = setup(COPY, copy_image.as_str(), copy_file.as_str(), &nodes[1]);
    let both = async { try_join!(submit(with_agent), submit(with_copy)) };
    let submitting = "submit one with the agent's file, one with the copy";
    let (mut job, mut control) = screen.step(submitting, both).await?;
    screen.step("the first has an executor, which works", job.works()).await?;
    screen.step("so has the second", control.works()).await?;

    for life in 1..=LIVES {
        let over = async {
            sleep_until(first_ends + LATER_LIFE.unsigned_abs() * (life - 1)).await;
            Ok::<_, Box<dyn Error>>(())
        };
        screen.step(&format!("life {life} of {LIVES} is over"), over).await?;
        let lose = async {
            job.lose_executors().await?;
            control.lose_executors().await
        };
        screen.step("both jobs lose their executor and its image", lose).await?;
        screen.step("the first has another executor, which works", job.recovers()).await?;
    }
    let end = async {
        job.stop().await?;
        job.ended().await
    };
    let report = screen.step("the first job ends", end).await?;
    let control_report = screen.step("the second has ended", control.ended()).await?;
    if let Some(line) = control.driver_log("stderr").lines().find(|line| line.contains("docker: ")) {
        screen.note(line);
    }
    let tokens = ecr.calls().len();
    let row = |job: &Job<'_>, report, tokens| Row {
        name: job.name(),
        executors: job.executors(),
        tokens,
        refused: gate.refused(job.name()),
        report,
    };
    Ok([row(&job, report, tokens), row(&control, control_report, 1)])
}

/// The jobs' names, which are also their images' tags.
const AGENT: &str = "agent";
const COPY: &str = "copy";

/// Lets containers mount this directory read-only.
fn allow_mount(node: &ClusterNode, directory: &Path) -> Result<(), Box<dyn Error>> {
    const KEY: &str = "docker.allowed.ro-mounts=";
    let text = fs::read_to_string(node.files().path(CONFIGURATION))?;
    let text = text.replace(KEY, &format!("{KEY}{},", directory.display()));
    Ok(node.files().write(CONFIGURATION, &text)?)
}

fn verdict(screen: &Screen, rows: &[Row; 2]) -> ExitCode {
    screen.title("Summary");
    screen.line("  published by  executors  tokens  refused pulls  ended");
    for row in rows {
        let text = |key: &str| row.report[key].as_str().unwrap_or_default();
        let seconds = row.report["elapsedTime"].as_u64().unwrap_or_default() / 1000;
        screen.line(&format!(
            "  {:<12}  {:>9}  {:>6}  {:>13}  {} after {seconds} s",
            row.name,
            row.executors,
            row.tokens,
            row.refused,
            text("finalStatus"),
        ));
        text("diagnostics").lines().take(1).for_each(|line| screen.note(line));
    }
    let [job, control] = rows;
    let job_is_well = job.report["finalStatus"] == "SUCCEEDED" && job.refused == 0;
    // The only executor's pull preceded the token's expiry.
    let control_died =
        control.report["finalStatus"] == "FAILED" && control.executors == 1 && control.refused > 0;
    if job_is_well && control_died {
        return ExitCode::SUCCESS;
    }
    screen.warn("the jobs did not end as they should");
    ExitCode::FAILURE
}
