//! An attacker on the network, or in control of a server: endless responses, proxies, token servers, plain HTTP.

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use emr_ecr_agent_tests::agent::Agent;
use emr_ecr_agent_tests::listener::{self, Listener, Reply};
use emr_ecr_agent_tests::node::{AwsEndpoints, TRUSTED_REGISTRY};
use emr_ecr_agent_tests::testbed::identities::{OTHERS, READER};
use emr_ecr_agent_tests::testbed::{Outcome, SOON, Testbed, shown, token_error, wait_for_token};
use emr_ecr_agent_tests::tls::{Route, TlsProxy};
use emr_ecr_agent_tests::wait;
use hyper::{Response, StatusCode};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A server whose responses never end.
struct Endless {
    address: SocketAddr,
    /// The most bytes that one client has read.
    taken: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Endless {
    async fn start() -> Outcome<Self> {
        let socket = TcpListener::bind("127.0.0.1:0").await?;
        let address = socket.local_addr()?;
        let taken = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&taken);
        let task = tokio::spawn(listener::serve(socket, move |stream| {
            let counter = Arc::clone(&counter);
            async move {
                let sent = pour(stream).await;
                counter.fetch_max(sent, Ordering::Relaxed);
            }
        }));
        Ok(Self { address, taken, task })
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Returns the number of bytes sent when the client disconnects.
async fn pour(mut stream: TcpStream) -> usize {
    let mut head = [0; 4096];
    let _ = stream.read(&mut head).await;
    let answer = "HTTP/1.1 200 OK\r\nx-aws-ec2-metadata-token-ttl-seconds: 600\r\ncontent-type: application/x-amz-json-1.1\r\n\r\n";
    let (mut sent, mut piece) = (0, Bytes::from_static(answer.as_bytes()));
    while stream.write_all(&piece).await.is_ok() {
        sent += piece.len();
        piece = Bytes::from(vec![b' '; 64 << 10]);
    }
    sent
}

/// What sockets buffer on both sides, in addition to the 4 MiB that the agent reads.
const IN_FLIGHT: usize = 12 << 20;

/// Checks how much the agent read from a server of endless responses, and its peak memory.
fn assert_bounded(server: &Endless, agent: &Agent, who: &str) -> Outcome {
    let taken = server.taken.load(Ordering::Relaxed);
    assert!((1..(4 << 20) + IN_FLIGHT).contains(&taken), "{taken} bytes of {who}");
    let id = agent.process_id().ok_or("the agent has ended")?;
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no peak")?;
    let kilobytes: usize = peak.trim().trim_end_matches(" kB").parse()?;
    assert!(kilobytes < 200 << 10, "{kilobytes} kB for {who}");
    Ok(())
}

#[tokio::test]
async fn endless_responses_end_as_failed_calls() -> Outcome {
    for who in ["ECR", "STS", "metadata"] {
        let mut testbed = Testbed::without_hdfs().await?;
        testbed.settings.set("deadlines.ecr", "20s");
        let endless = Endless::start().await?;
        let (mut ecr, mut imds) = (testbed.ecr.address(), testbed.imds.address());
        match who {
            "ECR" => ecr = endless.address,
            "metadata" => imds = endless.address,
            _ => {
                let sts = format!("http://{}", endless.address);
                testbed.environment.push(("AWS_ENDPOINT_URL_STS", sts.into()));
                testbed.settings.registry_with(OTHERS, &[("role_arn", READER.arn)]);
            }
        }
        testbed.node.write_aws_config(AwsEndpoints { ecr, imds })?;
        let agent = testbed.start()?;
        shown(&agent, "a token error", |status| {
            let registries = status["registries"].as_array()?;
            registries.iter().any(|registry| registry["last_error"].is_string()).then_some(())
        })
        .await?;
        assert_bounded(&endless, &agent, who)?;
    }
    Ok(())
}

#[tokio::test]
async fn an_endless_response_of_a_registry_is_cut_off() -> Outcome {
    let mut testbed = Testbed::without_hdfs().await?;
    let endless = Endless::start().await?;
    let route = Route { host: TRUSTED_REGISTRY.to_owned(), server: endless.address };
    let proxy = TlsProxy::start(vec![route]).await?;
    testbed.use_proxy(&proxy)?;
    let agent = testbed.start()?;
    shown(&agent, "a probe", |status| status["registries"][0]["probe"].is_string().then_some(())).await?;
    wait::until("the connection's end", SOON, async || {
        if endless.taken.load(Ordering::Relaxed) > 0 { Ok(()) } else { Err("it is still open") }
    })
    .await?;
    assert_bounded(&endless, &agent, "the registry")
}

#[tokio::test]
async fn metadata_and_loopback_go_through_no_proxy() -> Outcome {
    let mut testbed = Testbed::without_hdfs().await?;
    let socket = TcpListener::bind("127.0.0.1:0").await?;
    let address = socket.local_addr()?;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let lines = Arc::clone(&asked);
    let proxy = tokio::spawn(listener::serve(socket, move |stream| {
        let lines = Arc::clone(&lines);
        async move {
            let mut line = String::new();
            let _ = BufReader::new(stream).read_line(&mut line).await;
            lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    }));
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        testbed.environment.push((name, format!("http://{address}").into()));
    }
    let agent = testbed.start()?;
    wait_for_token(&agent).await?;
    shown(&agent, "a probe", |status| (status["registries"][0]["probe"] == "unknown").then_some(())).await?;
    let asked = asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let registry = format!("CONNECT {TRUSTED_REGISTRY}:443 ");
    assert!(!asked.is_empty() && asked.iter().all(|line| line.starts_with(&registry)), "{asked:?}");
    proxy.abort();
    Ok(())
}

#[tokio::test]
async fn a_private_registry_cannot_have_its_token_sent_elsewhere() -> Outcome {
    let mut testbed = Testbed::without_hdfs().await?;
    let elsewhere = TcpListener::bind("127.0.0.1:0").await?;
    let realm = format!("Bearer realm=\"http://{}/token\",service=\"ecr\"", elsewhere.local_addr()?);
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    let registry = Listener::start(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        let refusal = Response::builder().status(StatusCode::UNAUTHORIZED).header("www-authenticate", &realm);
        Reply::Whole(refusal.body(Bytes::new()).expect("a response"))
    })
    .await?;
    let route = Route { host: TRUSTED_REGISTRY.to_owned(), server: registry.address() };
    let proxy = TlsProxy::start(vec![route]).await?;
    testbed.use_proxy(&proxy)?;
    let agent = testbed.start()?;
    let sent = async {
        shown(&agent, "a rejected token", |status| {
            (status["registries"][0]["probe"] == "rejected").then_some(())
        })
        .await?;
        Outcome::Ok(())
    };
    tokio::select! {
        _ = elsewhere.accept() => return Err("the realm was asked".into()),
        rejected = sent => rejected?,
    }
    assert!(requests.load(Ordering::Relaxed) > 0);
    Ok(())
}

#[tokio::test]
async fn nothing_is_asked_by_plain_http_but_this_machine() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    let config = format!(
        "[default]\nec2_metadata_service_endpoint = http://{}\nservices = sandbox\n\n[services sandbox]\necr =\n  endpoint_url = http://192.0.2.1\n",
        testbed.imds.address()
    );
    testbed.node.write("aws/.aws/config", &config)?;
    let agent = testbed.start()?;
    let error = token_error(&agent).await?;
    assert!(error.contains("plain HTTP is used only on this machine, not to 192.0.2.1"), "{error}");
    drop(agent);

    let mut settings = testbed.settings.clone();
    settings
        .registry_with("210987654321.dkr.ecr.us-east-1.amazonaws.com", &[("endpoint", "http://ecr.example")]);
    testbed.node.write_settings(&settings)?;
    let config = testbed.node.agent_toml().display().to_string();
    let refused = testbed.run_plainly(&["once", "--config", &config]).await?;
    assert!(refused.code == 78 && refused.err.contains("endpoint"), "{}", refused.err);
    Ok(())
}
