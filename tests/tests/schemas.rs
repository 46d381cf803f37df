//! The output of `--json` matches docs/schemas exactly: no extra fields, none missing.

use emr_ecr_agent_tests::node::TRUSTED_REGISTRY;
use emr_ecr_agent_tests::schema::assert_follows;
use emr_ecr_agent_tests::testbed::{Outcome, Testbed, wait_for_token};
use serde_json::Value;

#[tokio::test]
async fn status_and_once_follow_their_schemas() -> Outcome {
    let mut testbed = Testbed::without_hdfs().await?;
    testbed.settings.registry(TRUSTED_REGISTRY, &[]);
    let once = testbed.run(&["once", "--json"]).await?.json()?;
    assert!(once["status"]["sinks"].as_array().is_some_and(|sinks| sinks.len() == 2), "{once:#}");
    assert!(once["status"]["findings"].as_array().is_some_and(|found| !found.is_empty()), "{once:#}");
    assert_follows("once", &once);
    let agent = testbed.start()?;
    wait_for_token(&agent).await?;
    assert_follows("status", &testbed.run(&["status", "--json"]).await?.json()?);
    assert_follows("status", &agent.status().await?);
    Ok(())
}

#[tokio::test]
async fn check_follows_its_schema() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    let cfg = testbed.node.conf_dir().join("container-executor.cfg").display().to_string();
    let (image, docker_config) = (format!("{TRUSTED_REGISTRY}/app:v1"), testbed.node.path("docker.json"));
    let auth = r#"{"auths":{"registry.example":{"auth":"dXNlcjpwdw=="}}}"#;
    testbed.node.write("docker.json", auth)?;
    testbed.node.write("broken.cfg", "[docker \n")?;
    let (docker_config, broken) =
        (docker_config.display().to_string(), testbed.node.path("broken.cfg").display().to_string());
    for (args, code) in [
        (&["--executor-cfg", &cfg, "--docker-config", &docker_config, "--image", &image][..], None),
        (
            &["--executor-cfg", &cfg, "--image", "registry.example/app", "--mount", "/etc/hosts:/x:ro"],
            Some(1),
        ),
        (&["--executor-cfg", &broken], Some(1)),
        (&["--emr-config", "/nonexistent"], Some(2)),
    ] {
        let finished = testbed.run_plainly(&[&["check", "--json", "--offline"], args].concat()).await?;
        assert!(code.is_none_or(|code| finished.code == code), "{args:?}: {}", finished.out);
        assert_follows("check", &finished.json()?);
    }
    assert_follows(
        "check",
        &testbed.run(&["check", "--json", "--offline", "--image", &image]).await?.json()?,
    );
    Ok(())
}

#[tokio::test]
async fn the_other_commands_follow_their_schemas() -> Outcome {
    let testbed = Testbed::without_hdfs().await?;
    let run = async |args: &[&str]| -> Outcome<Value> { Ok(testbed.run_plainly(args).await?.json()?) };
    assert_follows("version", &run(&["version", "--json"]).await?);
    let all = run(&["explain", "--json"]).await?;
    let entries = all.as_array().ok_or("a list")?;
    assert!(entries.len() > 100, "{}", entries.len());
    for entry in entries {
        assert_follows("explain-code", entry);
    }
    testbed.node.write("log", "image: a/b:1 is not trusted.\nExit code: 127\nExit code: 24\n")?;
    let log = testbed.node.path("log").display().to_string();
    assert_follows("explain", &run(&["explain", "--json", &log]).await?);
    // Any program will do, since the published file cannot be read.
    let cfg = "conf/container-executor.cfg";
    let text = std::fs::read_to_string(testbed.node.path(cfg))?;
    testbed.node.write(cfg, &text.replace("/usr/bin/docker", "/bin/true"))?;
    let tried = testbed.run(&["try", "--json", "--image", "registry.example/app:1"]).await?;
    assert_eq!(tried.code, 1, "{}", tried.err);
    assert_follows("try", &tried.json()?);
    let cluster = testbed.run(&["cluster", "--json"]).await?;
    assert_eq!(cluster.code, 3, "{}", cluster.out);
    assert_follows("cluster", &cluster.json()?);
    let shown = testbed.run(&["config", "show", "--json"]).await?.json()?;
    assert_follows("config-show", &shown);
    Ok(())
}
