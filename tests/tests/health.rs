//! The health endpoint.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use emr_ecr_agent_tests::agent::Agent;
use emr_ecr_agent_tests::ecr::Fault;
use emr_ecr_agent_tests::http::{self, Answer, Call};
use emr_ecr_agent_tests::node::TRUSTED_REGISTRY;
use emr_ecr_agent_tests::testbed::{Outcome, SOON, Testbed, shown};
use emr_ecr_agent_tests::wait;
use futures_util::future::try_join_all;
use hyper::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

#[tokio::test]
async fn ready_node_is_ok_at_every_path() -> Outcome {
    let Some((mut testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    // With a pass per second, a late one makes the node unready for a moment.
    testbed.settings.no_timer();
    let agent = testbed.start_ready().await?;
    for path in ["/livez", "/readyz", "/healthz"] {
        let answer = agent.get(path).await?;
        assert_eq!((answer.status, answer.text().as_str()), (StatusCode::OK, "ok\n"), "{path}");
        assert_eq!(header(&answer, "content-type"), "text/plain; charset=utf-8");
        assert_eq!(header(&answer, "cache-control"), "no-store");
    }
    assert_eq!(agent.get("/livez?verbose").await?.text(), "[+]loop ok\n");
    let expected = format!(
        "[+]registries ok\n[+]token:{TRUSTED_REGISTRY} ok\n[+]local:{} ok\n[+]hdfs:{} ok\n[+]container-executor.cfg ok\n[+]launches ok\n",
        testbed.node.docker_config().display(),
        published.path(),
    );
    assert_eq!(agent.get("/readyz?verbose").await?.text(), expected);
    assert_eq!(agent.get("/healthz?verbose=1").await?.text(), "[+]loop ok\n");
    for check in ["sink", "launches", "executor_config", &format!("hdfs:{}", published.path())] {
        let answer = agent.get(&format!("/readyz/{check}")).await?;
        assert_eq!((answer.status, answer.text().as_str()), (StatusCode::OK, "ok\n"), "{check}");
    }

    let status = agent.get("/status").await?;
    assert_eq!(header(&status, "content-type"), "application/json");
    let status = agent.status().await?;
    let keys: BTreeSet<&str> =
        status.as_object().ok_or("not an object")?.keys().map(String::as_str).collect();
    for key in [
        "checks",
        "findings",
        "live",
        "node",
        "now",
        "sinks",
        "ready",
        "recent_events",
        "registries",
        "settings_error",
        "version",
        "waiting_for",
    ] {
        assert!(keys.contains(key), "{key}: {keys:?}");
    }
    assert_eq!(status["registries"][0]["host"], TRUSTED_REGISTRY);
    assert_eq!(status["registries"][0]["region"], "us-east-1");
    let at = |name: &str| status["registries"][0][name].as_str().unwrap_or_default().parse::<Timestamp>();
    assert!(at("last_success_at")? <= at("refresh_at")? && at("refresh_at")? < at("expires_at")?);
    Ok(())
}

#[tokio::test]
async fn unready_node_lists_what_fails() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    testbed.ecr.fail_always(Fault::AccessDenied);
    let mut agent = testbed.start()?;
    shown(&agent, "an error", |status| status["registries"][0]["last_error"].as_str().map(drop)).await?;
    agent.wait_not_ready(SOON).await?;
    let brief = agent.get("/readyz").await?.text();
    assert!(brief.contains(&format!("[-]token:{TRUSTED_REGISTRY} failed: no token yet: ")), "{brief}");
    assert!(brief.contains("ecr:GetAuthorizationToken"), "{brief}");
    assert!(!brief.contains("[+]"), "{brief}");
    let verbose = agent.get("/readyz?verbose").await?;
    assert_eq!(verbose.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(verbose.text().contains("[+]container-executor.cfg ok\n"), "{}", verbose.text());
    assert_eq!(agent.get("/livez").await?.status, StatusCode::OK);

    let code = async |path: &str| Ok::<_, http::Error>(http::get(agent.address(), path).await?.status);
    assert_eq!(code("/readyz/token").await?, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(code("/readyz/container-executor.cfg").await?, StatusCode::OK);
    assert_eq!(code("/readyz?exclude=token").await?, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(code("/readyz?exclude=token&exclude=sink").await?, StatusCode::OK);
    assert_eq!(code("/readyz/nothing").await?, StatusCode::NOT_FOUND);
    Ok(())
}

#[tokio::test]
async fn page_shows_the_state_and_loads_nothing() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    testbed.ecr.fail_always(Fault::AccessDenied);
    let agent = testbed.start()?;
    let events = shown(&agent, "a change of state", |status| {
        status["recent_events"].as_array().filter(|events| !events.is_empty()).cloned()
    })
    .await?;
    assert!(events.iter().any(|event| event["event"] == "check failed"), "{events:?}");
    let page = agent.get("/").await?;
    assert_eq!((page.status, header(&page, "content-type")), (StatusCode::OK, "text/html; charset=utf-8"));
    let policy = header(&page, "content-security-policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    let html = page.text();
    for part in [": not ready</title>", TRUSTED_REGISTRY, "no token yet", "check failed", "href=\"/status\""]
    {
        assert!(html.contains(part), "{part}: {html}");
    }
    for elsewhere in ["<script", "http://", "https://", "src="] {
        assert!(!html.contains(elsewhere), "{elsewhere}: {html}");
    }
    Ok(())
}

#[tokio::test]
async fn readiness_reverts_when_the_token_expires() -> Outcome {
    let Some((testbed, _published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    testbed.ecr.set_token_life(SignedDuration::from_secs(6));
    let mut agent = testbed.start_ready().await?;
    testbed.ecr.fail_always(Fault::ServerError);
    let why = format!("[-]token:{TRUSTED_REGISTRY} failed: the token expires at ");
    let answer = wait::until("the end of the token", SOON, async || match agent.get("/readyz").await {
        Ok(answer) if answer.text().contains(&why) => Ok(answer),
        Ok(answer) => Err(answer.text()),
        Err(error) => Err(error.to_string()),
    })
    .await?;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(agent.get("/metrics").await?.text().contains("\nemr_ecr_agent_ready 0\n"));

    testbed.ecr.set_token_life(SignedDuration::from_hours(12));
    testbed.ecr.heal();
    agent.wait_ready(SOON).await?;
    assert!(agent.get("/metrics").await?.text().contains("\nemr_ecr_agent_ready 1\n"));
    Ok(())
}

#[tokio::test]
async fn only_get_and_head_are_allowed() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    let agent = start_live(&testbed).await?;
    let address = agent.address();
    for path in ["/", "/livez", "/readyz", "/status", "/metrics"] {
        let got = http::get(address, path).await?;
        let head = Call::new(Method::HEAD, address, path).send().await?;
        assert_eq!((head.status, head.body.len()), (got.status, 0), "HEAD {path}");
        assert_eq!(header(&head, "content-type"), header(&got, "content-type"), "HEAD {path}");
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
            let refused = Call::new(method.clone(), address, path).body("x").send().await?;
            assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert_eq!(header(&refused, "allow"), "GET, HEAD", "{method} {path}");
        }
    }
    for path in ["/index.html", "/livez/", "/status.json", "/../etc/passwd"] {
        let unknown = http::get(address, path).await?;
        assert_eq!(unknown.status, StatusCode::NOT_FOUND, "{path}");
        assert!(
            unknown.text().contains("/ /livez /readyz /readyz/CHECK /healthz /status /metrics"),
            "{path}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn oversized_request_head_is_rejected() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    let agent = start_live(&testbed).await?;
    let address = agent.address();
    let large = "x".repeat(64 << 10);
    for head in [format!("x-large: {large}\r\n"), "x-many: x\r\n".repeat(200)] {
        let answer = speak(address, &format!("GET /livez HTTP/1.1\r\nhost: x\r\n{head}\r\n")).await?;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer:?}");
    }
    let garbage = speak(address, "\u{1}\u{2}\u{3}\r\n\r\n").await?;
    assert!(garbage.starts_with("HTTP/1.1 400 "), "{garbage:?}");
    assert_eq!(http::get(address, "/livez").await?.status, StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn slow_clients_are_cut_off() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    let agent = start_live(&testbed).await?;
    let address = agent.address();
    let mut slow = Vec::new();
    for text in ["", "GET /livez HT", "GET /livez HTTP/1.1\r\nhost: x\r\n"] {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(text.as_bytes()).await?;
        slow.push(stream);
    }
    assert_eq!(http::get(address, "/livez").await?.status, StatusCode::OK);

    // More than the server handles at once: the next client gets a response when silent ones are disconnected.
    let silent = (0..100).map(|_| TcpStream::connect(address));
    let _silent = try_join_all(silent).await?;
    let answered = wait::until("an answer", SOON, async || http::get(address, "/livez").await).await?;
    assert_eq!(answered.status, StatusCode::OK);
    for mut stream in slow {
        let mut rest = Vec::new();
        timeout(SOON, stream.read_to_end(&mut rest)).await?.ok();
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "an unfinished request got a response");
    }
    Ok(())
}

#[tokio::test]
async fn concurrent_requests_are_all_answered() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    let agent = start_live(&testbed).await?;
    let paths = ["/livez", "/status", "/metrics"].iter().cycle().take(300);
    let answers = try_join_all(paths.map(|path| http::get(agent.address(), path))).await?;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK));
    Ok(())
}

#[tokio::test]
async fn metrics_are_prometheus_text() -> Outcome {
    let Some((testbed, _published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    let agent = testbed.start_ready().await?;
    let answer = agent.get("/metrics").await?;
    assert_eq!(header(&answer, "content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text();
    assert!(text.ends_with('\n'));
    let mut typed = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for line in text.lines() {
        match line.strip_prefix("# ") {
            Some(comment) => {
                let mut words = comment.splitn(3, ' ');
                let (kind, name, rest) = (words.next(), words.next(), words.next());
                let (name, rest) = (name.ok_or(line)?, rest.ok_or(line)?);
                match kind {
                    Some("HELP") => assert!(!rest.is_empty(), "{line}"),
                    Some("TYPE") => {
                        assert!(["counter", "gauge", "histogram"].contains(&rest), "{line}");
                        assert!(typed.insert(name), "declared twice: {line}");
                    }
                    _ => panic!("neither HELP nor TYPE: {line}"),
                }
            }
            None => {
                let (name, value) = sample(line).ok_or_else(|| format!("not a sample: {line}"))?;
                assert!(value.parse::<f64>().is_ok(), "{line}");
                let family = ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|end| name.strip_suffix(end))
                    .unwrap_or(name);
                assert!(typed.contains(family) || typed.contains(name), "without a type: {line}");
                seen.insert(name);
            }
        }
    }
    for name in [
        "emr_ecr_agent_build_info",
        "emr_ecr_agent_clock_skew_seconds",
        "emr_ecr_agent_config_valid",
        "emr_ecr_agent_executor_config_valid",
        "emr_ecr_agent_launches_possible",
        "emr_ecr_agent_live",
        "emr_ecr_agent_passes_total",
        "emr_ecr_agent_reconcile_last_success_timestamp_seconds",
        "emr_ecr_agent_reconcile_total",
        "emr_ecr_agent_sink_expiration_timestamp_seconds",
        "emr_ecr_agent_ready",
        "emr_ecr_agent_token_expiration_timestamp_seconds",
        "emr_ecr_agent_token_next_refresh_timestamp_seconds",
        "emr_ecr_agent_token_refresh_consecutive_failures",
        "emr_ecr_agent_token_refresh_duration_seconds_bucket",
        "emr_ecr_agent_token_refresh_total",
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
    ] {
        assert!(seen.contains(name), "{name}: {text}");
    }
    let expires_at = testbed.ecr.newest("us-east-1").ok_or("no token issued")?.expires_at.as_second();
    let expiry = format!(
        "emr_ecr_agent_token_expiration_timestamp_seconds{{registry=\"{TRUSTED_REGISTRY}\"}} {expires_at}"
    );
    assert!(text.contains(&expiry), "{expiry}: {text}");
    Ok(())
}

/// The name and value of a sample; `None` if its labels are malformed.
fn sample(line: &str) -> Option<(&str, &str)> {
    let (series, value) = line.rsplit_once(' ')?;
    let Some((name, labels)) = series.split_once('{') else {
        return is_name(series).then_some((series, value));
    };
    let labels = labels.strip_suffix("\"}")?;
    let well_formed = labels.split("\",").all(|label| {
        label.split_once("=\"").is_some_and(|(name, value)| is_name(name) && !value.contains(['"', '\n']))
    });
    (is_name(name) && well_formed).then_some((name, value))
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

async fn start_live(testbed: &Testbed) -> Outcome<Agent> {
    let agent = testbed.start()?;
    wait::until("/livez", SOON, async || agent.get("/livez").await).await?;
    Ok(agent)
}

/// Sends `text` and returns everything received until the connection ends.
async fn speak(address: SocketAddr, text: &str) -> Outcome<String> {
    let mut stream = TcpStream::connect(address).await?;
    // The response may arrive and the connection end before everything is sent.
    let _ = stream.write_all(text.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = timeout(SOON, stream.read_to_end(&mut answer)).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
