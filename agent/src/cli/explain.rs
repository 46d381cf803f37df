//! `explain`: what a finding's code means, and what causes the texts of a failed launch.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use clap::Args;
use domain::explain::{Explanation, Kind, Reader};
use domain::findings::{self, Entry, Severity, codes};
use serde::Serialize;
use serde_json::json;

use super::check::printable;
use super::output;
use super::{Exit, FAILURE, USAGE};

/// Longer lines are read in pieces, so that no log fills the memory.
const LONGEST_LINE: u64 = 64 << 10;
const BOLD: Style = Style::new().bold();

#[derive(Debug, Args)]
pub(super) struct Options {
    /// A finding's code, or a file with the texts of failed launches, such as a NodeManager's log; - reads standard input; without it, every code is explained
    #[arg(value_name = "CODE|FILE|-")]
    what: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What `explain --json` prints for a text.
#[derive(Serialize)]
struct Explained<'e> {
    version: &'static str,
    /// Whether anything in the text is known.
    known: bool,
    explanations: &'e [Explanation],
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Exit> {
    let Some(what) = &options.what else {
        let entries = codes::ALL.iter().filter_map(|code| findings::explain(code.name));
        return print_entries(&entries.collect::<Vec<_>>(), options.json, true);
    };
    if what == "-" {
        return print_explanations(&read(io::stdin().lock())?, options.json);
    }
    if let Some(entry) = findings::explain(what) {
        return print_entries(&[entry], options.json, false);
    }
    match File::open(what) {
        Ok(file) => match read(BufReader::new(file)) {
            Ok(explanations) => print_explanations(&explanations, options.json),
            Err(error) => Ok(unusable(&format!("cannot read {what}: {error}"))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound && !Path::new(what).is_absolute() => {
            let near = findings::nearest(what)
                .map_or_else(String::new, |code| format!("; the nearest code is {code}"));
            Ok(unusable(&format!("{what:?} is neither a finding's code nor a file{near}")))
        }
        Err(error) => Ok(unusable(&format!("cannot read {what}: {error}"))),
    }
}

fn unusable(message: &str) -> ExitCode {
    output::message(&format!("error: {message}"));
    output::message(
        "`emr-ecr-agent explain` lists every code; `emr-ecr-agent explain -` reads standard input",
    );
    ExitCode::from(USAGE)
}

fn read(mut text: impl BufRead) -> io::Result<Vec<Explanation>> {
    let mut reader = Reader::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        if text.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(reader.finish());
        }
        match line.strip_suffix(b"\n") {
            Some(line) => reader.line(&String::from_utf8_lossy(line)),
            None => reader.part(&String::from_utf8_lossy(&line)),
        }
    }
}

fn print_explanations(explanations: &[Explanation], json: bool) -> Result<ExitCode, Exit> {
    let known = !explanations.is_empty();
    if json {
        output::print_json(&Explained { version: env!("CARGO_PKG_VERSION"), known, explanations })?;
    } else {
        output::print(&render(explanations, output::has_colour()))?;
    }
    Ok(if known { ExitCode::SUCCESS } else { ExitCode::from(FAILURE) })
}

fn render(explanations: &[Explanation], colour: bool) -> String {
    let is_cause = |explanation: &&Explanation| explanation.kind == Kind::Cause;
    let (causes, consequences): (Vec<_>, Vec<_>) = explanations.iter().partition(is_cause);
    let mut text = String::new();
    let mut line = |words: String| {
        text.push_str(&words);
        text.push('\n');
    };
    if explanations.is_empty() {
        line("unknown: no line matches a known text of a failed launch".to_owned());
        line("Known texts are those of docker, container-executor, the NodeManager and Spark: docs/launch-texts.md".to_owned());
        return text;
    }
    if causes.is_empty() {
        line("the cause is unknown: these lines show that something failed, but not why".to_owned());
        line(String::new());
    }
    for explanation in &causes {
        line(painted(colour, BOLD, &printable(&explanation.cause)));
        block(explanation, &mut line);
    }
    // Skip consequences of a cause that is already explained.
    let is_explained = |explanation: &Explanation| {
        explanation.finding.is_some() && causes.iter().any(|cause| cause.finding == explanation.finding)
    };
    for explanation in consequences.iter().filter(|consequence| !is_explained(consequence)) {
        if causes.is_empty() {
            line(printable(&explanation.cause));
            block(explanation, &mut line);
        } else {
            line(format!("also, line {}: {}", explanation.evidence.line, printable(&explanation.cause)));
        }
    }
    text
}

fn block(explanation: &Explanation, line: &mut impl FnMut(String)) {
    let Explanation { evidence, said_by, times, .. } = explanation;
    let more = if *times > 1 { format!(", and {} more", times - 1) } else { String::new() };
    line(format!("  line {}{more}, from {}: {}", evidence.line, said_by.as_str(), printable(&evidence.text)));
    if let Some(code) = explanation.finding {
        line(format!("  finding: {0} (emr-ecr-agent explain {0})", code.name));
    }
    if let Some(versions) = explanation.hadoop {
        line(format!("  Hadoop:  {versions}"));
    }
    line(format!("  run:     {}", printable(&explanation.command)));
    line(String::new());
}

fn print_entries(entries: &[Entry], json: bool, many: bool) -> Result<ExitCode, Exit> {
    if json {
        let objects: Vec<_> = entries.iter().map(object).collect();
        match (many, objects.as_slice()) {
            (false, [object]) => output::print_json(object)?,
            _ => output::print_json(&objects)?,
        }
    } else {
        let colour = output::has_colour();
        let texts: Vec<String> = entries.iter().map(|entry| render_entry(entry, colour)).collect();
        output::print(&texts.join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn object(entry: &Entry) -> serde_json::Value {
    json!({
        "code": entry.code.name,
        "severity": entry.code.severity,
        "effect": entry.code.effect,
        "effect_text": entry.code.effect_text,
        "description": entry.description.join("\n\n"),
        "fix": entry.fix,
    })
}

fn render_entry(entry: &Entry, colour: bool) -> String {
    let colour_of_severity = match entry.code.severity {
        Severity::Error => AnsiColor::Red,
        Severity::Warning => AnsiColor::Yellow,
        Severity::Info => AnsiColor::Cyan,
    };
    let name = painted(colour, BOLD, entry.code.name);
    let severity = painted(colour, colour_of_severity.on_default(), entry.code.severity.as_str());
    let mut text = format!("{name}: {severity}\n");
    for paragraph in &entry.description {
        let _ = writeln!(text, "  {}", paragraph.replace('\n', "\n  "));
    }
    let _ = writeln!(text, "  effect: {}: {}", entry.code.effect.as_str(), entry.code.effect_text);
    if let Some(fix) = entry.fix {
        let _ = writeln!(text, "  fix:    {fix}");
    }
    text
}

fn painted(colour: bool, style: Style, text: &str) -> String {
    if colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_come_with_evidence_finding_and_command() {
        let text = "\
Exit code: 127
Shell error output: image: host/app:1 is not trusted.
Disable mount volume for untrusted image
";
        let explanations = read(text.as_bytes()).expect("read");
        let expected = "\
no entry of docker.trusted.registries is the beginning of host/app:1 up to a `/`, so the container gets no mounts, and its launch script is missing in it (exit code 127)
  line 2, from container-executor: Shell error output: image: host/app:1 is not trusted.
  finding: image-not-trusted (emr-ecr-agent explain image-not-trusted)
  run:     emr-ecr-agent check --image host/app:1

also, line 3: the container of an untrusted image gets no mounts
";
        assert_eq!(render(&explanations, false), expected);
    }

    #[test]
    fn unknown_is_said() {
        for text in ["", "INFO all is well\n"] {
            assert!(render(&read(text.as_bytes()).expect("read"), false).starts_with("unknown: "), "{text}");
        }
        let text = render(&read(&b"Exit code: 29\n"[..]).expect("read"), false);
        assert!(text.starts_with("the cause is unknown: "), "{text}");
    }

    #[test]
    fn a_log_may_be_one_endless_line_of_bytes() {
        let log = [&[0xff; 200_000][..], b"\nFeature disabled: docker\n"].concat();
        let explanations = read(&log[..]).expect("read");
        assert_eq!((explanations[0].finding, explanations[0].evidence.line), (Some(codes::DOCKER_OFF), 2));
    }
}
