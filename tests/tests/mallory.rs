//! An attacker with an HDFS identity and write access to the published file's directory, as anyone has on EMR
//! without Kerberos: what he plants reaches no node, delays no agent, and is gone at the next pass. Another attacker
//! has a local account.

use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use emr_ecr_agent_tests::node::{REGION, TRUSTED_REGISTRY};
use emr_ecr_agent_tests::parts::{self, Part};
use emr_ecr_agent_tests::registry::Registry;
use emr_ecr_agent_tests::testbed::{Outcome, Published, SOON, Testbed, passes, planted, shown};
use emr_ecr_agent_tests::tls::{Route, TlsProxy};
use emr_ecr_agent_tests::wait;
use jiff::{SignedDuration, Timestamp};
use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// The ways in which a bad credential can look like a good one.
fn bad_credentials() -> Vec<String> {
    let now = Timestamp::now();
    let hours = SignedDuration::from_hours;
    let auth = STANDARD.encode("AWS:planted");
    vec![
        planted(&auth, now, now + hours(12)),
        planted(&auth, now - hours(1), now + hours(10)),
        planted(&auth, now + hours(1), now + hours(12)),
        planted(&auth, now, now + hours(24 * 365)),
        planted("neither base64 nor a token", now, now + hours(12)),
    ]
}

/// Waits until the file has ECR's newest token.
async fn healed(testbed: &Testbed, published: &Published) -> Outcome {
    let newest = testbed.ecr.newest(REGION).ok_or("no token issued")?;
    published.wait_for_auth(TRUSTED_REGISTRY, &newest.auth()).await?;
    Ok(())
}

#[tokio::test]
async fn a_planted_credential_reaches_no_node() -> Outcome {
    if !parts::present([Part::hadoop(), Part::registry()]) {
        return Ok(());
    }
    let registry = Registry::start().await?;
    let Some((mut testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    let route = Route { host: TRUSTED_REGISTRY.to_owned(), server: registry.address() };
    let proxy = TlsProxy::start(vec![route]).await?;
    testbed.use_proxy(&proxy)?;
    registry.follow(&testbed.ecr);

    // Before the agent starts, and while it is running.
    published.put(&bad_credentials()[0]).await?;
    let mut agent = testbed.start_ready().await?;
    healed(&testbed, &published).await?;
    let ours = testbed.ecr.newest(REGION).ok_or("no token issued")?.auth();
    for bad in bad_credentials() {
        published.put(&bad).await?;
        healed(&testbed, &published).await?;
        assert_eq!(testbed.docker_config()?["auths"][TRUSTED_REGISTRY]["auth"], ours);
    }
    agent.wait_ready(SOON).await?;
    assert_eq!(testbed.ecr.calls().len(), 1, "the token at hand was good enough");
    Ok(())
}

#[tokio::test]
async fn a_lock_that_is_touched_for_ever_holds_nobody_up() -> Outcome {
    let Some((mut testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    // Makes two lengths of the lock 32 s.
    testbed.settings.set("deadlines.ecr", "3s").set("deadlines.hdfs", "8s");
    let lock = published.beside(".config.json.emr-ecr-agent-lock");
    published.shell(&["-touchz", &lock]).await?;
    let mut agent = testbed.start()?;
    let touching = async {
        loop {
            published.shell(&["-touchz", &lock]).await?;
        }
    };
    let waiting = async {
        shown(&agent, "whose lock is waited for", |status| {
            let waiting_for = status["waiting_for"].as_array()?;
            waiting_for
                .iter()
                .any(|thing| thing.as_str().is_some_and(|t| t.starts_with("the refresh lock")))
                .then_some(())
        })
        .await?;
        agent.wait_ready(SOON).await?;
        Outcome::Ok(())
    };
    let touched: Result<Outcome, Outcome> = tokio::select! {
        touched = touching => { let touched: Outcome = touched; Err(touched) }
        waited = waiting => Ok(waited),
    };
    touched.unwrap_or_else(|touched| touched)?;
    assert_eq!(testbed.ecr.calls().len(), 1);
    Ok(())
}

fn large_document() -> String {
    format!(r#"{{"auths":{{}},"padding":{:?}}}"#, "x".repeat(3 << 20))
}

async fn entries_become(published: &Published, expected: &[&str]) -> Outcome {
    wait::until("the entries", SOON, async || {
        let document = published.json().await.map_err(|error| error.to_string())?;
        let names: Vec<_> =
            document["auths"].as_object().into_iter().flat_map(|auths| auths.keys()).collect();
        if names == expected { Ok(()) } else { Err(format!("{names:?}")) }
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn what_no_launch_could_use_is_replaced() -> Outcome {
    let Some((mut testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    // Passes are triggered by hand, so that none happens while the shell has deleted the file.
    testbed.settings.no_timer();
    let mut agent = testbed.start_ready().await?;

    published.put(&large_document()).await?;
    agent.signal(Signal::SIGHUP)?;
    healed(&testbed, &published).await?;
    assert_eq!(published.names().await?, ["config.json"], "a copy of it would be as large");

    // Docker would reject the whole config because of one bad entry.
    let strangers = r#""hub.example.com":{"auth":"aHViOmh1Yg=="}"#;
    for number in 0..5 {
        let poison = format!(r#"{{"auths":{{{strangers},"evil-{number}.example":{{"auth":"bm8="}}}}}}"#);
        published.put(&poison).await?;
        agent.signal(Signal::SIGHUP)?;
        entries_become(&published, &[TRUSTED_REGISTRY, "hub.example.com"]).await?;
    }
    wait::until("at most three copies", SOON, async || {
        let names = published.names().await.map_err(|error| error.to_string())?;
        let aside = names.iter().filter(|name| name.starts_with("config.json.set-aside-")).count();
        if (names.len(), aside) == (4, 3) { Ok(()) } else { Err(format!("{names:?}")) }
    })
    .await?;
    agent.wait_ready(SOON).await?;
    Ok(())
}

#[tokio::test]
async fn entries_of_others_are_listed_and_can_be_restricted() -> Outcome {
    let Some((mut testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    published
        .put(r#"{"auths":{"docker.io":{"auth":"bWU6cA=="},"kept.example":{"auth":"bWU6cA=="}}}"#)
        .await?;
    let agent = testbed.start_ready().await?;
    shown(&agent, "the entries of others", |status| {
        let sinks = status["sinks"].as_array()?;
        sinks.iter().any(|sink| sink["other_entries"] == json!(["docker.io", "kept.example"])).then_some(())
    })
    .await?;
    // Without a file, or with one that is too large to read, the agent restores them from memory.
    published.shell(&["-rm", "-skipTrash", published.path()]).await?;
    entries_become(&published, &[TRUSTED_REGISTRY, "docker.io", "kept.example"]).await?;
    published.put(&large_document()).await?;
    entries_become(&published, &[TRUSTED_REGISTRY, "docker.io", "kept.example"]).await?;

    testbed.settings.set("published.keep_entries", json!(["kept.example"]));
    testbed.write_settings()?;
    agent.signal(Signal::SIGHUP)?;
    entries_become(&published, &[TRUSTED_REGISTRY, "kept.example"]).await?;
    passes(&agent, 2).await?;
    Ok(())
}

#[tokio::test]
async fn a_publisher_of_any_length_is_shown_short() -> Outcome {
    let Some((testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    let mut agent = testbed.start_ready().await?;
    let mut document = published.json().await?;
    document["emr-ecr-agent"]["publisher"] = "m".repeat(150 << 10).into();
    published.put(&document.to_string()).await?;
    shown(&agent, "the publisher", |status| {
        let published = status["sinks"].as_array()?.iter().find(|sink| sink["kind"] == "hdfs")?;
        published["publisher"].as_str()?.starts_with("mmm").then_some(())
    })
    .await?;
    let length = agent.get("/status").await?.body.len();
    assert!(length < 16 << 10, "{length} bytes");
    agent.wait_ready(SOON).await?;
    Ok(())
}

/// Responds to every connection with this status.
async fn squat(listener: TcpListener, status: String) -> Outcome<Infallible> {
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{status}", status.len());
    loop {
        let (mut stream, _) = listener.accept().await?;
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

#[tokio::test]
async fn whoever_takes_the_health_port_is_not_believed_by_status() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    let mut agent = testbed.start()?;
    agent.wait_not_ready(SOON).await?;
    let mut report = agent.status().await?;
    agent.terminate(SOON).await?;
    report["ready"] = true.into();
    report["node"] = "mallory".into();
    let squatter = tokio::spawn(squat(TcpListener::bind(testbed.listen()).await?, report.to_string()));

    let absent = testbed.run(&["status"]).await?;
    assert_eq!((absent.code, absent.out.as_str()), (3, ""));
    let agent = testbed.start()?;
    let shown = wait::until("the agent's own status", SOON, async || {
        let status = testbed.run(&["status", "--json"]).await.map_err(|error| error.to_string())?;
        if status.code == 1 { Ok(status.out) } else { Err(status.err) }
    })
    .await?;
    let shown: Value = serde_json::from_str(&shown)?;
    assert_ne!(shown["node"], "mallory");
    assert!(shown["waiting_for"].to_string().contains("the address"), "{shown}");
    drop(agent);
    squatter.abort();
    Ok(())
}

#[tokio::test]
async fn a_request_for_another_host_is_refused() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    let agent = testbed.start()?;
    wait::until("/livez", SOON, async || agent.get("/livez").await).await?;
    for (host, code) in [("evil.example.com", 421), ("127.0.0.1.evil.example", 421), ("localhost", 200)] {
        let answer = ask_as(agent.address(), host).await?;
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{host}: {answer}");
    }
    Ok(())
}

async fn ask_as(address: SocketAddr, host: &str) -> Outcome<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /status HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    timeout(SOON, stream.read_to_end(&mut answer)).await??;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn nothing_is_written_through_another_users_directory() -> Outcome {
    if !geteuid().is_root() {
        eprintln!("SKIPPED: only root can give a directory to another user");
        return Ok(());
    }
    let mut testbed = Testbed::without_hdfs().await?;
    let (home, target) = (testbed.node.path("home"), testbed.node.path("target"));
    fs::create_dir(&home)?;
    fs::create_dir(&target)?;
    fs::set_permissions(&home, fs::Permissions::from_mode(0o755))?;
    symlink(&target, home.join(".docker"))?;
    chown(&home, Some(4321), Some(4321))?;
    testbed.settings.local_rights(&home.join(".docker/config.json"), "0600", "4321:4321");
    let agent = testbed.start()?;
    let error =
        shown(&agent, "the refusal", |status| Some(status["sinks"][0]["error"].as_str()?.to_owned())).await?;
    assert!(
        error.contains(&format!("through {}, which other users can write to", home.display())),
        "{error}"
    );
    passes(&agent, 2).await?;
    assert_eq!(fs::read_dir(&target)?.count(), 0);
    Ok(())
}

#[tokio::test]
async fn the_agents_own_directory_trusts_nobody_else() -> Outcome {
    let Some((mut testbed, _, hdfs)) = Testbed::with_own_hdfs().await? else { return Ok(()) };
    let published = Published::on(hdfs.client().clone(), "/apps/emr-ecr-agent");
    testbed.settings.unset("published.path").set("published.secure_directory", true).no_timer();
    let mut agent = testbed.start()?;
    shown(&agent, "the command that makes it", |status| {
        let error = status["sinks"][1]["error"].as_str()?;
        let command = "sudo -u hdfs sh -c 'hdfs dfs -mkdir -p /apps/emr-ecr-agent && hdfs dfs -chown hadoop";
        error.contains(command).then_some(())
    })
    .await?;
    published.client().make_directory("/apps", "hadoop", "0755").await?;
    agent.signal(Signal::SIGHUP)?;
    agent.wait_ready(SOON).await?;
    let directory = published.shell(&["-stat", "%A %u", "/apps/emr-ecr-agent"]).await?;
    assert_eq!(directory.trim(), "rwxr-xr-x hadoop");
    assert_eq!(agent.status().await?["findings"].to_string().matches("directory-open").count(), 0);

    // Good credentials in a file with another owner.
    let good = published.text().await?;
    published.put(&good).await?;
    assert!(!published.attributes().await?.contains("hadoop"));
    agent.signal(Signal::SIGHUP)?;
    wait::until("the agent's own file", SOON, async || {
        let attributes = published.attributes().await.map_err(|error| error.to_string())?;
        if attributes.contains("hadoop") { Ok(()) } else { Err(attributes) }
    })
    .await?;
    healed(&testbed, &published).await?;
    Ok(())
}

#[tokio::test]
async fn a_directory_that_all_can_write_is_a_finding_of_the_daemon() -> Outcome {
    let Some((testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    published.shell(&["-chmod", "777", published.directory()]).await?;
    let agent = testbed.start_ready().await?;
    let open = |status: &Value| {
        let findings = status["findings"].as_array()?;
        findings.iter().find(|finding| finding["code"] == "client-config-directory-open").map(drop)
    };
    shown(&agent, "the finding", open).await?;
    // The log entry follows at the end of the pass.
    wait::until("the finding in the log", SOON, async || {
        let log = agent.log_text();
        if log.contains("client-config-directory-open") { Ok(()) } else { Err(log) }
    })
    .await?;

    published.shell(&["-chmod", "755", published.directory()]).await?;
    agent.signal(Signal::SIGHUP)?;
    shown(&agent, "the end of the finding", |status| open(status).is_none().then_some(())).await?;
    Ok(())
}
