//! Secrets stay where they belong: whatever the agent says, and wherever, none of them is in it.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use emr_ecr_agent_tests::agent::Agent;
use emr_ecr_agent_tests::ecr::{Fault, Issued};
use emr_ecr_agent_tests::imds;
use emr_ecr_agent_tests::scene::{Outcome, SOON, Scene, passes, shown};
use jiff::SignedDuration;
use nix::unistd::geteuid;

/// Stands in documents of others that the agent cannot read as what they should be.
const STRANGERS: &str = "hunter2-of-a-stranger";

#[tokio::test]
async fn nothing_the_agent_says_holds_a_secret() -> Outcome {
    let Some((mut scene, published)) = Scene::with_hdfs().await? else { return Ok(()) };
    let log_file = scene.node.path("agent-own.log");
    scene.settings.set("log.level", "trace").set("log.file", log_file.display().to_string());
    scene.ecr.set_token_life(SignedDuration::from_secs(4));
    scene.node.write("root/.docker/config.json", &format!("{{\"auths\": {STRANGERS}"))?;
    published.put(&format!("{{\"auths\": {STRANGERS}")).await?;
    let agent = scene.start()?;

    // Good days and bad days: each has its own words.
    let mut tokens = Vec::new();
    let first = wait_for_token(&agent, &scene).await?;
    let mut said = answers(&agent).await?;
    tokens.push(first);
    for fault in [Fault::NotAwsUser, Fault::NotBase64, Fault::Garbage] {
        let calls = scene.ecr.calls().len();
        scene.ecr.fail_always(fault);
        scene.ecr.wait_for_calls(calls + 1, SOON).await?;
        passes(&agent, 1).await?;
        said.push_str(&answers(&agent).await?);
        scene.ecr.heal();
        tokens.push(wait_for_token(&agent, &scene).await?);
    }
    scene.node.write("root/.docker/config.json", "{}")?;
    published.put("{}").await?;
    passes(&agent, 2).await?;
    said.push_str(&answers(&agent).await?);
    said.push_str(&process(&agent)?);
    for command in [&["status"] as &[&str], &["status", "--json"], &["once", "--json"], &["check"]] {
        let finished = scene.run(command).await?;
        said.push_str(&(finished.out + &finished.err));
    }
    said.push_str(&agent.log_text());
    let own_log = fs::read_to_string(&log_file)?;
    assert!(own_log.contains("started") && agent.log_text().contains("started"));
    said.push_str(&own_log);
    tokens.push(scene.ecr.newest("us-east-1").ok_or("no token issued")?);

    let fixed = [imds::SECRET_KEY, imds::SESSION_TOKEN, STRANGERS, "not-a-token-of-ecr", "It works!"];
    let secrets = tokens.iter().flat_map(|token| [token.auth(), token.password().to_owned()]);
    for secret in secrets.chain(fixed.map(str::to_owned)) {
        check_absent(&secret, &said);
    }
    Ok(())
}

/// A piece would be as bad as the whole: no error text may quote the start of a token either.
fn check_absent(secret: &str, said: &str) {
    for form in forms(secret) {
        let piece = &form[..form.len().min(40)];
        if let Some(at) = said.find(piece) {
            let line = said[..at].rfind('\n').map_or(0, |end| end + 1);
            panic!("a secret stands after {:?}", &said[line..at]);
        }
    }
}

#[tokio::test]
async fn files_with_secrets_are_never_open_to_others() -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    let scene = Scene::without_hdfs().await?;
    // Even where the folder lets everybody look, and the umask is the machine's.
    fs::set_permissions(scene.node.path("root/.docker"), fs::Permissions::from_mode(0o777))?;
    scene.node.write("root/.docker/config.json", "{}")?;
    fs::set_permissions(scene.node.docker_config(), fs::Permissions::from_mode(0o666))?;
    let agent = scene.start()?;
    wait_for_token(&agent, &scene).await?;
    shown(&agent, "a fresh local file", |status| (status["places"][0]["fresh"] == true).then_some(()))
        .await?;
    assert_eq!(fs::metadata(scene.node.docker_config())?.permissions().mode() & 0o7777, 0o600);
    Ok(())
}

#[tokio::test]
async fn memory_is_kept_out_of_core_files() -> Outcome {
    let scene = Scene::without_hdfs().await?;
    let agent = scene.start()?;
    wait_for_token(&agent, &scene).await?;
    let id = agent.process_id().ok_or("the agent has ended")?;
    let limits = fs::read_to_string(format!("/proc/{id}/limits"))?;
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).ok_or("no such limit")?;
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    Ok(())
}

async fn wait_for_token(
    agent: &Agent,
    scene: &Scene,
) -> Result<Issued, Box<dyn std::error::Error + Send + Sync>> {
    shown(agent, "a token", |status| {
        let registry = &status["registries"][0];
        (registry["expires_at"].is_string() && registry["last_error"].is_null()).then_some(())
    })
    .await?;
    Ok(scene.ecr.newest("us-east-1").ok_or("no token issued")?)
}

/// All that the endpoint has to say.
async fn answers(agent: &Agent) -> Result<String, emr_ecr_agent_tests::agent::Error> {
    let mut said = String::new();
    for path in ["/livez?verbose", "/readyz", "/readyz?verbose", "/status", "/metrics", "/unknown"] {
        said.push_str(&agent.get(path).await?.text());
    }
    Ok(said)
}

/// What other programs can see of the process.
fn process(agent: &Agent) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let id = agent.process_id().ok_or("the agent has ended")?;
    let command_line = fs::read_to_string(format!("/proc/{id}/cmdline"))?;
    assert!(command_line.contains("emr-ecr-agent"));
    // A process without core files shows its environment to root alone.
    let environment = match geteuid().is_root() {
        true => fs::read_to_string(format!("/proc/{id}/environ"))?,
        false => String::new(),
    };
    Ok(command_line + &environment)
}

/// A secret as it is and as it would look after the usual ways of wrapping it.
fn forms(secret: &str) -> [String; 5] {
    [
        secret.to_owned(),
        STANDARD.encode(secret),
        URL_SAFE.encode(secret),
        percent_encoded(secret),
        serde_json::Value::from(secret).to_string().trim_matches('"').to_owned(),
    ]
}

fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
