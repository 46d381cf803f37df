//! No output of the agent contains a secret.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex, PoisonError};

use emr_ecr_agent_tests::agent::Agent;
use emr_ecr_agent_tests::canary;
use emr_ecr_agent_tests::ecr::{BadToken, Fault};
use emr_ecr_agent_tests::imds::{self, Behavior};
use emr_ecr_agent_tests::node::TRUSTED_REGISTRY;
use emr_ecr_agent_tests::ports::Port;
use emr_ecr_agent_tests::sts;
use emr_ecr_agent_tests::testbed::identities::{
    Identities, OTHERS, PROFILE, PROFILE_KEY, PROFILE_SECRET_KEY, PUBLIC, READER, THIRD, has_token, registry,
};
use emr_ecr_agent_tests::testbed::{
    Outcome, SOON, Testbed, docker_config_fresh, passes, shown, wait_for_token,
};
use futures_util::future::try_join_all;
use jiff::SignedDuration;
use nix::unistd::geteuid;

/// Occurs in malformed documents of other users.
const FOREIGN: &str = "hunter2-of-a-stranger";
/// An operator's own credential for another registry.
const STATIC_AUTH: &str = "b3BlcmF0b3I6aHVudGVyMi1vZi10aGUtb3BlcmF0b3I=";

#[tokio::test]
async fn no_output_contains_a_secret() -> Outcome {
    let Some((testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    let mut testbed = Identities::around(testbed).await?;
    testbed.add_others_by_role();
    testbed.settings.registry_with(THIRD, &[("profile", PROFILE)]).registry(PUBLIC, &[]);
    let log_file = testbed.node.path("agent-own.log");
    testbed.settings.set("log.level", "trace").set("log.libraries", "info");
    testbed.settings.set("log.file", log_file.display().to_string());
    let temporary = testbed.node.path("temporary");
    fs::create_dir(&temporary)?;
    testbed.environment.push(("TMPDIR", temporary.clone()));
    let static_credentials = testbed.node.path("static.json");
    testbed.settings.set("static_credentials", static_credentials.display().to_string());
    testbed
        .node
        .write("static.json", &format!(r#"{{"auths":{{"hub.example.com":{{"auth":"{STATIC_AUTH}"}}}}}}"#))?;
    fs::set_permissions(&static_credentials, fs::Permissions::from_mode(0o600))?;
    testbed.ecr.set_token_life(SignedDuration::from_secs(4));
    testbed.node.write("root/.docker/config.json", &format!("{{\"auths\": {FOREIGN}"))?;
    published.put(&format!("{{\"auths\": {FOREIGN}")).await?;
    testbed.public.set_token_life(SignedDuration::from_secs(4));
    let tokens = Arc::new(Mutex::new(Vec::new()));
    for ecr in [&testbed.ecr, &testbed.public] {
        let tokens = Arc::clone(&tokens);
        ecr.on_issue(move |token| {
            tokens.lock().unwrap_or_else(PoisonError::into_inner).push(token.clone());
        });
    }
    let agent = testbed.start()?;

    // Both success and failure, since each has its own messages.
    wait_for_tokens(&agent).await?;
    let mut output = answers(&agent).await?;
    for fault in [Fault::Content(BadToken::NotAwsUser), Fault::Content(BadToken::NotBase64), Fault::Garbage] {
        let calls = testbed.ecr.calls().len();
        testbed.ecr.fail_always(fault);
        testbed.ecr.wait_for_calls(calls + 1, SOON).await?;
        passes(&agent, 1).await?;
        output.push_str(&answers(&agent).await?);
        testbed.ecr.heal();
        wait_for_tokens(&agent).await?;
    }
    for fault in [sts::Fault::Torn, sts::Fault::Content(sts::NoCredentials), sts::Fault::ExpiredCredentials] {
        testbed.sts.fail_always(fault);
        shown(&agent, "a failure", |s| registry(s, OTHERS)?["last_error"].as_str().map(drop)).await?;
        output.push_str(&answers(&agent).await?);
        testbed.sts.heal();
        wait_for_tokens(&agent).await?;
    }
    testbed.node.write("root/.docker/config.json", "{}")?;
    published.put("{}").await?;
    passes(&agent, 2).await?;
    output.push_str(&answers(&agent).await?);
    output.push_str(&process(&agent)?);
    let commands: [&[&str]; 6] = [
        &["status"],
        &["status", "--json"],
        &["once", "--json"],
        &["check"],
        &["cluster"],
        &["cluster", "--json"],
    ];
    for command in commands {
        let finished = testbed.run(command).await?;
        output.push_str(&(finished.out + &finished.err));
    }
    output.push_str(&agent.log_text());
    let own_log = fs::read_to_string(&log_file)?;
    assert!(own_log.contains("started") && agent.log_text().contains("started"));
    output.push_str(&own_log);

    // Kill the agent at work: no file but the documents may contain a secret.
    drop(agent);
    assert_eq!(fs::read_dir(&temporary)?.count(), 0, "the directory for temporary files is not empty");
    let documents = [testbed.node.path("root/.docker"), testbed.node.path("aws/.aws"), static_credentials];
    let mut output = output.into_bytes();
    output.extend(canary::contents(&testbed.node.path(""), &documents)?);

    let fixed = [
        imds::SECRET_KEY,
        imds::SESSION_TOKEN,
        sts::SECRET_KEY,
        sts::SESSION_TOKEN,
        PROFILE_SECRET_KEY,
        FOREIGN,
        STATIC_AUTH,
        "not-a-token-of-ecr",
        "<html><body>It works!",
    ];
    let identities: BTreeSet<String> = testbed.keys().into_iter().collect();
    assert!([READER.access_key, PROFILE_KEY].iter().all(|key| identities.contains(*key)), "{identities:?}");
    let tokens = tokens.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert!(tokens.len() > 4, "{}", tokens.len());
    let secrets = tokens.iter().flat_map(|token| [token.auth(), token.password().to_owned()]);
    for secret in secrets.chain(fixed.map(str::to_owned)) {
        canary::check_absent(secret.as_bytes(), &output);
    }
    Ok(())
}

#[tokio::test]
async fn secret_files_are_never_open_to_others() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    // Even if the file was world-readable and the umask is the default.
    testbed.node.write("root/.docker/config.json", "{}")?;
    fs::set_permissions(testbed.node.docker_config(), fs::Permissions::from_mode(0o666))?;
    let agent = testbed.start()?;
    wait_for_token(&agent).await?;
    docker_config_fresh(&agent).await?;
    assert_eq!(fs::metadata(testbed.node.docker_config())?.permissions().mode() & 0o7777, 0o600);
    Ok(())
}

#[tokio::test]
async fn core_dumps_are_disabled() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    let agent = testbed.start()?;
    wait_for_token(&agent).await?;
    let id = agent.process_id().ok_or("the agent has ended")?;
    let limits = fs::read_to_string(format!("/proc/{id}/limits"))?;
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).ok_or("no such limit")?;
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    Ok(())
}

/// Occurs in the output of credential providers and proxies.
const LEAKED: &str = "hunter2-of-a-provider";

/// The source of the leak.
#[derive(Debug, Clone, Copy)]
enum Leak {
    Metadata(Behavior),
    /// A credential_process.
    Program(&'static str),
    Proxy,
}

#[tokio::test]
async fn nothing_leaks_from_metadata_programs_and_proxies() -> Outcome {
    let leaks = [
        Leak::Metadata(Behavior::LeakingError(LEAKED)),
        Leak::Metadata(Behavior::SessionWithoutTtl(LEAKED)),
        Leak::Program("echo hunter2-of-a-provider >&2; exit 1"),
        Leak::Program("echo '{\"Version\":1,\"SecretAccessKey\":\"hunter2-of-a-provider\"'; exit 0"),
        Leak::Program("echo '{\"Version\":\"hunter2-of-a-provider\"}'; exit 0"),
        Leak::Proxy,
    ];
    try_join_all(leaks.map(check_leak)).await?;
    Ok(())
}

async fn check_leak(leak: Leak) -> Outcome {
    let mut testbed = Testbed::without_hdfs().await?;
    testbed.settings.set("log.level", "trace").set("log.libraries", "info").set("deadlines.ecr", "5s");
    let nobody = Port::reserve()?;
    match leak {
        Leak::Metadata(behavior) => testbed.imds.set_behavior(behavior),
        Leak::Program(script) => {
            let program = testbed.node.path("program");
            testbed.node.write("program", &format!("#!/bin/sh\n{script}\n"))?;
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
            let endpoint = testbed.ecr.address();
            let config = format!(
                "[default]\ncredential_process = {}\nservices = sandbox\n\n[services sandbox]\necr =\n  endpoint_url = http://{endpoint}\n",
                program.display()
            );
            testbed.node.write("aws/.aws/config", &config)?;
        }
        Leak::Proxy => {
            let proxy = format!("http://user:{LEAKED}@{}", nobody.address());
            testbed.environment.push(("HTTPS_PROXY", proxy.into()));
        }
    }
    let agent = testbed.start()?;
    let why = format!("{leak:?}");
    shown(&agent, &why, |status| {
        let registry = &status["registries"][0];
        match leak {
            Leak::Proxy => (registry["probe"] == "unknown").then_some(()),
            Leak::Metadata(_) | Leak::Program(_) => registry["last_error"].as_str().map(drop),
        }
    })
    .await?;
    let mut output = answers(&agent).await?;
    for command in [&["status"] as &[&str], &["status", "--json"], &["once", "--json"]] {
        let finished = testbed.run(command).await?;
        output.push_str(&(finished.out + &finished.err));
    }
    output.push_str(&agent.log_text());
    assert!(output.contains("started"));
    canary::check_absent(LEAKED.as_bytes(), output.as_bytes());
    Ok(())
}

/// Waits until every registry has a token and no error.
async fn wait_for_tokens(agent: &Agent) -> Outcome {
    shown(agent, "tokens", |status| {
        let well = |host| {
            has_token(status, host)?;
            registry(status, host)?["last_error"].is_null().then_some(())
        };
        [TRUSTED_REGISTRY, OTHERS, THIRD, PUBLIC].into_iter().try_for_each(well)
    })
    .await?;
    Ok(())
}

/// All responses from the endpoint.
async fn answers(agent: &Agent) -> Result<String, emr_ecr_agent_tests::agent::Error> {
    let mut output = String::new();
    for path in ["/livez?verbose", "/readyz", "/readyz?verbose", "/status", "/metrics", "/unknown"] {
        output.push_str(&agent.get(path).await?.text());
    }
    Ok(output)
}

/// The agent's process as others can see it.
fn process(agent: &Agent) -> Outcome<String> {
    let id = agent.process_id().ok_or("the agent has ended")?;
    let command_line = fs::read_to_string(format!("/proc/{id}/cmdline"))?;
    assert!(command_line.contains("emr-ecr-agent"));
    // A process without core dumps exposes its environment only to root.
    let environment =
        if geteuid().is_root() { fs::read_to_string(format!("/proc/{id}/environ"))? } else { String::new() };
    Ok(command_line + &environment)
}
