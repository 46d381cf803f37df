//! Known texts: what real components logged for failed launches, each with the finding behind it.

#![expect(clippy::disallowed_methods, reason = "the fixtures and the page are files")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use domain::explain::numbers::{DOCKER_ERRORS, EXIT_CODES, Number};
use domain::explain::texts::{self, Text};
use domain::explain::{Kind, explain};
use serde::Deserialize;

/// A recorded text. `exit` is the container's exit code.
#[derive(Deserialize)]
struct Fixture {
    name: String,
    /// The author of the decisive line, with its version.
    by: String,
    text: String,
    exit: Option<i32>,
    finding: Option<String>,
}

#[test]
fn recorded_texts_lead_to_their_finding() {
    for fixture in fixtures() {
        let explained = explain(&fixture.text);
        let first = explained.first().unwrap_or_else(|| panic!("{} is not explained", fixture.name));
        let lines: Vec<&str> = fixture.text.lines().collect();
        let (line, shown) =
            (lines[first.evidence.line as usize - 1], first.evidence.text.trim_end_matches("..."));
        assert!(line.trim().starts_with(shown), "{}: {shown}", fixture.name);
        assert_eq!(
            first.finding.map(|code| code.name.to_owned()),
            fixture.finding,
            "{}: {first:?}",
            fixture.name
        );
        let texts = explained.iter().flat_map(|explanation| [&explanation.cause, &explanation.command]);
        assert!(texts.into_iter().all(|text| !text.contains(['{', '}'])), "{}: {explained:?}", fixture.name);
    }
}

#[test]
fn exit_codes_are_consequences() {
    let mut known = 0;
    for fixture in fixtures() {
        let Some(exit) = fixture.exit.filter(|exit| *exit != 1) else { continue };
        let framed = format!("Exception from container-launch.\nExit code: {exit}\n{}", fixture.text);
        let explained = explain(&framed);
        let explanation = explained.iter().find(|explanation| explanation.evidence.line == 2);
        let explanation =
            explanation.unwrap_or_else(|| panic!("{}: the exit code {exit} is not explained", fixture.name));
        assert_eq!(explanation.kind, Kind::Consequence, "{}", fixture.name);
        assert!(explanation.cause.starts_with(&format!("exit code {exit} of ")), "{}", explanation.cause);
        known += 1;
    }
    assert!(known > 50, "{known}");
}

#[test]
fn an_exit_code_is_explained_within_other_words() {
    for (line, exit) in [
        (
            "Container from a bad node: container_1_2_01_000003 on host: ip-10-0-0-1.ec2.internal. Exit status: 127. Diagnostics: [2026-11-25 10:00:00.000]Exception from container-launch.",
            127,
        ),
        ("\u{1b}[31mExit code: 127\u{1b}[0m", 127),
        ("\u{1b}[1;31mExit code: \u{1b}[38;2;1;2;3m29\u{1b}[0m\u{1b}[K", 29),
    ] {
        let explained = explain(line);
        let begin = format!("exit code {exit} of ");
        assert!(explained.iter().any(|known| known.cause.starts_with(&begin)), "{line}: {explained:?}");
        assert!(explained.iter().all(|known| !known.evidence.text.contains('\u{1b}')), "{explained:?}");
    }
    let node =
        &explain("Container from a bad node: container_1 on host: ip-1.ec2.internal. Exit status: 1.")[0];
    assert_eq!(
        node.cause,
        "the launch of an executor failed on ip-1.ec2.internal; the diagnostics after it say why"
    );
}

/// The findings of the causes.
fn findings(text: &str) -> Vec<&'static str> {
    let causes = explain(text).into_iter().filter(|known| known.kind == Kind::Cause);
    causes.map(|cause| cause.finding.map_or("", |code| code.name)).collect()
}

#[test]
fn a_frame_shows_a_cause_only_of_a_null_pointer() {
    let frame = "\tat org.apache.hadoop.hdfs.DFSClient.open(DFSClient.java:1)\n\tat org.apache.hadoop.yarn.util.DockerClientConfigHandler.readCredentialsFromConfigFile(DockerClientConfigHandler.java:94)\n\t... 12 more";
    let null = "java.lang.NullPointerException";
    let why =
        r#"Cannot invoke "com.fasterxml.jackson.databind.JsonNode.has(String)" because "rootNode" is null"#;
    let missing = format!(
        "java.lang.RuntimeException: Fail to read additional docker client config file from hdfs:///c\nCaused by: java.io.FileNotFoundException: File does not exist: /c\n{frame}"
    );
    assert_eq!(findings(&missing), ["client-config-unreadable"]);
    let explained = explain(&missing);
    assert_eq!((explained.len(), explained[1].kind, explained[1].evidence.line), (2, Kind::Consequence, 4));
    assert_eq!(findings(&format!("{null}\n{frame}")), ["client-config-poisonous"]);
    assert_eq!(findings(&format!("java.io.IOException: x\nCaused by: {null}\n{frame}")).len(), 1);
    assert_eq!(
        findings(&format!("{null}\n\tat x.Y.z(Y.java:1)\nCaused by: java.io.IOException\n{frame}")).len(),
        0
    );
    // The message is the better evidence.
    let explained = explain(&format!("{null}: {why}\n{frame}"));
    assert_eq!((explained[0].evidence.line, explained[1].kind), (1, Kind::Consequence));
    assert_eq!(findings(frame).len(), 0);
}

#[test]
fn a_refused_pull_has_the_cause_that_the_line_gives() {
    let denied = "docker: Error response from daemon: pull access denied for host/app, repository does not exist or may require 'docker login'";
    for (reason, finding) in [
        ("", "pull-refused"),
        (": denied: requested access to the resource is denied", "pull-refused"),
        (
            ": denied: Your authorization token has expired. Reauthenticate and try again.",
            "credential-expired",
        ),
        (": no basic auth credentials", "ecr-credential-missing"),
        (
            ": denied: User: arn:aws:iam::1:role/x is not authorized to perform: ecr:BatchGetImage on resource: y",
            "pull-refused",
        ),
    ] {
        let line = format!("{denied}{reason}.");
        assert_eq!(findings(&line), [finding], "{line}");
        let wrong_name = explain(&line).iter().any(|known| known.cause.contains("the name is wrong"));
        assert_eq!(wrong_name, !reason.contains("expired") && !reason.contains("auth"), "{line}");
    }
    let explained = explain(&format!("{denied}: denied: Your authorization token has expired."));
    assert_eq!((explained.len(), explained[1].kind), (2, Kind::Consequence));
    assert_eq!(explained[1].command, "emr-ecr-agent check --image host/app");
}

#[test]
fn what_is_no_colour_stays() {
    for line in ["a\u{1b}[", "a\u{1b}[1", "a\u{1b}[1\u{e9}", "a\u{1b}c"] {
        let line = format!("{line} Feature disabled: docker");
        assert!(explain(&line)[0].evidence.text.ends_with("Feature disabled: docker"), "{line:?}");
    }
}

#[test]
fn parts_of_a_line_count_as_one() {
    let mut reader = domain::explain::Reader::default();
    reader.line("INFO all is well");
    reader.part("Exit code: 29 ");
    reader.part(&"x".repeat(1000));
    reader.line("Exit code: 7");
    reader.part("Feature disabled: docker");
    let lines: Vec<_> = reader.finish().into_iter().map(|known| known.evidence.line).collect();
    assert_eq!(lines, [3, 2, 2]);
}

#[test]
fn what_nobody_knows_is_not_explained() {
    for text in [
        "",
        "26/11/25 10:00:00 INFO SparkContext: Running Spark version 3.5.5",
        "java.lang.IllegalStateException: it did not work",
        "docker: Error response from daemon: something that was never seen.",
        "Exit code: 1",
        "Exit code: seven",
        "docker error code=999, error message='Unknown error code'",
    ] {
        assert_eq!(explain(text), [], "{text}");
    }
}

#[test]
fn the_same_cause_is_told_once() {
    let line = "image: a/b:1 is not trusted.\n";
    let explained = explain(&format!("{}image: a/c:1 is not trusted.\n", line.repeat(1000)));
    let found: Vec<_> = explained.iter().map(|e| (e.evidence.line, e.times)).collect();
    assert_eq!(found, [(1, 1000), (1001, 1)]);
}

#[test]
fn commands_survive_a_shell() {
    let explained = explain("image: a/b:$(reboot) 'x' is not trusted.");
    assert_eq!(explained[0].command, r"emr-ecr-agent check --image 'a/b:$(reboot) '\''x'\'''");
}

/// A log may be larger than the machine's memory, and so may a single line.
#[test]
fn memory_is_bounded() {
    let mut reader = domain::explain::Reader::default();
    for number in 0..300 {
        reader.line(&format!("image: host/{number}/{} is not trusted.", "x".repeat(1000)));
    }
    let explained = reader.finish();
    assert_eq!(explained.len(), 200);
    assert!(explained.iter().all(|explanation| explanation.evidence.text.len() < 400));
}

#[test]
fn page_and_tables_are_equal() {
    let page = fs::read_to_string(root().join("../../docs/launch-texts.md")).expect("the page");
    let fixtures: Vec<_> = fixtures().into_iter().map(|fixture| (explain(&fixture.text), fixture)).collect();
    let seen = |text: &Text| {
        let mut fixtures = fixtures.iter();
        let by = fixtures.find(|(explained, fixture)| {
            explained.iter().any(|known| is_of(text, &fixture.text, &known.cause))
        });
        by.map_or("not seen here", |(_, fixture)| fixture.by.as_str())
    };
    let mut expected = String::from("| text | seen from | cause | finding |\n| --- | --- | --- | --- |\n");
    for text in texts::all() {
        let finding = text.finding.map_or(String::new(), |code| format!("`{}`", code.name));
        let _ = writeln!(
            expected,
            "| {} | {} | {} | {finding} |",
            cell(text.says),
            seen(text),
            prose(text.cause)
        );
    }
    assert_contains(&page, &expected);
    for (heading, numbers) in [("exit code", EXIT_CODES), ("`docker error code`", DOCKER_ERRORS)] {
        let mut expected =
            format!("| {heading} | from | Hadoop | meaning | finding |\n| --- | --- | --- | --- | --- |\n");
        for Number { author, value, hadoop, means, finding } in numbers {
            let finding = finding.map_or(String::new(), |code| format!("`{}`", code.name));
            let _ = writeln!(
                expected,
                "| {value} | {} | {hadoop} | {} | {finding} |",
                author.as_str(),
                prose(means)
            );
        }
        assert_contains(&page, &expected);
    }
}

#[test]
fn every_text_is_found_by_its_own_words() {
    let mut seen = BTreeSet::new();
    for text in texts::all() {
        assert!(seen.insert(text.says), "{} is in the table twice", text.says);
        let line =
            text.says.replace("{}", "something ").replace("..}", "}").replace('{', "<").replace('}', ">");
        let explained = explain(&line);
        assert!(!explained.is_empty(), "{line}");
    }
}

/// Whether the explanation matches the text.
fn is_of(text: &Text, said: &str, cause: &str) -> bool {
    let words = |template: &'static str| {
        template.split('{').map(|part| part.split_once('}').map_or(part, |(_, words)| words))
    };
    words(text.says).all(|part| said.contains(part.trim()))
        && words(text.cause).all(|part| cause.contains(part))
}

fn assert_contains(page: &str, table: &str) {
    assert!(page.contains(table), "docs/launch-texts.md must hold this table:\n{table}");
}

fn cell(template: &str) -> String {
    format!("`{}`", template.replace("..}", "}").replace("{}", "...").replace('|', r"\|"))
}

fn prose(text: &str) -> String {
    text.replace('|', r"\|").replace(['{', '}'], "*")
}

fn fixtures() -> Vec<Fixture> {
    let text = fs::read_to_string(root().join("testdata/launch-texts.jsonl")).expect("the fixtures");
    text.lines().map(|line| serde_json::from_str(line).expect("a fixture is JSON")).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
