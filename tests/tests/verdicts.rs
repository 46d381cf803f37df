//! `check` predicts what a NodeManager does: 230 launches recorded on a real one, each with one changed setting or
//! one unusual request, are checked on a node laid out like the one they were recorded on.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::Path;
use std::process::Output;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use emr_ecr_agent_tests::agent::{self, Agent};
use emr_ecr_agent_tests::executor_config;
use emr_ecr_agent_tests::node::{AwsEndpoints, REGION, Settings, TRUSTED_REGISTRY};
use emr_ecr_agent_tests::registry::{Registry, USER};
use emr_ecr_agent_tests::scratch;
use emr_ecr_agent_tests::site;
use emr_ecr_agent_tests::testbed::{Outcome, Published, SOON, TWELVE_HOURS};
use emr_ecr_agent_tests::wait;
use emr_ecr_agent_tests::yarn_cluster::{self, ClusterNode};
use emr_ecr_agent_tests::{ecr::Ecr, imds::Imds};
use hadoop_rules::site::{NoIncludes, NoVariables, Site};
use hyper::StatusCode;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// `real` is the outcome on a NodeManager 3.4.1 with the native container-executor 3.4.0 and Docker 20.10.24, `why`
/// its message; the other fields are changes to the base below, to the node, or to the job. `@BOX@` is the directory
/// of the node's files.
const RECORDED: &str = include_str!("../testdata/verdicts.jsonl");
const BASE: &str = "\
yarn.nodemanager.linux-container-executor.group=yarn
banned.users=bin
min.user.id=1000
allowed.system.users=hadoop
[docker]
  module.enabled=true
  docker.binary=/usr/bin/docker
  docker.allowed.capabilities=SYS_CHROOT
  docker.allowed.networks=host,none
  docker.allowed.ro-mounts=/etc/passwd,/etc/group,@BOX@/nm-local,@BOX@/spark
  docker.allowed.rw-mounts=@BOX@/nm-local,@BOX@/nm-log
  docker.trusted.registries=123456789123.dkr.ecr.us-east-1.amazonaws.com
";
const IMAGE: &str = "123456789123.dkr.ecr.us-east-1.amazonaws.com/app:1";
/// The registry in the recordings, its only image, and the password it accepts.
const REGISTRY: &str = "127.0.0.1:5000";
const REGISTRY_IMAGE: &str = "127.0.0.1:5000/probe:1";
const PASSWORD: &str = "pw1";

/// The cases where `check` and the recording differ, and why. A case that starts to agree must leave the list.
const KNOWN: &[(&str, &str)] = &[
    ("conf-big-spaces", "the file is larger than what the agent reads"),
    ("where-http", "only the NodeManager reads that file system"),
    ("image-not-here-no-registry", UNREACHABLE),
    ("image-latest-not-here", UNREACHABLE),
    ("image-latest-of-a-tagged-one", UNREACHABLE),
];
const UNREACHABLE: &str = "the image is to be pulled from a registry that cannot be reached from here";
/// The small image's id where the cases were recorded.
const RECORDED_ID: &str = "0218c726a4ad";

/// A node for the recorded cases, and their shared state.
struct Bench {
    node: ClusterNode,
    settings: Settings,
    published: Published,
    registry: Registry,
    /// The base of yarn-site.xml for all cases.
    yarn_site: BTreeMap<String, String>,
    home: String,
    /// The short id of the small image.
    id: String,
    ecr: Ecr,
    _imds: Imds,
}

#[tokio::test]
async fn check_agrees_with_what_was_recorded() -> Outcome {
    if !yarn_cluster::can_run() {
        return Ok(());
    }
    let bench = Bench::set_up().await?;
    let mut wrong = Vec::new();
    let mut agreed = 0;
    for line in RECORDED.lines() {
        let case: Value = serde_json::from_str(line)?;
        let name = case["name"].as_str().ok_or("a name")?;
        let difference = bench.difference(&bench.localized(line)?).await?;
        let known = KNOWN.iter().find(|(known, _)| *known == name);
        match (difference, known) {
            (None, None) => agreed += 1,
            (Some(_), Some(_)) => {}
            (Some(difference), None) => wrong.push(format!("{name}: {difference}")),
            (None, Some(_)) => wrong.push(format!("{name} is right and must leave the list")),
        }
    }
    assert!(wrong.is_empty(), "{agreed} agree, {} do not:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

/// Cases that concern one job, or a condition that does not hold here, and so do not end readiness.
const READY: &[(&str, &str)] = &[
    ("min-uid-5000", "it concerns one user"),
    ("yarn-userremap-thresholds", "it concerns one user"),
    ("trust-repo-itself", "other images of the registry are trusted"),
    ("trust-two-slashes", "the settings' registry counts as covered by an entry below its host"),
    ("yarn-image-update-True", "the agent keeps a credential in root's Docker config"),
    ("yarn-image-update-local-only", "the agent keeps a credential in root's Docker config"),
];
/// Every third case that concerns the node runs, or all if the environment variable `LAUNCHES` is `all`.
const STRIDE: usize = 3;

#[tokio::test]
async fn readiness_agrees_with_what_was_recorded() -> Outcome {
    if !yarn_cluster::can_run() {
        return Ok(());
    }
    let mut bench = Bench::set_up().await?;
    bench.serve_registry();
    let mut agent = bench.node.start_agent(&bench.settings)?;
    agent.wait_ready(SOON).await?;
    let base: Value = json!({});
    let stride = env::var("LAUNCHES").ok().filter(|which| which == "all").map_or(STRIDE, |_| 1);
    // In that case the agent fetches a token for another Region, and the registry here accepts only the newest.
    let is_tried = |case: &&Value| concerns_the_node(case) && case["name"] != "trust-other-region";
    let of_node = RECORDED.lines().map(|line| bench.localized(line)).collect::<Result<Vec<Value>, _>>()?;
    let mut wrong = Vec::new();
    for case in of_node.iter().filter(is_tried).step_by(stride) {
        bench.lay_out(case).await?;
        reload(&agent).await?;
        let answer = agent.get("/readyz").await?;
        bench.clear(case).await?;
        let name = case["name"].as_str().ok_or("a name")?;
        let expected = case["real"] == "launched" || READY.iter().any(|(known, _)| *known == name);
        if (answer.status == StatusCode::OK) != expected {
            wrong.push(format!("{name}: {} though {}: {}", answer.status, case["real"], answer.text()));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));

    bench.lay_out(&base).await?;
    reload(&agent).await?;
    agent.wait_ready(SOON).await?;
    // container-executor passes its own checks, but fails as the NodeManager's user.
    bench.bash("chmod 0700 /etc/hadoop/conf").await?;
    reload(&agent).await?;
    let why = agent.get("/readyz").await?.text();
    assert!(
        why.contains("the NodeManager's user cannot reach /etc/hadoop/conf/container-executor.cfg"),
        "{why}"
    );
    bench.bash("chmod 0755 /etc/hadoop/conf").await?;
    reload(&agent).await?;
    agent.wait_ready(SOON).await?;
    bench.node.stop_engine().await?;
    reload(&agent).await?;
    let why = agent.get("/readyz").await?.text();
    assert!(
        why.contains("the Docker engine does not answer: cannot connect to /var/run/docker.sock"),
        "{why}"
    );
    bench.node.start_engine().await?;
    reload(&agent).await?;
    agent.wait_ready(SOON).await?;
    bench.published.shell(&["-chmod", "700", bench.published.directory()]).await?;
    reload(&agent).await?;
    let why = agent.get("/readyz").await?.text();
    assert!(why.contains("the NodeManager's user yarn cannot enter it"), "{why}");
    bench.published.shell(&["-chmod", "755", bench.published.directory()]).await?;
    agent.signal(Signal::SIGHUP)?;
    Ok(agent.wait_ready(SOON).await?)
}

/// On a node, `submit` runs the command only if `check` predicts that its containers launch.
#[tokio::test]
async fn submit_agrees_with_the_verdict() -> Outcome {
    if !yarn_cluster::can_run() {
        return Ok(());
    }
    let bench = Bench::set_up().await?;
    bench.lay_out(&json!({})).await?;
    let script = bench.node.files().path("spark-submit").display().to_string();
    let ran = bench.node.files().path("ran");
    bench
        .node
        .files()
        .write("spark-submit", &format!("#!/bin/sh\necho \"$@\" >{}\nexit 7\n", ran.display()))?;
    bench.bash(&format!("chmod 0755 {}", quoted(&script))).await?;
    let program = agent::program()?.display().to_string();
    let config = bench.node.files().agent_toml().display().to_string();
    let home = format!("HOME={}", bench.node.files().home_dir().display());
    let submit = async |options: &[&str]| {
        let _ = fs::remove_file(&ran);
        let words = ["/usr/bin/env", &home, &program, "submit", "--config", &config, "--offline"];
        let job = ["--", &script, "--proxy-user", "hadoop", "main.py"];
        let output = bench.node.output(&[&words, options, &job].concat()).await?;
        Outcome::Ok((
            output.status.code(),
            ran.exists(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ))
    };
    let sound = submit(&["--image", IMAGE]).await?;
    assert_eq!((sound.0, sound.1), (Some(7), true), "{}", sound.2);
    let arguments = fs::read_to_string(&ran)?;
    assert!(arguments.contains(&format!("DOCKER_IMAGE={IMAGE} ")), "{arguments}");
    for (options, code) in [
        (&["--image", "untrusted.example/app:1"][..], 1),
        (&["--image", IMAGE, "--mount", "/etc/hosts:/etc/hosts:ro"], 1),
        (&["--image", IMAGE, "--client-config", "hdfs:///nothing/here.json"], 1),
        // Only a NodeManager can read that file system.
        (&["--image", IMAGE, "--client-config", "s3://bucket/config.json"], 2),
    ] {
        let refused = submit(options).await?;
        assert_eq!((refused.0, refused.1), (Some(code), false), "{options:?}: {}", refused.2);
    }
    bench.bash("docker image rm --force 123456789123.dkr.ecr.us-east-1.amazonaws.com/app:1").await?;
    let pulled = submit(&["--image", IMAGE]).await?;
    assert_eq!((pulled.0, pulled.1), (Some(7), true), "{}", pulled.2);
    Ok(())
}

/// Returns whether the case changes only the node.
fn concerns_the_node(case: &Value) -> bool {
    const NODE: [&str; 7] = ["name", "real", "why", "cfg", "yarn", "before", "after"];
    let changed = case.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    changed.into_iter().all(|(key, _)| NODE.contains(&key.as_str()) || key == "files")
}

/// Returns once two passes have seen the node's current state: the second begins only after the first has ended, and
/// health shows what that one found.
async fn reload(agent: &Agent) -> Outcome {
    for _ in 0..3 {
        let before = reloads(agent).await?;
        agent.signal(Signal::SIGHUP)?;
        wait::until("a pass", SOON, async || match reloads(agent).await {
            Ok(now) if now > before => Ok(()),
            Ok(now) => Err(format!("{now} passes")),
            Err(error) => Err(error.to_string()),
        })
        .await?;
    }
    Ok(())
}

/// How many passes SIGHUP has triggered.
async fn reloads(agent: &Agent) -> Outcome<u64> {
    let metrics = agent.get("/metrics").await?.text();
    let line =
        metrics.lines().find_map(|line| line.strip_prefix("emr_ecr_agent_passes_total{wake=\"reload\"} "));
    Ok(line.map_or(Ok(0), str::parse)?)
}

impl Bench {
    async fn set_up() -> Outcome<Self> {
        let published = Published::shared("hadoop", "0755").await?;
        let registry = Registry::start_with_shell().await?;
        registry.password_file().accept_only(USER, PASSWORD)?;
        let node = ClusterNode::without_yarn(published.client()).await?;
        node.import_image("base:1").await?;
        let (ecr, imds) = (Ecr::start(TWELVE_HOURS).await?, Imds::start(REGION).await?);
        node.files().write_aws_config(AwsEndpoints { ecr: ecr.address(), imds: imds.address() })?;
        let settings = node.settings(published.path());
        node.files().write_settings(&settings)?;
        let home = node.files().path("").display().to_string();
        let home = home.trim_end_matches('/').to_owned();
        fs::create_dir(node.files().path("spark"))?;
        let yarn_site = properties(&node.files().path("conf/yarn-site.xml"))?;
        let id = node.run(&["docker", "image", "inspect", "--format", "{{.Id}}", "base:1"]).await?;
        let id = id.trim().trim_start_matches("sha256:").chars().take(RECORDED_ID.len()).collect();
        let bench = Self { node, published, registry, settings, yarn_site, home, id, ecr, _imds: imds };
        bench.publish().await?;
        Ok(bench)
    }

    /// Makes the agent serve a registry whatever container-executor.cfg trusts, and the real one accept its tokens.
    fn serve_registry(&mut self) {
        self.registry.follow(&self.ecr);
        self.settings.registry(TRUSTED_REGISTRY, &[&self.registry.host()]);
    }

    /// Puts the published file and the files of all cases on HDFS.
    async fn publish(&self) -> Outcome {
        let auth = BASE64.encode(format!("{USER}:{PASSWORD}"));
        let document = format!(r#"{{"auths":{{"{TRUSTED_REGISTRY}":{{"auth":"{auth}"}}}}}}"#);
        self.published.put(&document).await?;
        let directory = scratch::directory("verdicts")?;
        let files = directory.path().join("t");
        fs::create_dir(&files)?;
        for line in RECORDED.lines() {
            let case: Value = self.localized(line)?;
            for (path, file) in case["hdfs"].as_object().into_iter().flatten() {
                let text = file["text"].as_str().ok_or("a text")?;
                let times = file["times"].as_u64().unwrap_or(1);
                let name = Path::new(path).file_name().ok_or("a file")?;
                fs::write(files.join(name), text.repeat(usize::try_from(times)?))?;
            }
        }
        let files = files.display().to_string();
        self.published.shell(&["-put", &files, self.published.directory()]).await?;
        Ok(())
    }

    /// Replaces paths and registry names in the case with this node's.
    fn localized(&self, line: &str) -> Outcome<Value> {
        let with_two_slashes = self.home.replacen('/', "//", 1);
        let text = line
            .replace("@BOX@", &self.home)
            .replace("/srv//proto", &with_two_slashes)
            .replace(RECORDED_ID, &self.id)
            .replace("/home/yarn", "/opt/home-of-yarn")
            .replace("hdfs:///user/hadoop/", &format!("hdfs://{}/", self.published.directory()))
            .replace(REGISTRY_IMAGE, &self.registry.image())
            .replace("127.0.0.1:5000/probe:", &format!("{}/app:", self.registry.host()))
            .replace(REGISTRY, &self.registry.host());
        Ok(serde_json::from_str(&text)?)
    }

    /// How the verdict and the exit code differ from the recording, if they do.
    async fn difference(&self, case: &Value) -> Outcome<Option<String>> {
        self.lay_out(case).await?;
        let output = self.check(case).await?;
        self.clear(case).await?;
        let report: Value = serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&output.stderr)))?;
        let launched = case["real"] == "launched";
        let (code, image) = (output.status.code(), &report["images"][0]);
        let verdict = image["would_launch"].as_bool();
        let unknown = image["unknown"].as_array().is_some_and(|unknown| !unknown.is_empty());
        assert_eq!(verdict.is_none(), unknown && image["reasons"] == Value::Array(Vec::new()), "{image:#}");
        assert!(verdict != Some(false) || code == Some(1), "refused with exit code {code:?}: {image:#}");
        if verdict == Some(launched) && code == Some(i32::from(!launched)) {
            return Ok(None);
        }
        let codes = report["findings"].as_array().into_iter().flatten();
        let codes = codes.filter(|finding| finding["severity"] == "error").filter_map(|f| f["code"].as_str());
        let codes: Vec<&str> = codes.collect();
        let (reasons, unknown) = (&image["reasons"], &image["unknown"]);
        Ok(Some(format!(
            "{} and check says {verdict:?}, exit code {code:?}, {codes:?}, {reasons}, {unknown}; {}",
            case["real"], case["why"]
        )))
    }

    async fn lay_out(&self, case: &Value) -> Outcome {
        let files = self.node.files();
        let configuration = executor_config::changed(&BASE.replace("@BOX@", &self.home), &case["cfg"]);
        files.write("conf/container-executor.cfg", &configuration)?;
        let mut yarn_site = self.yarn_site.clone();
        for (key, value) in case["yarn"].as_object().into_iter().flatten() {
            match value.as_str() {
                Some(value) => drop(yarn_site.insert(key.clone(), value.to_owned())),
                None => drop(yarn_site.remove(key)),
            }
        }
        let properties: Vec<(&str, &str)> =
            yarn_site.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        site::write(&files.path("conf/yarn-site.xml"), &properties)?;
        let mut script = vec!["cfg=/etc/hadoop/conf/container-executor.cfg".to_owned()];
        let (mode, uid) = (case["cfg"]["mode"].as_u64().unwrap_or(0o644), case["cfg"]["uid"].as_u64());
        script.push(format!("chmod {mode:o} $cfg; chown {} $cfg", uid.unwrap_or(0)));
        for (index, file) in case["files"].as_array().into_iter().flatten().enumerate() {
            script.push(self.placed(index, file)?);
        }
        script.extend(case["before"].as_str().map(str::to_owned));
        let image = quoted(case["image"].as_str().unwrap_or(IMAGE));
        if case["rmi"] == true {
            script.push(format!("docker image rm --force {image} >/dev/null 2>&1 || true"));
        } else if case["tag"] != false {
            // Some cases contain a name that Docker rejects.
            script.push(format!("docker tag base:1 {image} >/dev/null 2>&1 || true"));
        }
        self.bash(&script.join("\n")).await
    }

    /// The shell commands that create a file of the case.
    fn placed(&self, index: usize, file: &Value) -> Outcome<String> {
        let path = quoted(file["path"].as_str().ok_or("a path")?);
        let mut script = format!("mkdir -p \"$(dirname {path})\"\n");
        if let Some(text) = file["text"].as_str() {
            let name = format!("staged-{index}");
            self.node.files().write(&name, text)?;
            script.push_str(&format!("cp {} {path}\n", quoted(&format!("{}/{name}", self.home))));
        } else if let Some(target) = file["link"].as_str() {
            script.push_str(&format!("ln -sfn {} {path}\n", quoted(target)));
        } else {
            script.push_str(&format!("mkdir -p {path}\n"));
        }
        let default = if file["text"].is_string() { 0o644 } else { 0o755 };
        if file["link"].is_null() {
            let mode = file["mode"].as_u64().unwrap_or(default);
            script.push_str(&format!("chmod {mode:o} {path}\n"));
        }
        let uid = file["uid"].as_u64().unwrap_or(0);
        script.push_str(&format!("chown -h {uid} {path}\n"));
        Ok(script)
    }

    /// Reverts what a case changed.
    async fn clear(&self, case: &Value) -> Outcome {
        let mut script: Vec<String> = case["after"].as_str().map(str::to_owned).into_iter().collect();
        for file in case["files"].as_array().into_iter().flatten() {
            script.push(format!("rm -rf {}", quoted(file["path"].as_str().ok_or("a path")?)));
        }
        self.bash(&script.join("\n")).await
    }

    async fn bash(&self, script: &str) -> Outcome {
        if !script.is_empty() {
            self.node.run(&["/bin/bash", "-c", &format!("set -e\n{script}")]).await?;
        }
        Ok(())
    }

    async fn check(&self, case: &Value) -> Outcome<Output> {
        let program = agent::program()?.display().to_string();
        let config = self.node.files().agent_toml().display().to_string();
        let home = format!("HOME={}", self.node.files().home_dir().display());
        let mut words = vec!["/usr/bin/env", &home, &program, "check", "--json", "--config", &config];
        let image = case["image"].as_str().unwrap_or(IMAGE);
        words.extend(["--image", image, "--user", case["user"].as_str().unwrap_or("hadoop")]);
        for mount in case["mounts"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            words.extend(["--mount", mount]);
        }
        for (option, value) in [("--network", &case["network"]), ("--client-config", &case["client_config"])]
        {
            words.extend(value.as_str().map(|value| [option, value]).into_iter().flatten());
        }
        if case["privileged"] == true {
            words.push("--privileged");
        }
        let variables = case["env"].as_object().into_iter().flatten();
        let variables: Vec<String> =
            variables.filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?))).collect();
        for variable in &variables {
            words.extend(["--env", variable]);
        }
        // Only a pull contacts a registry.
        if case["rmi"] != true {
            words.push("--offline");
        }
        Ok(self.node.output(&words).await?)
    }
}

fn properties(path: &Path) -> Outcome<BTreeMap<String, String>> {
    let mut site = Site::new();
    site.load("yarn-site.xml", &fs::read(path)?, &NoIncludes).map_err(|error| error.to_string())?;
    Ok(site.resolve(&NoVariables).values().clone())
}

/// Quotes a word for the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
