//! `explain` as users run it, and how commands behave when their output is not read to the end.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use emr_ecr_agent_tests::agent;
use emr_ecr_agent_tests::node::TRUSTED_REGISTRY;
use emr_ecr_agent_tests::scratch;
use emr_ecr_agent_tests::testbed::Outcome;
use serde_json::{Value, json};

/// Output of launches on a real NodeManager; `why` contains the decisive lines.
const RECORDED: &str = include_str!("../testdata/verdicts.jsonl");
const UNTRUSTED: &str = "\
Exception from container-launch.
Exit code: 127
Exception message: Launch container failed
Shell error output: image: registry.example/app:1 is not trusted.
Disable mount volume for untrusted image
";

fn explain(args: &[&str], text: &str) -> Outcome<Output> {
    let mut program = Command::new(agent::program()?);
    let program = program.arg("explain").args(args).env_clear();
    let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().ok_or("a pipe")?.write_all(text.as_bytes())?;
    Ok(child.wait_with_output()?)
}

fn text(output: Output) -> Outcome<String> {
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn recorded_launches_are_explained() -> Outcome {
    // One case ran without Docker and left no output.
    let cases = RECORDED.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let failed = cases.iter().filter(|case| case["real"] == "failed" && case["name"] != "yarn-class-unset");
    let mut log = String::new();
    let mut starts = Vec::new();
    for case in failed {
        starts.push(log.lines().count() as u64 + 1);
        log.push_str(
            &case["why"].as_str().ok_or("a text")?.replace(" [exit ", "\nExit code: ").replace("]\n", "\n"),
        );
        log.push('\n');
    }
    let output = explain(&["-", "--json"], &log)?;
    assert_eq!(output.status.code(), Some(0));
    let report: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(report["known"], true);
    let explanations = report["explanations"].as_array().ok_or("explanations")?;
    let explained: u64 = explanations.iter().filter_map(|explanation| explanation["times"].as_u64()).sum();
    assert!(explained >= starts.len() as u64, "{explained} lines of {} launches", starts.len());
    for explanation in explanations {
        let line = explanation["evidence"]["line"].as_u64().ok_or("a line")?;
        let said = log.lines().nth(line as usize - 1).ok_or("no such line")?;
        let shown = explanation["evidence"]["text"].as_str().ok_or("a text")?;
        assert!(said.trim().starts_with(shown.trim_end_matches("...")), "{shown}");
        assert!(explanation["command"].as_str().is_some_and(|command| !command.is_empty()));
    }
    Ok(())
}

#[test]
fn a_text_comes_from_a_pipe_or_a_file() -> Outcome {
    let directory = scratch::directory("explain")?;
    let path = directory.path().join("container.log");
    fs::write(&path, UNTRUSTED)?;
    let piped = explain(&["-"], UNTRUSTED)?;
    let of_file = explain(&[&path.display().to_string()], "")?;
    assert_eq!((piped.status.code(), of_file.status.code()), (Some(0), Some(0)));
    let piped = text(piped)?;
    assert_eq!(piped, text(of_file)?);
    for part in [
        "no entry of docker.trusted.registries is the beginning of registry.example/app:1",
        "line 4, from container-executor",
        "finding: image-not-trusted",
        "run:     emr-ecr-agent check --image registry.example/app:1",
    ] {
        assert!(piped.contains(part), "{part}: {piped}");
    }
    let report: Value = serde_json::from_slice(&explain(&["--json", "-"], UNTRUSTED)?.stdout)?;
    let first = &report["explanations"][0];
    let expected = json!({
        "kind": "cause",
        "said_by": "container_executor",
        "cause": first["cause"],
        "evidence": {"line": 4, "text": "Shell error output: image: registry.example/app:1 is not trusted."},
        "hadoop": null,
        "finding": "image-not-trusted",
        "command": "emr-ecr-agent check --image registry.example/app:1",
        "times": 1,
    });
    assert_eq!(*first, expected);
    Ok(())
}

#[test]
fn unknown_text_is_said_to_be_unknown() -> Outcome {
    let unknown = explain(&["-"], "INFO all is well\n")?;
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(unknown)?.starts_with("unknown: "));
    let json = explain(&["-", "--json"], "INFO all is well\n")?;
    assert_eq!(json.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&json.stdout)?;
    assert_eq!((&report["known"], &report["explanations"]), (&json!(false), &json!([])));
    for wrong in ["image-not-trustd", "/nonexistent", "/"] {
        let output = explain(&[wrong], "")?;
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]), "{wrong}");
        let error = String::from_utf8(output.stderr)?;
        assert!(error.contains(wrong), "{error}");
        assert_eq!(error.contains("image-not-trusted"), wrong == "image-not-trustd", "{error}");
    }
    Ok(())
}

#[test]
fn codes_are_explained_one_by_one_and_all_together() -> Outcome {
    let one = text(explain(&["entry-with-whitespace"], "")?)?;
    assert!(one.starts_with("entry-with-whitespace: error\n"), "{one}");
    assert!(one.contains("  effect: image_launches_fail: ") && one.contains("  fix:    "), "{one}");
    let all = text(explain(&[], "")?)?;
    assert!(all.contains(&one), "{all}");
    let objects: Vec<Value> = serde_json::from_slice(&explain(&["--json"], "")?.stdout)?;
    let object: Value = serde_json::from_slice(&explain(&["--json", "entry-with-whitespace"], "")?.stdout)?;
    assert!(objects.contains(&object));
    for object in &objects {
        let code = object["code"].as_str().ok_or("a code")?;
        assert!(
            all.contains(&format!("{code}: {}\n", object["severity"].as_str().unwrap_or_default())),
            "{code}"
        );
    }
    Ok(())
}

/// A closed pipe neither changes the exit code nor causes a panic message.
#[test]
fn a_closed_pipe_is_no_failure() -> Outcome {
    for (args, code) in [
        (&["explain"][..], 0),
        (&["explain", "--json"], 0),
        (&["explain", "docker-off"], 0),
        (&["--help"], 0),
        (&["--version"], 0),
        (&["emr-config", "--registry", TRUSTED_REGISTRY], 0),
        (&["submit-args", "--image", "registry.example/app:1"], 0),
        (&["status"], 3),
        (&["status", "--watch"], 0),
        (&["check", "--emr-config", "/nonexistent", "--json"], 2),
        (&["check", "--executor-cfg", "/nonexistent"], 2),
    ] {
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let mut program = Command::new(agent::program()?);
        let output = program.args(args).env_clear().stdout(writer).stderr(Stdio::piped()).output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
        assert!(!error.contains("panicked") && !error.contains("Broken pipe"), "{args:?}: {error}");
    }
    Ok(())
}
