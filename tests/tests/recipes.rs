//! The recipes in `docs/infrastructure` as users run them, with moto instead of AWS. They do not cover `terraform
//! validate`, or what AWS itself would reject.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use emr_ecr_agent_tests::parts::{self, Part};
use emr_ecr_agent_tests::ports::Port;
use emr_ecr_agent_tests::process::{self, Finished, Server};
use emr_ecr_agent_tests::testbed::Outcome;
use emr_ecr_agent_tests::{agent, http, scratch};
use serde_json::{Value, json};

const BUCKET: &str = "my-bucket";
const REGISTRY: &str = "123456789123.dkr.ecr.us-east-1.amazonaws.com";
const PREFIX: &str = "s3://my-bucket/emr-ecr-agent/";
/// moto imports botocore first, possibly from a busy disk.
const START: Duration = Duration::from_secs(120);

/// moto and its clients.
struct Aws {
    part: Part,
    port: Port,
    home: scratch::Directory,
    _moto: Server,
}

impl Aws {
    async fn start() -> Outcome<Option<Self>> {
        if !parts::present([Part::recipes()]) {
            return Ok(None);
        }
        let (part, port, home) = (Part::recipes()?, Port::reserve()?, scratch::directory("recipes")?);
        let mut moto = process::bound_to_parent(Path::new("/usr/bin/python3"));
        moto.args(["-m", "moto.server", "--port", &port.number().to_string()]);
        in_python(&mut moto, &part);
        let mut moto = Server::start("moto", moto, &home.path().join("moto.log"))?;
        let address = port.address();
        moto.wait_until("moto", START, async |_| http::get(address, "/moto-api/").await.map(drop)).await?;
        Ok(Some(Self { part, port, home, _moto: moto }))
    }

    /// Runs a program against AWS and returns its output.
    async fn run(&self, program: &Path, arguments: &[&str]) -> Outcome<String> {
        let mut command = Command::new(program);
        let path = format!("{}:/usr/bin:/bin", self.part.path("bin").display());
        command.args(arguments).env_clear().env("PATH", path).env("HOME", self.home.path());
        in_python(&mut command, &self.part);
        command
            .env("AWS_ENDPOINT_URL", format!("http://{}", self.port.address()))
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "testing")
            .env("AWS_SECRET_ACCESS_KEY", "testing")
            .env("BUCKET", BUCKET)
            .env("REGISTRY", REGISTRY)
            .env("SUBNET", "subnet-0123456789abcdef0");
        succeed(command).await
    }

    async fn describe(&self, arguments: &[&str]) -> Outcome<Value> {
        let script = describe().display().to_string();
        let text = self.run(Path::new("/usr/bin/python3"), &[&[script.as_str()], arguments].concat()).await?;
        Ok(serde_json::from_str(&text)?)
    }

    async fn cluster(&self) -> Outcome<String> {
        Ok(self.run(&recipe("cluster.sh"), &[]).await?.trim().to_owned())
    }
}

#[tokio::test]
async fn clusters_are_created_upgraded_and_left_without_the_agent() -> Outcome {
    let Some(aws) = Aws::start().await? else { return Ok(()) };
    the_quick_start_makes_a_cluster(&aws).await?;
    cli_and_boto3_make_a_cluster_that_trusts_the_registry(&aws).await?;
    a_fleet_is_upgraded_and_uninstalled_by_ssm_and_by_a_step(&aws).await
}

async fn cli_and_boto3_make_a_cluster_that_trusts_the_registry(aws: &Aws) -> Outcome {
    let by_cli = aws.cluster().await?;
    let script = recipe("cluster.py").display().to_string();
    let arguments = [script.as_str(), BUCKET, REGISTRY, "subnet-0123456789abcdef0"];
    let by_boto3 = aws.run(Path::new("/usr/bin/python3"), &arguments).await?;
    for id in [by_cli.as_str(), by_boto3.trim()] {
        trusts_the_registry(aws, id).await?;
    }
    Ok(())
}

async fn trusts_the_registry(aws: &Aws, cluster: &str) -> Outcome {
    let made = aws.describe(&["cluster", cluster]).await?;
    assert_eq!(made["path"], format!("{PREFIX}install.sh"), "{made}");
    assert_eq!(made["args"], json!(["--strict", "--verify", "--from", PREFIX]), "{made}");
    let docker = &made["configurations"][0]["Configurations"][0]["Properties"];
    assert_eq!(docker["docker.trusted.registries"], format!("local,centos,{REGISTRY}"), "{made}");
    let file = aws.home.path().join("configurations.json");
    fs::write(&file, made["configurations"].to_string())?;
    assert_eq!(errors(&file).await?, Vec::<Value>::new());
    Ok(())
}

/// The prerequisites of the quick start: a bucket, the role of EMR's nodes, and a `make package` that does not take
/// minutes.
const BEFORE_THE_QUICK_START: &str = r#"set -euo pipefail
aws s3 mb s3://my-bucket
aws iam create-role --role-name EMR_EC2_DefaultRole --assume-role-policy-document '{}'
make() {
    local name=emr-ecr-agent-0.1.0-$(uname -m)
    [[ "$*" == package ]] && mkdir -p dist "$name" && ln -s "$PROGRAM" "$name/emr-ecr-agent"
    tar -czf "dist/$name.tar.gz" "$name" && rm -r "$name"
}
"#;

/// Runs the quick start's commands up to the cluster as one script.
async fn the_quick_start_makes_a_cluster(aws: &Aws) -> Outcome {
    let page = fs::read_to_string(repository().join("docs/quickstart.md"))?;
    let blocks = page.split("```\n").skip(1).step_by(2);
    let until_the_job = blocks.take_while(|block| !block.starts_with("emr-ecr-agent submit"));
    let directory = format!("cd {}\nPROGRAM={}\n", aws.home.path().display(), agent::program()?.display());
    let script: String =
        [directory.as_str(), BEFORE_THE_QUICK_START].into_iter().chain(until_the_job).collect();
    let out = aws.run(Path::new("/bin/bash"), &["-c", &script]).await?;
    let cluster = out.split_once("\"ClusterId\": \"").and_then(|(_, rest)| rest.split_once('"'));
    let (cluster, _) = cluster.ok_or_else(|| format!("no cluster: {out}"))?;
    trusts_the_registry(aws, cluster).await
}

#[tokio::test]
async fn cloudformation_is_valid_and_agrees_with_terraform() -> Outcome {
    if !parts::present([Part::recipes()]) {
        return Ok(());
    }
    let (part, home) = (Part::recipes()?, scratch::directory("template")?);
    let template = recipe("cluster.yaml");
    let mut lint = Command::new("/usr/bin/python3");
    lint.arg(part.path("python/bin/cfn-lint")).arg(&template).env("HOME", home.path());
    in_python(&mut lint, &part);
    succeed(lint).await?;
    assert_eq!(errors(&template).await?, Vec::<Value>::new());

    let template = fs::read_to_string(template)?;
    let mut parse = Command::new("/usr/bin/python3");
    parse.arg(describe()).arg("terraform").arg(recipe("cluster.tf"));
    in_python(&mut parse, &part);
    let terraform: Value = serde_json::from_str(&succeed(parse).await?)?;
    let in_template =
        |value: &Value| value.as_str().unwrap_or_default().replace("${var.bucket}", "${Bucket}");
    assert!(template.contains(&format!("Path: !Sub \"{}\"", in_template(&terraform["path"]))), "{terraform}");
    let arguments: Vec<String> =
        terraform["args"].as_array().into_iter().flatten().map(in_template).collect();
    let (source, flags) = arguments.split_last().ok_or("no arguments")?;
    let written = format!("Args: [{}, !Sub \"{source}\"]", flags.join(", "));
    assert!(template.contains(&written), "{written}");
    for (name, value) in [
        ("docker.trusted.registries", "local,centos,${var.registry}"),
        ("docker.privileged-containers.registries", "local,centos,${var.registry}"),
        ("yarn.nodemanager.runtime.linux.docker.ecr-auto-authentication.enabled", "false"),
    ] {
        let there = terraform["configurations"].as_str().unwrap_or_default();
        assert!(there.contains(&format!("\"{name}\" = \"{value}\"")), "{there}");
        assert!(template.contains(&format!("{name}: ")), "{name}");
    }
    Ok(())
}

async fn a_fleet_is_upgraded_and_uninstalled_by_ssm_and_by_a_step(aws: &Aws) -> Outcome {
    let cluster = aws.cluster().await?;
    let quoted = "A=$(id) \"b\" \\";
    aws.run(&recipe("fleet.sh"), &["upgrade", &cluster, PREFIX, "--env", quoted]).await?;
    let command = aws.describe(&["command"]).await?;
    let target = json!([{ "Key": "tag:aws:elasticmapreduce:job-flow-id", "Values": [cluster] }]);
    assert_eq!(command["Targets"], target);
    assert_eq!((&command["MaxConcurrency"], &command["MaxErrors"]), (&json!("10%"), &json!("0")));
    assert_eq!(
        on_node(&command).await?,
        format!(
            "aws: s3 cp --only-show-errors {PREFIX}install.sh install.sh\n\
             bash: install.sh --strict --verify --from {PREFIX} --env {quoted}\n"
        )
    );

    aws.run(&recipe("fleet.sh"), &["uninstall", &cluster, "--remove-credentials"]).await?;
    let command = aws.describe(&["command"]).await?;
    assert_eq!(on_node(&command).await?, "", "a node without the agent is done");

    for (action, arguments) in [("upgrade", format!("{cluster} {PREFIX}")), ("uninstall", cluster.clone())] {
        aws.run(&recipe("fleet-step.sh"), &[action, &cluster, PREFIX]).await?;
        let steps = aws.describe(&["cluster", &cluster]).await?["steps"].to_string();
        let run = format!("{PREFIX}fleet.sh - | bash -s -- {action} {arguments}");
        assert!(steps.contains(&run), "{steps}");
    }
    Ok(())
}

/// Runs the script in an SSM command, with `aws` and `bash` replaced by functions that print their arguments.
async fn on_node(command: &Value) -> Outcome<String> {
    let script = command["Parameters"]["commands"][0].as_str().ok_or("no script")?;
    let mut shell = Command::new("/bin/sh");
    shell.args([
        "-c",
        &format!("aws() {{ echo \"aws: $*\"; }}\nbash() {{ printf 'bash: %s\\n' \"$*\"; }}\n{script}"),
    ]);
    succeed(shell).await
}

/// The errors that `check --emr-config` reports for a file.
async fn errors(file: &Path) -> Outcome<Vec<Value>> {
    let mut check = Command::new(agent::program()?);
    check.args(["check", "--json", "--emr-config"]).arg(file).env_clear();
    let Finished { out, err, .. } = process::run(check).await?;
    let report: Value = serde_json::from_str(&out).map_err(|error| format!("{error}: {err}"))?;
    let findings = report["findings"].as_array().ok_or("no findings")?;
    Ok(findings.iter().filter(|finding| finding["severity"] == "error").cloned().collect())
}

fn in_python(command: &mut Command, part: &Part) {
    command.env("PYTHONPATH", part.path("python")).env("PYTHONDONTWRITEBYTECODE", "1");
}

async fn succeed(command: Command) -> Outcome<String> {
    let shown = format!("{command:?}");
    let finished = process::run(command).await?;
    assert_eq!(finished.code, 0, "{shown}: {}{}", finished.out, finished.err);
    Ok(finished.out)
}

fn describe() -> PathBuf {
    repository().join("tests/tests/recipes/describe.py")
}

fn recipe(name: &str) -> PathBuf {
    repository().join("docs/infrastructure").join(name)
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
