//! The recipes in `docs/infrastructure` as users run them, with moto instead of AWS. They do not cover `terraform
//! validate`, or what AWS itself would reject.

use std::fs;
use std::os::unix::fs::PermissionsExt;
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
        succeed(self.command(program, arguments)).await
    }

    fn command(&self, program: &Path, arguments: &[&str]) -> Command {
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
        command
    }

    async fn describe(&self, arguments: &[&str]) -> Outcome<Value> {
        let script = describe().display().to_string();
        let text = self.run(Path::new("/usr/bin/python3"), &[&[script.as_str()], arguments].concat()).await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// A cluster's nodes in EC2, where moto's SSM finds its targets: moto's EMR tags none.
    async fn add_nodes(&self, cluster: &str, count: usize) -> Outcome {
        let tag = format!("{{Key=aws:elasticmapreduce:job-flow-id,Value={cluster}}}");
        let tags = format!("ResourceType=instance,Tags=[{tag}]");
        let count = count.to_string();
        let launch = ["ec2", "run-instances", "--image-id", "ami-03cf127a", "--count", count.as_str()];
        let arguments = [launch.as_slice(), &["--tag-specifications", tags.as_str()]].concat();
        self.run(&self.part.path("bin/aws"), &arguments).await?;
        Ok(())
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
        let made = aws.describe(&["cluster", id]).await?;
        assert_eq!(made["tags"], tags(), "{made}");
    }
    let scraped = fs::read_to_string(repository().join("monitoring/prometheus.yml"))?;
    let filter = "          - name: tag:emr-ecr-agent\n            values: [\"true\"]\n";
    assert!(scraped.contains(filter), "{scraped}");
    Ok(())
}

/// By which Prometheus finds the clusters.
fn tags() -> Value {
    json!({ "emr-ecr-agent": "true" })
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
    assert_eq!(terraform["tags"], tags(), "{terraform}");
    let tagged = "\n      Tags:\n        - { Key: emr-ecr-agent, Value: \"true\" }\n";
    assert!(template.contains(tagged), "{template}");
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
    let without_nodes = process::run(aws.command(&recipe("fleet.sh"), &["uninstall", &cluster])).await?;
    assert_eq!(without_nodes.code, 1, "{}", without_nodes.out);
    let nothing = format!("SSM manages no node of {cluster}: nothing was done\n");
    assert_eq!(without_nodes.err, nothing);

    aws.add_nodes(&cluster, 3).await?;
    let quoted = "A=$(id) \"b\" \\";
    let out = aws.run(&recipe("fleet.sh"), &["upgrade", &cluster, PREFIX, "--env", quoted]).await?;
    assert!(out.ends_with("upgrade: done on 3 of 3 nodes that SSM manages\n"), "{out}");
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

/// Prints its next answer for each question about the command.
const SSM: &str = r#"#!/bin/sh
[ "$2" != send-command ] || { echo 1234; exit; }
answers=${0%/*}/answers
answer=$(head -n 1 "$answers")
sed -i 1d "$answers"
[ "$answer" != unreachable ] && printf '%s\n' "$answer"
"#;

/// With stand-ins for the AWS CLI and for sleep.
#[tokio::test]
async fn a_fleet_command_ends_as_ssm_says() -> Outcome {
    let home = scratch::directory("fleet")?;
    for (name, text) in [("aws", SSM), ("sleep", "#!/bin/sh\n")] {
        let program = home.path().join(name);
        fs::write(&program, text)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    }
    for (answers, code, said) in [
        (
            "None\nPending\tPending\t0\t0\nunreachable\nSuccess\tSuccess\t3\t3\n",
            0,
            "uninstall: done on 3 of 3 nodes that SSM manages\n",
        ),
        ("Success\tNoInstancesInTag\t0\t0\n", 1, "SSM manages no node of j-1: nothing was done\n"),
        (
            "Failed\tFailed\t3\t1\n",
            1,
            "Failed: aws ssm list-command-invocations --command-id 1234 --details shows each node\n",
        ),
        ("", 1, "cannot read the state of command 1234\n"),
    ] {
        fs::write(home.path().join("answers"), answers)?;
        let mut fleet = Command::new(recipe("fleet.sh"));
        let path = format!("{}:/usr/bin:/bin", home.path().display());
        fleet.args(["uninstall", "j-1"]).env_clear().env("PATH", path);
        let Finished { code: ended, out, err } = process::run(fleet).await?;
        assert_eq!((ended, format!("{out}{err}")), (code, format!("command 1234\n{said}")), "{answers}");
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
