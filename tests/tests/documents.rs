//! The documents: their commands are understood, and their links lead somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use emr_ecr_agent_tests::node::TRUSTED_REGISTRY;
use emr_ecr_agent_tests::testbed::Outcome;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Markdown file for readers: those of the top level and of docs/.
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

/// The commands of a document: lines of its code blocks, and code within its sentences.
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

/// The arguments of the agent, if the command calls it and does not only show its shape.
fn arguments(command: &str) -> Option<Vec<String>> {
    let command = command.trim().trim_start_matches("$ ").replace("$REGISTRY", TRUSTED_REGISTRY);
    let words = shlex::split(&command).unwrap_or_default();
    let called = words.iter().position(|word| word != "sudo")?;
    let is_shape = command.contains(['[', '…']) || command.contains("...") || command.contains(" COMMAND");
    // What the agent prints may begin with its name and version.
    let is_output = words.get(called + 1).is_some_and(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    if words[called] != "emr-ecr-agent" || is_shape || is_output {
        return None;
    }
    let ends = |word: &&String| matches!(word.as_str(), "|" | "&&" | "#") || word.starts_with('>');
    Some(words[called..].iter().take_while(|word| !ends(word)).cloned().collect())
}

#[test]
fn commands_in_documents_are_understood() -> Outcome {
    let (mut tried, mut wrong) = (0, Vec::new());
    for (path, text) in documents()? {
        for command in commands(&text) {
            // Two words only name a command.
            let Some(arguments) = arguments(&command).filter(|arguments| arguments.len() > 2) else {
                continue;
            };
            let parsed = emr_ecr_agent::cli::command().try_get_matches_from(&arguments);
            if let Err(error) = parsed {
                let is_help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
                if !is_help {
                    wrong.push(format!("{}: {command}: {error}", path.display()));
                }
            }
            tried += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried > 30, "{tried}");
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

/// The anchor that a heading gets.
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
