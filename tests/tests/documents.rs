//! The documents: their commands run, and their links resolve.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use emr_ecr_agent_tests::agent;
use emr_ecr_agent_tests::node::TRUSTED_REGISTRY;
use emr_ecr_agent_tests::process;
use emr_ecr_agent_tests::testbed::{Outcome, Testbed};
use jiff::SignedDuration;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every user-facing Markdown file: those at the top level and in docs/.
fn documents() -> Outcome<Vec<(PathBuf, String)>> {
    let mut documents = Vec::new();
    for directory in [root(), root().join("docs")] {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let text = fs::read_to_string(&path)?;
                documents.push((path, text));
            }
        }
    }
    Ok(documents)
}

/// A document's commands: lines in code blocks, and inline code.
fn commands(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    for (index, part) in text.split("```").enumerate() {
        if index % 2 == 1 {
            // The first line names the language.
            commands.extend(part.replace("\\\n", " ").lines().skip(1).map(str::to_owned));
        } else {
            commands.extend(part.split('`').skip(1).step_by(2).map(|code| code.replace('\n', " ")));
        }
    }
    commands
}

/// Placeholders in the documents, and the values used here.
const PLACEHOLDERS: [(&str, &str); 7] = [
    ("$IMAGE", IMAGE),
    ("IMAGE", IMAGE),
    ("HOST", TRUSTED_REGISTRY),
    ("CODE", "entry-with-whitespace"),
    ("COMMAND", "check"),
    ("configuration.json", "emr-config.json"),
    ("/var/log/hadoop-yarn/hadoop-yarn-nodemanager-HOST.log", "yarn.log"),
];
const IMAGE: &str = "123456789123.dkr.ecr.us-east-1.amazonaws.com/app:v1";
/// The meaning of `FILE` after these words. Standard input has its own tests.
const FILES: [(&str, &str, &str); 5] = [
    ("--executor-cfg", "FILE", "conf/container-executor.cfg"),
    ("--yarn-site", "FILE", "conf/yarn-site.xml"),
    ("--emr-config", "FILE", "emr-config.json"),
    ("explain", "FILE", "yarn.log"),
    ("explain", "-", "yarn.log"),
];
const YARN_LOG: &str = "docker: Error response from daemon: Head \"https://123456789123.dkr.ecr.us-east-1.amazonaws.com/v2/app/\
    manifests/v1\": no basic auth credentials.\n";

/// The agent's arguments, if the command calls it: without optional parts, and with values for placeholders.
fn arguments(command: &str) -> Option<Vec<String>> {
    let command = without_brackets(command).replace("...", "").replace("$REGISTRY", TRUSTED_REGISTRY);
    let command = command.rsplit("| ").next()?.trim().trim_start_matches("$ ");
    let words = shlex::split(command)?;
    let called = words.iter().position(|word| word != "sudo")?;
    // The agent's output may begin with its name and version.
    let is_output = words.get(called + 1).is_some_and(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    if words[called] != "emr-ecr-agent" || is_output {
        return None;
    }
    let ends = |word: &&String| matches!(word.as_str(), "|" | "&&" | "#") || word.starts_with('>');
    let mut arguments: Vec<String> = Vec::new();
    for word in words[called + 1..].iter().take_while(|word| !ends(word)) {
        let last = arguments.last().map_or("", String::as_str);
        let file = FILES.iter().find(|(before, name, _)| *before == last && name == word);
        let known = PLACEHOLDERS.iter().find(|(name, _)| name == word);
        let value = file.map(|(_, _, file)| file).or(known.map(|(_, value)| value));
        arguments.push(value.map_or_else(|| word.clone(), |value| (*value).to_owned()));
    }
    Some(arguments)
}

fn without_brackets(shape: &str) -> String {
    let mut depth = 0;
    let mut kept = String::new();
    for letter in shape.chars() {
        match letter {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ if depth == 0 => kept.push(letter),
            _ => {}
        }
    }
    kept
}

/// The exit code on a node with an agent, but without YARN and Spark; `None` for commands that do not end, and for
/// `try`, which the launch tests run on their own engine.
fn expected_code(arguments: &[&str]) -> Option<i32> {
    let checks_files = |word: &&str| ["--executor-cfg", "--emr-config"].contains(word);
    match arguments {
        ["run" | "try", ..] | ["status", "--watch", ..] => None,
        [.., "--help"] => Some(0),
        // Without the NodeManager's group, no launch works.
        ["submit", ..] => Some(1),
        ["check", options @ ..] => Some(i32::from(!options.iter().any(checks_files))),
        // No ResourceManager is configured.
        ["cluster", ..] => Some(3),
        _ => Some(0),
    }
}

/// Returns whether the command in these arguments accepts `--config`.
fn takes_config(arguments: &[&str]) -> bool {
    let mut command = emr_ecr_agent::cli::command();
    for argument in arguments {
        match command.find_subcommand(argument) {
            Some(named) => command = named.clone(),
            None => break,
        }
    }
    command.get_arguments().any(|argument| argument.get_long() == Some("config"))
}

#[tokio::test]
async fn commands_in_documents_run() -> Outcome {
    let Some((mut testbed, _published)) = Testbed::with_hdfs().await? else { return Ok(()) };
    testbed.settings.registry(TRUSTED_REGISTRY, &[]).set("refresh.renew_at", 0.9);
    // `renew` waits for half of it.
    testbed.ecr.set_token_life(SignedDuration::from_secs(20));
    let _agent = testbed.start_ready().await?;
    let node = &testbed.node;
    node.write("yarn.log", YARN_LOG)?;
    node.write("spark-defaults.conf", "spark.master yarn\n")?;
    let configuration = testbed.run_plainly(&["emr-config", "--registry", TRUSTED_REGISTRY]).await?;
    node.write("emr-config.json", &configuration.out)?;

    let (mut tried, mut wrong) = (BTreeSet::new(), Vec::new());
    for (path, text) in documents()? {
        for command in commands(&text) {
            let Some(arguments) = arguments(&command).filter(|arguments| tried.insert(arguments.clone()))
            else {
                continue;
            };
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let words = ["emr-ecr-agent"].iter().chain(&arguments);
            let parsed = emr_ecr_agent::cli::command().try_get_matches_from(words);
            match (parsed, expected_code(&arguments)) {
                // A single word may just name a command.
                (Err(_), _) if arguments.len() < 2 => {}
                (Err(error), _) if error.use_stderr() => {
                    wrong.push(format!("{}: {command}: {error}", path.display()));
                }
                (_, None) => {}
                (_, Some(code)) => {
                    let end = arguments.iter().position(|word| *word == "--").unwrap_or(arguments.len());
                    let (options, application) = arguments.split_at(end);
                    let mut run = agent::command(node)?;
                    run.args(options).current_dir(node.path(""));
                    if takes_config(&arguments) {
                        run.arg("--config").arg(node.agent_toml());
                    }
                    run.args(application);
                    let finished = process::run(run).await?;
                    if finished.code != code {
                        wrong.push(format!("{}: {command}: {finished:?}", path.display()));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried.len() > 30, "{tried:?}");
    Ok(())
}

#[test]
fn targets_in_documents_exist() -> Outcome {
    let makefile = fs::read_to_string(root().join("Makefile"))?;
    let targets: BTreeSet<&str> =
        makefile.lines().filter_map(|line| Some(line.split_once(": ##")?.0)).collect();
    for (path, text) in documents()? {
        for command in commands(&text) {
            let words: Vec<&str> = command.split_whitespace().collect();
            let Some(at) = words.iter().position(|word| *word == "make").filter(|at| *at < 2) else {
                continue;
            };
            let named = words[at + 1..]
                .iter()
                .take_while(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
            for target in named {
                assert!(targets.contains(target), "{}: {command}", path.display());
            }
        }
    }
    Ok(())
}

/// The anchor generated for a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().replace(' ', "-")
}

#[test]
fn links_in_documents_lead_somewhere() -> Outcome {
    let documents = documents()?;
    let (mut followed, mut wrong) = (0, Vec::new());
    for (path, text) in &documents {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            if link.contains("://") {
                continue;
            }
            let (file, wanted) =
                link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
            let target = match file {
                "" => path.clone(),
                file => path.parent().ok_or("no directory")?.join(file),
            };
            let is_there = match wanted {
                None => target.exists(),
                Some(wanted) => {
                    let text = fs::read_to_string(&target).unwrap_or_default();
                    let mut headings = text.lines().filter(|line| line.starts_with('#'));
                    headings.any(|line| anchor(line.trim_start_matches('#')) == wanted)
                }
            };
            if !is_there {
                wrong.push(format!("{}: {link}", path.display()));
            }
            followed += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(followed > 50, "{followed}");
    Ok(())
}
