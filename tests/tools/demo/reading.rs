//! The story without containers: three tokens arrive, are published, reach docker through YARN's own class, pull an
//! image with skopeo, and are rejected once the next one has arrived.

use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use emr_ecr_agent_tests::ecr::Issued;
use emr_ecr_agent_tests::node::TRUSTED_REGISTRY;
use emr_ecr_agent_tests::registry::USER;
use emr_ecr_agent_tests::screen::{Failure, Screen};
use emr_ecr_agent_tests::skopeo;
use emr_ecr_agent_tests::wait;
use emr_ecr_agent_tests::yarn::{HandOver, Launch};
use hyper::StatusCode;
use jiff::Timestamp;
use nix::unistd::geteuid;
use serde_json::Value;
use tokio::sync::watch;

use crate::play;
use crate::reading_sandbox::{PUBLISHED, Sandbox, TOKEN_LIFE};

const TOKENS: usize = 3;
/// A token is renewed at half of its life.
const ARRIVAL: Duration = Duration::from_secs(TOKEN_LIFE.as_secs().unsigned_abs() + 20);
const PUBLICATION: Duration = Duration::from_secs(20);
const READINESS: Duration = Duration::from_secs(20);
const END: Duration = Duration::from_secs(20);
const LOG_LINES: usize = 20;

pub(crate) async fn show(screen: &Screen, keep: bool) -> Result<ExitCode, Failure> {
    let commands = keep.then_some(|sandbox: &Sandbox| show_addresses(screen, sandbox));
    play(screen, main_job(screen), commands, async |sandbox| end(screen, sandbox).await).await
}

/// Three tokens, health, summary. Returns the running sandbox.
async fn main_job(screen: &Screen) -> Result<Sandbox, Failure> {
    screen.title("The sandbox");
    let mut sandbox = Sandbox::build(screen).await?;
    let outcome = run(screen, &mut sandbox).await;
    if outcome.is_err() {
        screen.title("The end of the agent's log");
        let log = sandbox.agent.log_text();
        let lines: Vec<&str> = log.lines().collect();
        for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
            screen.line(line);
        }
    }
    outcome.map(|()| sandbox)
}

/// Shows what to try while the demo keeps running.
fn show_addresses(screen: &Screen, sandbox: &Sandbox) {
    let client = sandbox.hdfs.client();
    let health = sandbox.agent.address();
    screen.title("Running until Ctrl-C; try");
    for line in [
        format!("curl http://{health}/readyz?verbose"),
        format!("curl http://{health}/status"),
        format!("curl http://{health}/metrics"),
        format!("published   {}", sandbox.published_uri()),
        format!("HDFS conf   {}", client.conf_dir().display()),
        format!("node        {}", sandbox.node.path("").display()),
        format!("agent.toml  {}", sandbox.node.agent_toml().display()),
        format!("agent log   {}", sandbox.node.path("agent.log").display()),
        format!("docker      {}", sandbox.node.docker_config().display()),
        format!("image       {}", sandbox.registry.image()),
        format!("ECR         http://{}", sandbox.ecr.address()),
        format!("IMDSv2      http://{}", sandbox.imds.address()),
    ] {
        screen.line(&format!("  {line}"));
    }
}

/// Stops the agent as systemd would, and then everything else.
async fn end(screen: &Screen, mut sandbox: Sandbox) -> Result<(), Failure> {
    screen.title("The end");
    screen
        .step("the agent ends with status 0 after SIGTERM", async {
            let status = sandbox.agent.terminate(END).await?;
            if status.success() {
                Ok(())
            } else {
                Err(Box::<dyn Error>::from(format!("it ended with {status}")))
            }
        })
        .await?;
    Ok(())
}

async fn run(screen: &Screen, sandbox: &mut Sandbox) -> Result<(), Failure> {
    let mut issued = sandbox.ecr.issued();
    issued.mark_changed();

    let mut rounds: Vec<Round> = Vec::new();
    for number in 1..=TOKENS {
        screen.title(&format!("Token {number} of {TOKENS}"));
        let before = rounds.last();
        let round = follow_token(screen, sandbox, &mut issued, before).await?;
        rounds.push(round);
    }

    screen.title("Health");
    show_health(screen, sandbox).await?;
    screen
        .step("the agent's log contains no token", async {
            let log = sandbox.agent.log_text();
            if !rounds.iter().any(|round| leaks(&log, &round.token)) { Ok(()) } else { Err("one does") }
        })
        .await?;
    show_summary(screen, &rounds);
    Ok(())
}

/// The facts about one token.
struct Round {
    token: Issued,
    published_after: Duration,
    pulled_in: Duration,
    /// The file from YARN, kept to show that it stops working.
    config_json: PathBuf,
}

async fn follow_token(
    screen: &Screen,
    sandbox: &mut Sandbox,
    issued: &mut watch::Receiver<Option<Issued>>,
    before: Option<&Round>,
) -> Result<Round, Failure> {
    let token = screen.step("the agent requests a token from ECR", next_token(sandbox, issued)).await?;
    let since = Instant::now();
    screen.note(&format!("region {}, expires at {}", token.region, clock(token.expires_at)));

    let handed = screen
        .step(&format!("YARN's own class reads it from {PUBLISHED}"), handed_over(sandbox, &token))
        .await?;
    let published_after = since.elapsed();
    for registry in handed.registries() {
        screen.note(&format!("passed to docker: {registry} = {USER}:********"));
    }

    let begin = Instant::now();
    let image = sandbox.registry.image();
    let report = screen
        .step(
            &format!("skopeo pulls the manifest of {image} with it"),
            skopeo::inspect(&image, &handed.config_json),
        )
        .await?;
    let pulled_in = begin.elapsed();
    screen.note(report["Digest"].as_str().unwrap_or("no digest"));

    let docker_config = sandbox.node.docker_config();
    screen
        .step(
            "the node's Docker config has it, too",
            local_copy(&docker_config, &sandbox.registry.host(), &token),
        )
        .await?;

    if let Some(before) = before {
        let refused = refused(&image, before);
        screen.step("the registry rejects the previous token", refused).await?;
    }
    Ok(Round { token, published_after, pulled_in, config_json: handed.config_json })
}

async fn next_token(
    sandbox: &mut Sandbox,
    issued: &mut watch::Receiver<Option<Issued>>,
) -> Result<Issued, Box<dyn Error>> {
    let token = wait::until("a request to ECR", ARRIVAL, async || {
        if let Err(ended) = sandbox.agent.still_runs() {
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

/// Repeats a launch until YARN passes `token` to docker for both names of the registry.
async fn handed_over(sandbox: &mut Sandbox, token: &Issued) -> Result<HandOver, Box<dyn Error>> {
    let uri = sandbox.published_uri();
    let names = [TRUSTED_REGISTRY.to_owned(), sandbox.registry.host()];
    let handed = wait::until("the new token in the published file", PUBLICATION, async || {
        let handed = match sandbox.yarn.launch(&uri).await {
            Ok(Launch::Handed(handed)) => handed,
            Ok(Launch::Failed { class, message }) => return Err(format!("{class}: {message}")),
            Err(error) => return Err(error.to_string()),
        };
        for name in &names {
            match handed.password(name) {
                Some(password) if password == token.password() => {}
                Some(_) => return Err(format!("{name} has another token")),
                None => return Err(format!("{name} has no token")),
            }
        }
        Ok(handed)
    })
    .await?;
    Ok(handed)
}

/// Waits until the file has `token` for `registry`; only its owner may read it.
async fn local_copy(path: &Path, registry: &str, token: &Issued) -> Result<(), Box<dyn Error>> {
    wait::until("the token in the local file", PUBLICATION, async || {
        let text = fs::read(path).map_err(|error| error.to_string())?;
        let document: Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
        if document["auths"][registry]["auth"] == token.auth() {
            Ok(())
        } else {
            Err("it has another token".to_owned())
        }
    })
    .await?;
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    match mode {
        0o600 => Ok(()),
        _ => Err(format!("its mode is {mode:o}").into()),
    }
}

async fn refused(image: &str, before: &Round) -> Result<(), Box<dyn Error>> {
    match skopeo::inspect(image, &before.config_json).await {
        Err(skopeo::Error::Refused { message, .. }) if message.contains("unauthorized") => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_report) => Err("it was accepted".into()),
    }
}

async fn show_health(screen: &Screen, sandbox: &mut Sandbox) -> Result<(), Failure> {
    if geteuid().is_root() {
        screen.step("/readyz returns 200", sandbox.agent.wait_ready(READINESS)).await?;
    } else {
        screen.note("container-executor.cfg must be owned by root; without root /readyz may fail");
    }
    let live = screen
        .step("/livez returns 200", async {
            let answer = sandbox.agent.get("/livez").await?;
            match answer.status {
                StatusCode::OK => Ok(answer.text()),
                status => Err(Box::<dyn Error>::from(format!("it returns {status}"))),
            }
        })
        .await?;
    screen.note(live.trim());
    let status = screen.step("/status has the details", sandbox.agent.status()).await?;
    for check in status["checks"].as_array().into_iter().flatten() {
        let mark = if check["ok"] == true { "[+]" } else { "[-]" };
        screen.note(&format!("{mark} {}", text(&check["name"])));
    }
    for registry in status["registries"].as_array().into_iter().flatten() {
        let (host, expires_at) = (text(&registry["host"]), text(&registry["expires_at"]));
        screen.note(&format!("{host} until {expires_at}"));
    }
    for finding in status["findings"].as_array().into_iter().flatten() {
        let (code, message) = (text(&finding["code"]), text(&finding["message"]));
        screen.note(&format!("finding {code}: {message}"));
    }
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn leaks(log: &str, token: &Issued) -> bool {
    log.contains(token.password()) || log.contains(&token.auth())
}

fn show_summary(screen: &Screen, rounds: &[Round]) {
    screen.title("Summary");
    screen.line("  token  issued    expires   at YARN after  pulled in  previous");
    for (number, round) in rounds.iter().enumerate() {
        screen.line(&format!(
            "  {:<5}  {}  {}  {:>11.2} s  {:>7.2} s  {}",
            number + 1,
            clock(round.token.issued_at),
            clock(round.token.expires_at),
            round.published_after.as_secs_f32(),
            round.pulled_in.as_secs_f32(),
            if number == 0 { "-" } else { "rejected" },
        ));
    }
}

fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%S").to_string()
}
