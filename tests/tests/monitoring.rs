//! The alert rules, the scrape job and the dashboard in `monitoring/`, on a real Prometheus scraping a running agent.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use emr_ecr_agent_tests::http;
use emr_ecr_agent_tests::parts::{self, Part};
use emr_ecr_agent_tests::ports::Port;
use emr_ecr_agent_tests::process::{self, Server};
use emr_ecr_agent_tests::scratch;
use emr_ecr_agent_tests::testbed::{Outcome, SOON, Testbed};
use emr_ecr_agent_tests::wait;
use serde_json::Value;
use url::form_urlencoded;

const CLUSTER: &str = "j-2AXXXXXXGAPLF";

#[tokio::test]
async fn alerts_fire_and_clear() -> Outcome {
    let Some(part) = prometheus() else { return Ok(()) };
    for arguments in [
        ["check", "config", "prometheus.yml"],
        ["check", "config", "cloudwatch-prometheus.yml"],
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts_test.yml"],
    ] {
        let mut promtool = process::bound_to_parent(&part.path("bin/promtool"));
        promtool.args(arguments).current_dir(monitoring());
        succeed(promtool).await?;
    }
    Ok(())
}

/// A rule without a test or an entry in the runbook is not actionable.
#[test]
fn every_alert_has_a_test_and_a_runbook() -> Outcome {
    let rules = fs::read_to_string(monitoring().join("alerts.yml"))?;
    let tests = fs::read_to_string(monitoring().join("alerts_test.yml"))?;
    let runbook = fs::read_to_string(repository().join("docs/monitoring.md"))?;
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(!alerts.is_empty());
    for alert in alerts {
        assert!(tests.contains(&format!("alertname: {alert}\n        exp_alerts:")), "{alert} has no test");
        assert!(runbook.contains(&format!("\n### {alert}\n")), "{alert} is not in docs/monitoring.md");
        let anchor = format!("docs/monitoring.md#{}\n", alert.to_lowercase());
        assert!(rules.contains(&anchor), "{alert} does not link to its runbook");
    }
    Ok(())
}

#[tokio::test]
async fn dashboard_is_valid_for_grafana() -> Outcome {
    let Some(part) = prometheus() else { return Ok(()) };
    let mut python = process::bound_to_parent(Path::new("/usr/bin/python3"));
    python.arg(repository().join("tests/tests/monitoring/check_dashboard.py"));
    python.arg(monitoring().join("dashboard.json")).env("PYTHONPATH", part.path("python"));
    python.env("PYTHONDONTWRITEBYTECODE", "1");
    succeed(python).await
}

#[tokio::test]
async fn dashboard_queries_return_data_of_an_agent() -> Outcome {
    let Some(part) = prometheus() else { return Ok(()) };
    let Some((testbed, published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    let agent = testbed.start_ready().await?;
    let home = scratch::directory("prometheus")?;
    let config =
        scrape_static_target(&fs::read_to_string(monitoring().join("prometheus.yml"))?, agent.address())?;
    fs::write(home.path().join("prometheus.yml"), config)?;
    fs::copy(monitoring().join("alerts.yml"), home.path().join("alerts.yml"))?;
    let port = Port::reserve()?;
    let mut command = process::bound_to_parent(&part.path("bin/prometheus"));
    command.current_dir(home.path()).args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"]);
    command.arg(format!("--web.listen-address={}", port.address()));
    let mut server = Server::start("prometheus", command, &home.path().join("prometheus.log"))?;
    server.wait_for_port(port.address(), SOON).await?;

    // Causes drift for the metrics to show.
    fs::remove_file(testbed.node.docker_config())?;
    testbed.wait_for_docker_config(Value::is_object).await?;
    assert!(published.json().await?.is_object());

    let dashboard: Value = serde_json::from_slice(&fs::read(monitoring().join("dashboard.json"))?)?;
    let queries = queries(&dashboard);
    assert!(queries.len() > 10, "{queries:?}");
    for query in queries {
        let query = query.replace("$cluster_id", CLUSTER).replace("$instance", ".*");
        let query = query.replace("$__rate_interval", "1m");
        wait::until(&query, SOON, async || match ask(&port, &query).await {
            Ok(result) if result.iter().any(|series| series["value"][1] != "NaN") => Ok(()),
            Ok(result) => Err(format!("{result:?}")),
            Err(error) => Err(error.to_string()),
        })
        .await?;
    }
    assert_documented(&agent.get("/metrics").await?.text())?;

    let rules = http::get(port.address(), "/api/v1/rules").await?;
    let rules: Value = serde_json::from_slice(&rules.body)?;
    let rules = rules["data"]["groups"][0]["rules"].as_array().ok_or("no rules")?;
    assert!(rules.iter().all(|rule| rule["state"] != "firing"), "a ready node raises no alert: {rules:?}");
    server.terminate(Duration::from_secs(30)).await?;
    Ok(())
}

/// Asserts that each metric has a row in docs/monitoring.md with its type and help.
fn assert_documented(metrics: &str) -> Outcome {
    let table = fs::read_to_string(repository().join("docs/monitoring.md"))?;
    let mut documented = 0;
    let mut lines = metrics.lines().filter_map(|line| line.strip_prefix("# ")).peekable();
    while let Some(line) = lines.next() {
        let Some((name, help)) =
            line.strip_prefix("HELP emr_ecr_agent_").and_then(|rest| rest.split_once(' '))
        else {
            continue;
        };
        let kind = lines.peek().and_then(|line| line.rsplit(' ').next()).ok_or("no type")?;
        let row = table.lines().find(|row| row.starts_with(&format!("| `{name}` | {kind} |")));
        assert!(row.is_some_and(|row| row.ends_with(&format!("| {help} |"))), "{name}: {row:?}");
        documented += 1;
    }
    assert!(documented > 15, "{documented}");
    Ok(())
}

/// The shipped configuration with this target instead of EC2's discovery, labelled as EC2 would. The relabelling
/// rules stay.
fn scrape_static_target(config: &str, agent: std::net::SocketAddr) -> Outcome<String> {
    let (before, rest) = config.split_once("    ec2_sd_configs:\n").ok_or("no ec2_sd_configs")?;
    let (_, after) = rest.split_once("    relabel_configs:\n").ok_or("no relabel_configs")?;
    let target = format!(
        "    static_configs:\n\
         \x20     - targets: [\"{agent}\"]\n\
         \x20       labels:\n\
         \x20         __meta_ec2_tag_aws_elasticmapreduce_instance_group_role: CORE\n\
         \x20         __meta_ec2_tag_aws_elasticmapreduce_job_flow_id: {CLUSTER}\n\
         \x20         __meta_ec2_private_dns_name: ip-10-0-0-1.ec2.internal\n"
    );
    let config = format!("{before}{target}    relabel_configs:\n{after}");
    Ok(config.replace("scrape_interval: 30s", "scrape_interval: 1s"))
}

/// The expressions of all panels.
fn queries(dashboard: &Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().into_iter().flatten();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    targets.filter_map(|target| target["expr"].as_str().map(str::to_owned)).collect()
}

async fn ask(prometheus: &Port, query: &str) -> Outcome<Vec<Value>> {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("query", query).finish();
    let answer = http::get(prometheus.address(), &format!("/api/v1/query?{query}")).await?;
    let answer: Value = serde_json::from_slice(&answer.body)?;
    Ok(answer["data"]["result"].as_array().ok_or_else(|| answer.to_string())?.clone())
}

fn prometheus() -> Option<Part> {
    parts::present([Part::prometheus()]).then(Part::prometheus)?.ok()
}

async fn succeed(command: Command) -> Outcome {
    let shown = format!("{command:?}");
    let finished = process::run(command).await?;
    assert_eq!(finished.code, 0, "{shown}: {}{}", finished.out, finished.err);
    Ok(())
}

fn monitoring() -> PathBuf {
    repository().join("monitoring")
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
