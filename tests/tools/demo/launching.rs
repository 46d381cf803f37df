//! The story with containers: launches as users run them, on a YARN cluster with Docker.

use std::env;
use std::error::Error;
use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use emr_ecr_agent_tests::ecr::Issued;
use emr_ecr_agent_tests::node::TRUSTED_REGISTRY;
use emr_ecr_agent_tests::registry::USER;
use emr_ecr_agent_tests::screen::{Failure, Screen};
use emr_ecr_agent_tests::testbed::{TWELVE_HOURS, shown};
use emr_ecr_agent_tests::wait;
use emr_ecr_agent_tests::yarn_cluster::{ClusterNode, Launch, Launched};
use hyper::StatusCode;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;

use crate::launching_sandbox::Sandbox;
use crate::play;

/// Proves that the container itself has run.
const RAN: i32 = 77;
/// container-executor's codes: docker could not run the container; bash could not read an untrusted one's script.
const NOT_PULLED: i32 = 7;
const NOT_TRUSTED: i32 = 127;
const READINESS: Duration = Duration::from_secs(40);
const END: Duration = Duration::from_secs(20);
const LOG_LINES: usize = 20;
const CONFIGURATION: &str = "conf/container-executor.cfg";

pub(crate) async fn show(screen: &Screen, keep: bool) -> Result<ExitCode, Failure> {
    let commands = keep.then_some(|sandbox: &Sandbox| show_commands(screen, sandbox));
    play(screen, main_job(screen), commands, async |sandbox| end(screen, sandbox).await).await
}

/// Two tokens, a copy made by hand, an extra space, health, summary. Returns the running sandbox.
async fn main_job(screen: &Screen) -> Result<Sandbox, Failure> {
    screen.title("A cluster");
    let mut sandbox = Sandbox::build(screen).await?;
    let mut rows = Vec::new();
    let outcome = run(screen, &mut sandbox, &mut rows).await;
    if outcome.is_err() {
        for (agent, node) in sandbox.agents.iter().zip(sandbox.cluster.nodes()) {
            screen.title(&format!("The end of the log of the agent on {}", node.host()));
            let log = agent.log_text();
            let lines: Vec<&str> = log.lines().collect();
            lines[lines.len().saturating_sub(LOG_LINES)..].iter().for_each(|line| screen.line(line));
        }
    }
    outcome?;
    show_summary(screen, &rows);
    Ok(sandbox)
}

async fn run(screen: &Screen, sandbox: &mut Sandbox, rows: &mut Vec<Row>) -> Result<(), Failure> {
    let mut issued = sandbox.ecr.issued();
    issued.mark_unchanged();

    screen.title("Token 1");
    screen.step("start an agent on each node", async { sandbox.start_agents() }).await?;
    let first = arrival(screen, sandbox, &mut issued).await?;
    // Nothing else changes until the end.
    sandbox.ecr.set_token_life(TWELVE_HOURS);
    let copy = sandbox.published.beside("copy.json");
    screen
        .step("a colleague copies the published file by hand", async {
            sandbox.published.shell(&["-cp", sandbox.published.path(), &copy]).await
        })
        .await?;
    let image = sandbox.registry.image();
    let with_agent = Wanted { image: &image, file: Some(sandbox.published_uri()), by: "agent", token: "1" };
    rows.push(with_agent.runs(screen, sandbox, 0).await?);

    screen.title("Token 2");
    let second = arrival(screen, sandbox, &mut issued).await?;
    screen.step("the registry refuses token 1", refuses(sandbox, &first)).await?;
    remove_images(screen, sandbox).await?;
    let with_copy =
        Wanted { file: Some(sandbox.hdfs.client().uri(&copy)), by: "by hand", token: "1", ..with_agent };
    rows.push(with_copy.fails(screen, sandbox, 0, NOT_PULLED).await?);
    let with_agent = Wanted { image: &image, file: Some(sandbox.published_uri()), by: "agent", token: "2" };
    for node in 0..sandbox.cluster.nodes().len() {
        rows.push(with_agent.runs(screen, sandbox, node).await?);
    }

    screen.title("A space after a comma in container-executor.cfg");
    spaced(screen, sandbox, rows).await?;

    screen.title("Health");
    show_health(screen, sandbox).await?;
    screen
        .step("the agents' logs contain no token", async {
            let logs = || sandbox.agents.iter().map(|agent| agent.log_text());
            let leaks = |token: &Issued| {
                logs().any(|log| log.contains(token.password()) || log.contains(&token.auth()))
            };
            if leaks(&first) || leaks(&second) { Err("one does") } else { Ok(()) }
        })
        .await
}

/// Shows the request and the publication of a token.
async fn arrival(
    screen: &Screen,
    sandbox: &mut Sandbox,
    issued: &mut watch::Receiver<Option<Issued>>,
) -> Result<Issued, Failure> {
    let token =
        screen.step("one of the agents requests a token from ECR", next_token(sandbox, issued)).await?;
    screen.note(&format!("region {}, expires at {}", token.region, clock(token.expires_at)));
    let (host, path) = (sandbox.registry.host(), sandbox.published.path());
    screen.step(&format!("it is in {path}"), sandbox.published.wait_for_auth(&host, &token.auth())).await?;
    Ok(token)
}

async fn next_token(
    sandbox: &mut Sandbox,
    issued: &mut watch::Receiver<Option<Issued>>,
) -> Result<Issued, Box<dyn Error>> {
    // A token is renewed at half of its life.
    let deadline = sandbox.first_life + READINESS;
    let token = wait::until("a request to ECR", deadline, async || {
        if let Err(ended) = sandbox.agents.iter_mut().try_for_each(|agent| agent.still_runs()) {
            return Ok(Err(ended));
        }
        match issued.has_changed() {
            Ok(true) => issued.borrow_and_update().clone().map(Ok).ok_or("none yet"),
            _ => Err("no new one yet"),
        }
    })
    .await??;
    Ok(token)
}

async fn refuses(sandbox: &Sandbox, token: &Issued) -> Result<(), Box<dyn Error>> {
    match sandbox.registry.answer_to(USER, token.password()).await? {
        StatusCode::UNAUTHORIZED => Ok(()),
        status => Err(format!("it returns {status}").into()),
    }
}

async fn remove_images(screen: &Screen, sandbox: &Sandbox) -> Result<(), Failure> {
    let image = sandbox.registry.image();
    screen
        .step("the image is removed from both nodes, so that they pull it again", async {
            for node in sandbox.cluster.nodes() {
                node.remove_image(&image).await?;
            }
            Ok::<_, Box<dyn Error>>(())
        })
        .await
}

/// A launch as a job requests it.
#[derive(Clone)]
struct Wanted<'a> {
    image: &'a str,
    /// The published file that the launch names.
    file: Option<String>,
    by: &'static str,
    token: &'static str,
}

/// A launch's row in the summary.
struct Row {
    node: String,
    image: String,
    by: &'static str,
    token: &'static str,
    exit_code: i32,
    took: Duration,
}

impl Wanted<'_> {
    async fn runs(&self, screen: &Screen, sandbox: &Sandbox, node: usize) -> Result<Row, Failure> {
        let node = &sandbox.cluster.nodes()[node];
        let name = format!("the NodeManager on {} launches a container of {}", node.host(), self.image);
        let (row, _) = screen.step(&name, self.launch(sandbox, node, RAN)).await?;
        Ok(row)
    }

    async fn fails(
        &self,
        screen: &Screen,
        sandbox: &Sandbox,
        node: usize,
        exit_code: i32,
    ) -> Result<Row, Failure> {
        let node = &sandbox.cluster.nodes()[node];
        let file =
            if self.file.is_some() { format!(" with the file published {}", self.by) } else { String::new() };
        let name = format!("a launch of {} on {}{file} fails", self.image, node.host());
        let (row, launched) = screen.step(&name, self.launch(sandbox, node, exit_code)).await?;
        for line in errors_in(&launched) {
            screen.note(line);
        }
        Ok(row)
    }

    async fn launch(
        &self,
        sandbox: &Sandbox,
        node: &ClusterNode,
        exit_code: i32,
    ) -> Result<(Row, Launched), Box<dyn Error>> {
        let mut launch = Launch::docker(self.image, &format!("exit {RAN}")).on(node);
        if let Some(file) = &self.file {
            launch = launch.client_config(file);
        }
        let begin = Instant::now();
        let launched = sandbox.cluster.launch(&launch).await?;
        let took = begin.elapsed();
        if launched.exit_code != Some(exit_code) {
            let code = launched.exit_code;
            return Err(format!("{code:?} instead of {exit_code}:\n{}", launched.diagnostics).into());
        }
        let (node, image) = (node.host(), self.image.to_owned());
        Ok((Row { node, image, by: self.by, token: self.token, exit_code, took }, launched))
    }
}

/// Docker's and container-executor's standard error.
fn errors_in(launched: &Launched) -> impl Iterator<Item = &str> {
    let output = launched.diagnostics.split_once("Shell error output: ").map_or("", |(_, after)| after);
    let errors = output.split("Shell output: ").next().unwrap_or_default();
    errors.lines().filter(|line| !line.is_empty())
}

async fn spaced(screen: &Screen, sandbox: &mut Sandbox, rows: &mut Vec<Row>) -> Result<(), Failure> {
    let image = format!("{TRUSTED_REGISTRY}/app:1");
    let of_ecr = Wanted { image: &image, file: None, by: "-", token: "-" };
    let node = &sandbox.cluster.nodes()[0];
    let right = screen
        .step("somebody edits docker.trusted.registries on a node", add_space(sandbox, node, &image))
        .await?;
    let agent = &sandbox.agents[0];
    let message = screen.step("the agent reports the finding", shown(agent, "the finding", finding)).await?;
    screen.note(&message);
    let falls = sandbox.agents[0].wait_not_ready(READINESS);
    screen.step("/readyz returns 503", falls).await?;
    let readiness = screen.step("it names the cause", sandbox.agents[0].get("/readyz")).await?;
    screen.note(readiness.text().trim());
    rows.push(of_ecr.fails(screen, sandbox, 0, NOT_TRUSTED).await?);

    let put_right = async {
        node.files().write(CONFIGURATION, &right)?;
        shown(&sandbox.agents[0], "the end of the finding", |status| finding(status).is_none().then_some(()))
            .await?;
        Ok::<_, Box<dyn Error>>(())
    };
    screen.step("the space is removed, and the finding goes", put_right).await?;
    let back = sandbox.agents[0].wait_ready(READINESS);
    screen.step("/readyz returns 200", back).await?;
    rows.push(of_ecr.runs(screen, sandbox, 0).await?);
    Ok(())
}

/// Makes ECR's entry the second, after a space, and returns the original text.
async fn add_space(sandbox: &Sandbox, node: &ClusterNode, image: &str) -> Result<String, Box<dyn Error>> {
    // The image is already on the node, so only trust decides.
    node.run(&["/usr/bin/docker", "tag", &sandbox.registry.image(), image]).await?;
    let host = sandbox.registry.host();
    let right = fs::read_to_string(node.files().path(CONFIGURATION))?;
    let wrong = right.replace(&format!("{TRUSTED_REGISTRY},{host}"), &format!("{host}, {TRUSTED_REGISTRY}"));
    node.files().write(CONFIGURATION, &wrong)?;
    Ok(right)
}

/// The finding's message about the space.
fn finding(status: &Value) -> Option<String> {
    let findings = status["findings"].as_array().into_iter().flatten();
    let mut messages = findings
        .filter(|finding| finding["code"] == "entry-with-whitespace")
        .map(|finding| &finding["message"]);
    messages.next().map(|message| text(message).to_owned())
}

async fn show_health(screen: &Screen, sandbox: &mut Sandbox) -> Result<(), Failure> {
    for (agent, node) in sandbox.agents.iter_mut().zip(sandbox.cluster.nodes()) {
        let name = format!("/readyz on {} returns 200", node.host());
        screen.step(&name, agent.wait_ready(READINESS)).await?;
        let status = agent.status();
        let status = screen.step("/status has the details", status).await?;
        for registry in status["registries"].as_array().into_iter().flatten() {
            let [host, expires_at, source] = ["host", "expires_at", "source"].map(|key| text(&registry[key]));
            screen.note(&format!("{host} until {expires_at} (source: {source})"));
        }
    }
    let calls = sandbox.ecr.calls().len();
    screen.note(&format!("calls to ECR so far: {calls}, for 2 tokens and {} nodes", sandbox.agents.len()));
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn show_summary(screen: &Screen, rows: &[Row]) {
    let width = rows.iter().map(|row| row.image.len()).max().unwrap_or_default();
    screen.title("Launches");
    screen.line(&format!("  node        {:width$}  published  token  took    exit  outcome", "image"));
    for row in rows {
        let outcome = match row.exit_code {
            RAN => "ran",
            NOT_PULLED => "refused by the registry",
            _ => "not trusted",
        };
        screen.line(&format!(
            "  {:<10}  {:width$}  {:<9}  {:<5}  {:>4.1} s  {:>4}  {outcome}",
            row.node,
            row.image,
            row.by,
            row.token,
            row.took.as_secs_f32(),
            row.exit_code,
        ));
    }
}

/// Shows what to try while the demo keeps running.
fn show_commands(screen: &Screen, sandbox: &Sandbox) {
    let demo = env::current_exe().unwrap_or_else(|_| "target/debug/demo".into());
    let (demo, rest) = (demo.display(), sandbox.cluster.rest());
    let (manager, partition) = (rest.address(), rest.partition());
    let (image, file, path) = (sandbox.registry.image(), sandbox.published_uri(), sandbox.published.path());
    screen.title("Running until Ctrl-C, which stops and removes everything; try");
    let command = |what: &str, line: &str| screen.line(&format!("  # {what}\n  {line}"));
    command("launch a container", &format!("{demo} launch {manager} {partition} {image} {file} 'exit 77'"));
    command("read the published file", &format!("{} -cat {path}", sandbox.shell_script.display()));
    command("the ResourceManager's pages", &format!("curl http://{manager}/cluster"));
    for (agent, node) in sandbox.agents.iter().zip(sandbox.cluster.nodes()) {
        let (health, host) = (agent.address(), node.host());
        let curl = format!("curl http://{health}/status http://{health}/readyz?verbose");
        command(&format!("what the agent on {host} says"), &curl);
        command("a program on that node", &format!("{} docker image ls", node.entry()));
        command("its files; /etc/hadoop/conf is conf", &format!("ls {}", node.files().path("").display()));
    }
}

/// Stops the agents as systemd would.
async fn end(screen: &Screen, mut sandbox: Sandbox) -> Result<(), Failure> {
    screen.title("The end");
    for agent in &mut sandbox.agents {
        let ended = async {
            let status = agent.terminate(END).await?;
            if status.success() {
                Ok(())
            } else {
                Err(Box::<dyn Error>::from(format!("it ended with {status}")))
            }
        };
        screen.step("an agent ends with status 0 after SIGTERM", ended).await?;
    }
    Ok(())
}

fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%S").to_string()
}
