//! Jobs before submission: `check --spark-conf` and `--submit`, `submit`, `submit-args` and `emr-config`.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use emr_ecr_agent_tests::agent;
use emr_ecr_agent_tests::node::TRUSTED_REGISTRY;
use emr_ecr_agent_tests::testbed::Outcome;
use serde_json::{Value, json};

const CFG: &str = "\
yarn.nodemanager.linux-container-executor.group=root
[docker]
module.enabled=true
docker.binary=/bin/true
docker.trusted.registries=local,centos,registry.example
docker.allowed.networks=host,none,bridge
docker.allowed.capabilities=CHOWN,DAC_OVERRIDE,FSETID,FOWNER,MKNOD,NET_RAW,SETGID,SETUID,SETFCAP,SETPCAP,NET_BIND_SERVICE,SYS_CHROOT,KILL,AUDIT_WRITE
docker.allowed.ro-mounts=/etc/passwd
docker.allowed.rw-mounts=/tmp
";
const YARN_SITE: &str = "\
<configuration>
<property><name>yarn.nodemanager.container-executor.class</name><value>org.apache.hadoop.yarn.server.nodemanager.LinuxContainerExecutor</value></property>
<property><name>yarn.nodemanager.runtime.linux.allowed-runtimes</name><value>default,docker</value></property>
</configuration>
";
const IMAGE: &str = "registry.example/app:v1";
const DEFAULTS: &str = "\
# of the cluster
spark.executorEnv.YARN_CONTAINER_RUNTIME_TYPE          docker
spark.executorEnv.YARN_CONTAINER_RUNTIME_DOCKER_IMAGE  registry.example/App:v1
spark.yarn.AppMasterEnv.YARN_CONTAINER_RUNTIME_TYPE    docker
";

/// A machine's files, and a spark-submit that records its arguments and exits with 7.
struct Machine {
    directory: tempfile::TempDir,
}

impl Machine {
    fn new() -> Outcome<Self> {
        // The NodeManager's user reads the client config, so it must not be in a home directory.
        let machine = Self { directory: tempfile::tempdir_in("/tmp")? };
        fs::set_permissions(machine.path(""), Permissions::from_mode(0o755))?;
        fs::create_dir(machine.path("conf"))?;
        let conf = machine.path("conf").display().to_string();
        machine.write("agent.toml", &format!("[hadoop]\nconf_dir = \"{conf}\"\n"))?;
        let auth = BASE64.encode("user:secret");
        machine.write("config.json", &json!({"auths": {"registry.example": {"auth": auth}}}).to_string())?;
        let arguments = machine.path("arguments");
        let script = format!("#!/bin/sh\nprintf '%s\\n' \"$@\" >{}\nexit 7\n", arguments.display());
        machine.write("spark-submit", &script)?;
        fs::set_permissions(machine.path("spark-submit"), Permissions::from_mode(0o755))?;
        Ok(machine)
    }

    /// A core or task node.
    fn node() -> Outcome<Self> {
        let machine = Self::new()?;
        machine.write("conf/container-executor.cfg", CFG)?;
        machine.write("conf/yarn-site.xml", YARN_SITE)?;
        Ok(machine)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> Outcome {
        Ok(fs::write(self.path(name), text)?)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn run(&self, command: &str, args: &[&str]) -> Outcome<Output> {
        let config = self.text("agent.toml");
        run(&[&[command, "--config", &config], args].concat())
    }

    /// Runs `submit` with a good client config; returns its output and spark-submit's arguments.
    fn submit(&self, args: &[&str]) -> Outcome<(Output, Option<Vec<String>>)> {
        let uri = format!("file://{}", self.text("config.json"));
        let _ = fs::remove_file(self.path("arguments"));
        let output = self.run("submit", &[&["--offline", "--client-config", &uri], args].concat())?;
        let arguments = fs::read_to_string(self.path("arguments")).ok();
        Ok((output, arguments.map(|text| text.lines().map(str::to_owned).collect())))
    }
}

fn run(args: &[&str]) -> Outcome<Output> {
    Ok(Command::new(agent::program()?).args(args).env_clear().output()?)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn codes(output: &Output) -> Outcome<Vec<(String, Option<u64>)>> {
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let findings = report["findings"].as_array().ok_or("no findings")?;
    let important = findings.iter().filter(|finding| finding["severity"] != "info");
    Ok(important
        .map(|finding| (finding["code"].as_str().unwrap_or_default().to_owned(), finding["line"].as_u64()))
        .collect())
}

#[test]
fn spark_properties_are_checked_beside_the_files() -> Outcome {
    let machine = Machine::node()?;
    machine.write("spark-defaults.conf", DEFAULTS)?;
    let (defaults, cfg) = (machine.text("spark-defaults.conf"), machine.text("conf/container-executor.cfg"));
    let of_file = run(&["check", "--json", "--spark-conf", &defaults, "--executor-cfg", &cfg])?;
    assert_eq!(of_file.status.code(), Some(1), "{}", said(&of_file));
    let found = codes(&of_file)?;
    for expected in [("image-invalid", 3), ("spark-prefix-unknown", 4), ("spark-containers-differ", 3)] {
        assert!(found.contains(&(expected.0.to_owned(), Some(expected.1))), "{expected:?}: {found:?}");
    }
    let mut program = Command::new(agent::program()?);
    let program = program.args(["check", "--json", "--spark-conf", "-", "--executor-cfg", &cfg]).env_clear();
    let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().ok_or("a pipe")?.write_all(DEFAULTS.as_bytes())?;
    let piped = child.wait_with_output()?;
    assert_eq!(codes(&piped)?, found);
    for wrong in ["/nonexistent", "/"] {
        let output = run(&["check", "--spark-conf", wrong, "--executor-cfg", &cfg])?;
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{}", said(&output));
    }
    Ok(())
}

#[test]
fn commands_are_checked_with_their_properties_file() -> Outcome {
    let machine = Machine::node()?;
    machine.write("job.conf", DEFAULTS)?;
    let cfg = machine.text("conf/container-executor.cfg");
    let check = |command: &str| run(&["check", "--json", "--submit", command, "--executor-cfg", &cfg]);
    let sound: String = ["executorEnv", "yarn.appMasterEnv"]
        .map(|prefix| {
            let variable = format!("spark.{prefix}.YARN_CONTAINER_RUNTIME");
            format!(" --conf {variable}_TYPE=docker --conf {variable}_DOCKER_IMAGE={IMAGE}")
        })
        .concat();
    let checked = check(&format!("spark-submit --deploy-mode cluster{sound} main.py --conf x"))?;
    assert_eq!((checked.status.code(), codes(&checked)?), (Some(0), vec![]), "{}", said(&checked));
    let report: Value = serde_json::from_slice(&checked.stdout)?;
    assert_eq!(report["images"][0]["image"], IMAGE);
    let of_file =
        check(&format!("spark-submit --properties-file {} --conf a=b main.py", machine.text("job.conf")))?;
    assert!(codes(&of_file)?.contains(&("image-invalid".to_owned(), Some(3))));
    let without_yarn = check(&format!("spark-submit --master local[2]{sound} main.py"))?;
    assert_eq!(codes(&without_yarn)?, [("job-outside-docker".to_owned(), None)]);
    assert_eq!(without_yarn.status.code(), Some(1));
    let behind = check(&format!("spark-submit main.py{sound}"))?;
    assert_eq!(codes(&behind)?, vec![("spark-option-ignored".to_owned(), None); 4]);
    let variable = "YARN_CONTAINER_RUNTIME_DOCKER_MOUNT=/etc/passwd:/etc/passwd:ro";
    let misspelt = run(&["check", "--json", "--image", IMAGE, "--env", variable, "--executor-cfg", &cfg])?;
    assert_eq!(codes(&misspelt)?, [("job-variable-unknown".to_owned(), None)]);
    let untrusted =
        check(&format!("spark-submit{} main.py", sound.replace("registry.example", "other.example")))?;
    assert!(codes(&untrusted)?.iter().any(|(code, _)| code == "image-not-trusted"));
    for wrong in ["hadoop jar x.jar", "spark-submit 'x", "spark-submit --conf x main.py"] {
        let output = check(wrong)?;
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{wrong}: {}", said(&output));
    }
    Ok(())
}

/// As on the primary node; tests/verdicts.rs covers a core node.
#[test]
fn submit_runs_what_is_sound_and_nothing_else() -> Outcome {
    let machine = Machine::new()?;
    let spark = machine.text("spark-submit");
    let job = ["--", &spark, "--deploy-mode", "cluster", "main.py", "an argument"];

    // There is no configuration to check trust and mounts against.
    let (sound, arguments) =
        machine.submit(&[&["--image", IMAGE, "--mount", "/a:/a:ro"], &job[..]].concat())?;
    assert_eq!(sound.status.code(), Some(7), "{}", said(&sound));
    assert!(said(&sound).contains("are not checked"), "{}", said(&sound));
    let arguments = arguments.ok_or("it did not run")?;
    assert_eq!(arguments[16..], ["--deploy-mode", "cluster", "main.py", "an argument"]);
    assert_eq!(arguments[0], "--conf");
    let image = format!("spark.yarn.appMasterEnv.YARN_CONTAINER_RUNTIME_DOCKER_IMAGE={IMAGE}");
    assert!(arguments.contains(&image), "{arguments:?}");

    for (options, code) in [
        (&["--image", "Registry/App"][..], "image-invalid"),
        (&["--image", IMAGE, "--mount", "relative:/x:ro"], "mount-not-understood"),
    ] {
        let (refused, arguments) = machine.submit(&[options, &job[..]].concat())?;
        assert_eq!((refused.status.code(), arguments), (Some(1), None), "{code}: {}", said(&refused));
        assert!(said(&refused).contains(&format!("[{code}]")), "{code}: {}", said(&refused));
    }

    let (local, arguments) =
        machine.submit(&["--image", IMAGE, "--", &spark, "--master", "local", "main.py"])?;
    assert_eq!((local.status.code(), arguments), (Some(1), None), "{}", said(&local));
    assert!(said(&local).contains("[job-outside-docker]"), "{}", said(&local));

    let key = "spark.executorEnv.YARN_CONTAINER_RUNTIME_DOCKER_IMAGE";
    let (same, other) = (format!("{key}={IMAGE}"), format!("{key}=registry.example/other:v1"));
    let with = |conf: &str| machine.submit(&["--image", IMAGE, "--", &spark, "--conf", conf, "main.py"]);
    assert_eq!(with(&same)?.0.status.code(), Some(7));
    let (conflict, arguments) = with(&other)?;
    assert_eq!((conflict.status.code(), arguments), (Some(1), None));
    assert!(said(&conflict).contains(&other), "{}", said(&conflict));
    Ok(())
}

#[test]
fn submit_runs_nothing_that_it_cannot_check() -> Outcome {
    let machine = Machine::new()?;
    let spark = machine.text("spark-submit");
    // The published file is on an HDFS that does not exist.
    let unknown = machine.run("submit", &["--offline", "--image", IMAGE, "--", &spark, "main.py"])?;
    assert_eq!(unknown.status.code(), Some(2), "{}", said(&unknown));
    assert!(
        said(&unknown).contains("cannot determine whether the containers would launch"),
        "{}",
        said(&unknown)
    );
    let on_s3 = ["--offline", "--image", IMAGE, "--client-config", "s3://bucket/config.json", "--", &spark];
    let elsewhere = machine.run("submit", &on_s3)?;
    assert_eq!(elsewhere.status.code(), Some(2), "{}", said(&elsewhere));
    assert!(said(&elsewhere).contains("name the published file on HDFS"), "{}", said(&elsewhere));
    assert!(!machine.path("arguments").exists());
    for wrong in [&["--", "hadoop", "jar"][..], &[]] {
        let (output, arguments) = machine.submit(&[&["--image", IMAGE], wrong].concat())?;
        assert_eq!((output.status.code(), arguments), (Some(2), None), "{wrong:?}: {}", said(&output));
    }
    let (absent, _) = machine.submit(&["--image", IMAGE, "--", "/nonexistent/spark-submit", "main.py"])?;
    assert_eq!(absent.status.code(), Some(127), "{}", said(&absent));
    Ok(())
}

#[test]
fn submit_args_prints_for_where_people_submit() -> Outcome {
    let machine = Machine::node()?;
    let cfg = machine.text("conf/container-executor.cfg");
    let print = |format: &str, more: &[&str]| -> Outcome<String> {
        let args = ["--image", IMAGE, "--executor-cfg", &cfg, "--strict", "--format", format];
        let output = machine.run("submit-args", &[&args[..], more].concat())?;
        assert_eq!(output.status.code(), Some(0), "{format}: {}", said(&output));
        Ok(String::from_utf8(output.stdout)?)
    };
    let parsed =
        |format: &str, more: &[&str]| -> Outcome<Value> { Ok(serde_json::from_str(&print(format, more)?)?) };
    let object = parsed("json", &[])?;
    assert_eq!(object.as_object().map(serde_json::Map::len), Some(8));
    assert_eq!(parsed("livy", &[])?, json!({"conf": object}));
    assert_eq!(parsed("sparkmagic", &[])?, json!({"conf": object}));
    assert_eq!(parsed("emr-classification", &[])?[0]["Properties"], object);
    let application = ["--", "s3://bucket/main.py", "an argument"];
    let step = parsed("emr-step", &application)?;
    assert_eq!(step[0]["Args"], parsed("boto3", &application)?[0]["HadoopJarStep"]["Args"]);
    assert_eq!(parsed("airflow", &application)?, parsed("boto3", &application)?);
    assert_eq!(step[0]["Args"].as_array().and_then(|args| args.last()), Some(&json!("an argument")));
    for (format, part) in [
        ("spark-defaults", "spark.executorEnv.YARN_CONTAINER_RUNTIME_TYPE docker\n"),
        ("properties", "spark.executorEnv.YARN_CONTAINER_RUNTIME_TYPE=docker\n"),
        ("mapreduce", "-D mapreduce.map.env.YARN_CONTAINER_RUNTIME_TYPE=docker "),
        ("distributed-shell", "-shell_env YARN_CONTAINER_RUNTIME_TYPE=docker "),
    ] {
        let text = print(format, &[])?;
        assert!(text.contains(part), "{format}: {text}");
    }
    for (format, application, warning) in [
        ("emr-step", &[][..], "the step has no application"),
        ("livy", &application, "does not include the application"),
        ("livy", &[], ""),
        ("emr-step", &application, ""),
        ("spark-submit", &[], ""),
    ] {
        let args = ["--image", IMAGE, "--executor-cfg", &cfg, "--format", format];
        let output = machine.run("submit-args", &[&args[..], application].concat())?;
        assert_eq!(output.status.code(), Some(0), "{format}: {}", said(&output));
        let is_warned = said(&output).contains("application");
        assert!(is_warned != warning.is_empty() && said(&output).contains(warning), "{}", said(&output));
    }
    Ok(())
}

#[test]
fn submit_args_checks_each_value() -> Outcome {
    let (laptop, node) = (Machine::new()?, Machine::node()?);
    let cfg = node.text("conf/container-executor.cfg");
    let check = |args: &[&str]| -> Outcome<(Option<i32>, String)> {
        let output = laptop.run("submit-args", &[&["--strict", "--image", IMAGE], args].concat())?;
        Ok((output.status.code(), said(&output)))
    };
    let good = format!("file://{}", laptop.text("config.json"));
    let sound = check(&["--client-config", &good])?;
    assert_eq!(sound.0, Some(0), "{}", sound.1);
    laptop.write("closed.json", "{}")?;
    fs::set_permissions(laptop.path("closed.json"), Permissions::from_mode(0o600))?;
    let closed = format!("file://{}", laptop.text("closed.json"));
    for (args, code) in [
        (&["--client-config", &closed][..], "client-config-unreadable"),
        (&["--client-config", "nosuch://host/config.json"], "client-config-uri"),
        (&["--executor-cfg", &cfg, "--client-config", "nosuch://host/config.json"], "client-config-uri"),
        (&["--client-config", &good, "--mount", "/etc/passwd:/x:ro,,"], "mount-not-understood"),
        (&["--executor-cfg", &cfg, "--mount", "/etc/hosts:/x:ro"], "mount-refused"),
    ] {
        let refused = check(args)?;
        assert_eq!(refused.0, Some(1), "{args:?}: {}", refused.1);
        assert!(refused.1.contains(&format!("[{code}]")), "{args:?}: {}", refused.1);
    }
    // The report names what only the NodeManager can read as unchecked, and a file other than the agent's.
    let elsewhere = check(&["--client-config", "s3://bucket/config.json"])?;
    assert_eq!(elsewhere.0, Some(0), "{}", elsewhere.1);
    for part in ["only the NodeManager reads that file system", "[client-config-elsewhere]"] {
        assert!(elsewhere.1.contains(part), "{part}: {}", elsewhere.1);
    }
    Ok(())
}

#[test]
fn submit_args_takes_the_cluster_to_be_made() -> Outcome {
    let machine = Machine::new()?;
    let written = run(&["emr-config", "--registry", TRUSTED_REGISTRY])?;
    fs::write(machine.path("list.json"), &written.stdout)?;
    let list = machine.text("list.json");
    let submit_args =
        |image: &str| machine.run("submit-args", &["--strict", "--emr-config", &list, "--image", image]);
    let trusted = submit_args(&format!("{TRUSTED_REGISTRY}/app:v1"))?;
    assert_eq!((trusted.status.code(), said(&trusted).as_str()), (Some(0), ""));
    let other = submit_args("other.example/app:v1")?;
    assert_eq!(other.status.code(), Some(1));
    assert!(said(&other).contains("[image-not-trusted]"), "{}", said(&other));
    Ok(())
}

#[test]
fn kerberos_needs_a_mount() -> Outcome {
    let machine = Machine::node()?;
    let property =
        |name: &str, value: &str| format!("<property><name>{name}</name><value>{value}</value></property>");
    let core = property("hadoop.security.authentication", "kerberos");
    machine.write("conf/core-site.xml", &format!("<configuration>{core}</configuration>"))?;
    machine.write("conf/hdfs-site.xml", "<configuration></configuration>")?;
    let good = format!("file://{}", machine.text("config.json"));
    let output = machine
        .run("submit-args", &["--image", IMAGE, "--client-config", &good, "--format", "properties"])?;
    let text = String::from_utf8(output.stdout.clone())?;
    assert!(
        text.contains("DOCKER_MOUNTS=/etc/passwd:/etc/passwd:ro,/etc/krb5.conf:/etc/krb5.conf:ro\n"),
        "{text}"
    );
    // The node does not allow the mount, and the output reports it.
    assert!(said(&output).contains("/etc/krb5.conf"), "{}", said(&output));
    Ok(())
}

#[test]
fn emr_config_makes_what_check_accepts() -> Outcome {
    let machine = Machine::new()?;
    let image = format!("{TRUSTED_REGISTRY}/app:v1");
    let written =
        run(&["emr-config", "--image", &image, "--ro-mount", "/etc/krb5.conf", "--spark-defaults"])?;
    assert_eq!((written.status.code(), said(&written).as_str()), (Some(0), ""));
    let list: Value = serde_json::from_slice(&written.stdout)?;
    let docker = &list[0]["Configurations"][0]["Properties"];
    assert_eq!(docker["docker.trusted.registries"], format!("local,centos,{TRUSTED_REGISTRY}"));
    assert_eq!(
        docker["docker.allowed.ro-mounts"],
        "/sys/fs/cgroup,/etc/passwd,/usr/lib,/usr/share,/etc/krb5.conf"
    );
    let switch = "yarn.nodemanager.runtime.linux.docker.ecr-auto-authentication.enabled";
    assert_eq!(list[1]["Properties"][switch], "false");
    assert_eq!(list[2]["Classification"], "spark-defaults");
    fs::write(machine.path("list.json"), &written.stdout)?;
    let checked = run(&["check", "--json", "--emr-config", &machine.text("list.json")])?;
    assert_eq!((checked.status.code(), codes(&checked)?), (Some(0), vec![]));

    let cloudformation = run(&["emr-config", "--registry", TRUSTED_REGISTRY, "--format", "cloudformation"])?;
    let cloudformation: Value = serde_json::from_slice(&cloudformation.stdout)?;
    assert_eq!(cloudformation[1]["ConfigurationProperties"][switch], "false");
    let both = run(&["emr-config", "--registry", TRUSTED_REGISTRY, "--keep-emr-authentication"])?;
    assert!(!String::from_utf8(both.stdout)?.contains(switch));
    let repository = run(&["emr-config", "--registry", &format!("{TRUSTED_REGISTRY}/app")])?;
    assert!(said(&repository).contains("[entry-is-repository]"), "{}", said(&repository));
    assert_eq!(repository.status.code(), Some(0));
    let nearly = run(&["emr-config", "--registry", "12345678912.dkr.ecr.us-east-1.amazonaws.com"])?;
    assert!(said(&nearly).contains("[entry-nearly-ecr]"), "{}", said(&nearly));
    let invalid = run(&["emr-config", "--image", &image.replace("app", "App"), "--spark-defaults"])?;
    assert_eq!((invalid.status.code(), invalid.stdout.len()), (Some(1), 0), "{}", said(&invalid));
    assert!(said(&invalid).contains("[image-invalid]"), "{}", said(&invalid));
    for wrong in [
        &["--image", "python:3.11"][..],
        &["--registry", TRUSTED_REGISTRY, "--ro-mount", "etc"],
        &["--registry", TRUSTED_REGISTRY, "--spark-defaults"],
        &["--image", &image, &image, "--spark-defaults"],
        &[],
    ] {
        let output = run(&[&["emr-config"], wrong].concat())?;
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{wrong:?}: {}", said(&output));
    }
    Ok(())
}

/// Commands that only inspect change nothing.
#[test]
fn checks_leave_no_file_behind() -> Outcome {
    let machine = Machine::node()?;
    let names = |path: &Path| -> Outcome<Vec<_>> {
        let mut names: Vec<_> = fs::read_dir(path)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<Result<_, _>>()?;
        names.sort();
        Ok(names)
    };
    let before = names(machine.directory.path())?;
    machine.run("submit-args", &["--image", IMAGE])?;
    machine.run("check", &["--offline", "--submit", "spark-submit main.py"])?;
    assert_eq!(names(machine.directory.path())?, before);
    Ok(())
}
