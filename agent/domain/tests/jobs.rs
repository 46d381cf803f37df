//! Jobs whose containers differ, whose defaults come from a cluster's configuration, or whose values are not known
//! yet.

use domain::check::{self, Content, EmrNode, HadoopVersion, Inputs, Report, SparkProperties, TextFile};
use domain::emr::properties::SparkProperty;
use domain::emr::spark_submit::SparkSubmit;
use domain::findings::Severity;
use hadoop_rules::Rules;
use jiff::Timestamp;

const IMAGE: &str = "123456789123.dkr.ecr.us-east-1.amazonaws.com/app:1";
const REGISTRY: &str = "123456789123.dkr.ecr.us-east-1.amazonaws.com";

fn emr(docker: &str, more: &str) -> String {
    format!(
        r#"[{{"Classification": "container-executor", "Configurations": [{{"Classification": "docker",
            "Properties": {{"docker.trusted.registries": "local,{REGISTRY}"{docker}}}}}]}}{more}]"#
    )
}

fn run(emr_config: &str, spark: Option<SparkProperties>) -> Report {
    check::run(&Inputs {
        emr_config: Some(TextFile {
            path: "emr".to_owned(),
            content: Content::Bytes(emr_config.as_bytes().to_vec()),
        }),
        spark,
        machine: &EmrNode,
        ..Inputs::nothing(HadoopVersion::named(Rules::V3_3), Timestamp::UNIX_EPOCH)
    })
}

fn command(text: &str) -> SparkProperties {
    let command = SparkSubmit::parse(text).expect("a command");
    SparkProperties {
        properties: command.properties(),
        behind_application: command.behind_application(),
        replaces_defaults: false,
    }
}

/// Properties by kind of container (`e`, `m`, or `both`) and variable.
fn job(variables: &[(&str, &str, &str)]) -> SparkProperties {
    let mut properties = Vec::new();
    for (kind, variable, value) in variables {
        for (prefix, name) in [("spark.executorEnv", "e"), ("spark.yarn.appMasterEnv", "m")] {
            if [name, "both"].contains(kind) {
                let key = format!("{prefix}.YARN_CONTAINER_RUNTIME_{variable}");
                let (value, file) = ((*value).to_owned(), "spark-submit".to_owned());
                properties.push(SparkProperty { key, value, file, line: None });
            }
        }
    }
    SparkProperties { properties, ..SparkProperties::default() }
}

fn errors(report: &Report) -> Vec<&'static str> {
    let errors = report.findings.iter().filter(|finding| finding.severity() == Severity::Error);
    errors.map(|finding| finding.code.name).collect()
}

fn would_launch(report: &Report) -> Vec<Option<bool>> {
    report.images.iter().map(|image| image.would_launch).collect()
}

#[test]
fn each_kind_of_container_gets_only_its_own_variables() {
    let sound = [("both", "TYPE", "docker"), ("both", "DOCKER_IMAGE", IMAGE)];
    let report = run(&emr("", ""), Some(job(&sound)));
    assert_eq!((errors(&report), would_launch(&report)), (vec![], vec![Some(true)]));
    for kind in ["e", "m"] {
        let one_image = [("both", "TYPE", "docker"), (kind, "DOCKER_IMAGE", IMAGE)];
        let report = run(&emr("", ""), Some(job(&one_image)));
        assert_eq!((errors(&report), would_launch(&report)), (vec!["job-without-image"], vec![Some(false)]));
        let bad_mount = [sound[0], sound[1], (kind, "DOCKER_MOUNTS", "/etc/passwd")];
        let report = run(&emr("", ""), Some(job(&bad_mount)));
        assert!(errors(&report).contains(&"mount-not-understood"), "{:?}", errors(&report));
        assert_eq!(would_launch(&report), [Some(false)]);
    }
    let misspelt = [("e", "TYPE", "docker"), ("m", "TYPE", "Docker"), sound[1]];
    let report = run(&emr("", ""), Some(job(&misspelt)));
    assert_eq!((errors(&report), would_launch(&report)), (vec!["job-outside-docker"], vec![Some(false)]));
}

#[test]
fn spark_merges_the_clusters_defaults_under_the_jobs() {
    let prefixes = ["spark.executorEnv", "spark.yarn.appMasterEnv"];
    let defaults = |variables: &[(&str, &str)]| {
        let properties: Vec<String> = prefixes
            .iter()
            .flat_map(|prefix| {
                variables.iter().map(move |(name, value)| {
                    format!(r#""{prefix}.YARN_CONTAINER_RUNTIME_{name}": "{value}""#)
                })
            })
            .collect();
        format!(r#", {{"Classification": "spark-defaults", "Properties": {{{}}}}}"#, properties.join(", "))
    };
    let image = "--conf spark.executorEnv.YARN_CONTAINER_RUNTIME_DOCKER_IMAGE";
    let master = "--conf spark.yarn.appMasterEnv.YARN_CONTAINER_RUNTIME_DOCKER_IMAGE";
    let text = format!("spark-submit {image}={IMAGE} {master}={IMAGE} main.py");
    let sound = emr("", &defaults(&[("TYPE", "docker"), ("DOCKER_IMAGE", "other/app:1")]));
    let report = run(&sound, Some(command(&text)));
    assert_eq!((errors(&report), would_launch(&report)), (vec![], vec![Some(true)]));
    assert_eq!(report.images[0].image, IMAGE);

    let mount =
        emr("", &defaults(&[("TYPE", "docker"), ("DOCKER_IMAGE", IMAGE), ("DOCKER_MOUNTS", "/x:/x:ro")]));
    let report = run(&mount, Some(command("spark-submit main.py")));
    assert_eq!(would_launch(&report), [Some(false)]);
    let own_file = SparkProperties { replaces_defaults: true, ..command("spark-submit main.py") };
    assert_eq!(would_launch(&run(&mount, Some(own_file))), []);
}

#[test]
fn what_is_not_resolved_yet_is_unknown() {
    let asks = job(&[("both", "TYPE", "docker"), ("both", "DOCKER_IMAGE", IMAGE)]);
    for (docker, more) in [
        (r#", "module.enabled": "${X}""#, ""),
        (r#", "docker.allowed.networks": "${X}""#, ""),
        (r#", "docker.allowed.ro-mounts": "/etc/passwd,${X}""#, ""),
        (
            "",
            r#", {"Classification": "yarn-site", "Properties": {"yarn.nodemanager.runtime.linux.docker.default-container-network": "${X}"}}"#,
        ),
        (
            "",
            r#", {"Classification": "yarn-site", "Properties": {"yarn.nodemanager.runtime.linux.allowed-runtimes": "${X}"}}"#,
        ),
    ] {
        let report = run(&emr(docker, more), Some(asks.clone()));
        assert_eq!((errors(&report), would_launch(&report)), (vec![], vec![None]), "{docker}{more}");
    }
    for (variable, value) in
        [("TYPE", "${X}"), ("DOCKER_MOUNTS", "${X}"), ("DOCKER_CONTAINER_NETWORK", "${X}")]
    {
        let mut open = asks.clone();
        open.properties.extend(job(&[("both", variable, value)]).properties);
        let report = run(&emr("", ""), Some(open));
        assert_eq!((errors(&report), would_launch(&report)), (vec![], vec![None]), "{variable}");
    }
    let template = |configurations: &str| {
        format!(
            "Resources:\n  Cluster:\n    Type: AWS::EMR::Cluster\n    Properties:\n      Configurations: {configurations}\n"
        )
    };
    for configurations in [
        "!FindInMap [a, b, c]",
        "[!If [a, b, c]]",
        "[{Classification: container-executor, Configurations: [{Classification: docker, ConfigurationProperties: !FindInMap [a, b, c]}]}]",
    ] {
        let report = run(&template(configurations), Some(asks.clone()));
        assert_eq!((errors(&report), would_launch(&report)), (vec![], vec![None]), "{configurations}");
    }
    let refused = "[{Classification: container-executor, Configurations: [{Classification: docker, Properties: {docker.trusted.registries: local}}]}]";
    assert!(errors(&run(&template(refused), None)).contains(&"emr-config-malformed"));
}

#[test]
fn a_shells_variables_are_unknown() {
    let image = "spark.executorEnv.YARN_CONTAINER_RUNTIME_DOCKER_IMAGE";
    let kind = "spark.executorEnv.YARN_CONTAINER_RUNTIME_TYPE=docker";
    for value in ["$IMAGE", "${IMAGE}", "$(cat image)"] {
        let text = format!(r#"spark-submit --conf {kind} --conf "{image}={value}" main.py"#);
        let report = run(&emr("", ""), Some(command(&text)));
        assert_eq!((errors(&report), would_launch(&report)), (vec![], vec![None]), "{value}");
    }
}

#[test]
fn what_is_left_open_makes_no_error_of_a_default() {
    let asks = job(&[
        ("both", "TYPE", "docker"),
        ("both", "DOCKER_IMAGE", IMAGE),
        ("both", "DOCKER_MOUNTS", "/data:/data:ro"),
    ]);
    let open = emr(r#", "docker.allowed.ro-mounts": "/data,${More}""#, "");
    assert_eq!(would_launch(&run(&open, Some(asks.clone()))), [None]);
    let refused = emr("", "");
    assert_eq!(would_launch(&run(&refused, Some(asks))), [Some(false)]);

    let asks = job(&[("both", "TYPE", "docker"), ("both", "DOCKER_IMAGE", IMAGE)]);
    let unrelated = r#", {"Classification": "yarn-site", "Properties": {"yarn.nodemanager.remote-app-log-dir": "s3://${Bucket}/logs"}}"#;
    let report = run(&emr("", unrelated), Some(asks));
    assert_eq!((errors(&report), would_launch(&report)), (vec![], vec![Some(true)]));
}

#[test]
fn a_kind_without_an_image_runs_the_default_one() {
    let default = r#", {"Classification": "yarn-site", "Properties": {"yarn.nodemanager.runtime.linux.docker.image-name": "evil/x:1"}}"#;
    let asks = job(&[("both", "TYPE", "docker"), ("e", "DOCKER_IMAGE", IMAGE)]);
    let report = run(&emr("", default), Some(asks));
    assert_eq!(errors(&report), ["default-image-refused"]);
    assert_eq!(would_launch(&report), [Some(true), Some(false)]);
}
