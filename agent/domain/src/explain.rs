//! Explains a failed launch: from the lines that docker, container-executor, the NodeManager, Spark and the
//! container leave behind, it derives the cause, the line that shows it, the finding, and the command to run.
//!
//! [`texts`] and [`numbers`] are the tables. What is in neither is not explained.

pub mod numbers;
mod template;
pub mod texts;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use serde::Serialize;

use self::numbers::{DOCKER_ERRORS, EXIT_CODES, Number};
use self::texts::{Author, Role, Text};
use crate::findings::Code;
use crate::shell;

/// The phrases that contain an exit code in a launch's log.
const EXIT_PHRASES: [&str; 9] = [
    "exited with a non-zero exit code {code}",
    "Nonzero exit code={code},",
    "Shell execution returned exit code: {code}",
    "exitCode: {code}",
    "exitCode={code}",
    "Exit code is {code}",
    "Exit code: {code}",
    "Exit status: {code}",
    "[exit {code}]",
];
const DOCKER_ERROR: &str = "docker error code={code}, error message='{message}'";
/// The most distinct explanations to keep; more would not help.
const MOST: usize = 200;
/// The most characters of a line, or of a value, to show.
const SHOWN: usize = 300;

/// One cause, or a consequence of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    pub kind: Kind,
    pub said_by: Author,
    pub cause: String,
    pub evidence: Evidence,
    /// The Hadoop versions that give it this meaning; `None` if all do, or if it is not Hadoop's.
    pub hadoop: Option<&'static str>,
    #[serde(serialize_with = "name_of")]
    pub finding: Option<Code>,
    pub command: String,
    /// How many lines show it.
    pub times: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Cause,
    /// It shows that something failed, but not why.
    Consequence,
}

/// The first line that shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// Counted from 1.
    pub line: u64,
    pub text: String,
}

/// Reads a log line by line; its memory does not grow with the log.
#[derive(Debug, Default)]
pub struct Reader {
    /// How many lines have ended.
    lines: u64,
    /// The gaps' values from earlier lines, for commands.
    values: BTreeMap<&'static str, String>,
    explanations: Vec<Explanation>,
    /// Whether the latest exception is a NullPointerException without a known cause.
    null_pointer: bool,
}

impl Reader {
    /// Reads the next line, or the rest of it after `part`, without its line ending.
    pub fn line(&mut self, line: &str) {
        self.part(line);
        self.lines += 1;
    }

    /// Reads the beginning of a line that is too long to be read at once, or that has no line ending.
    pub fn part(&mut self, part: &str) {
        let plain = without_colours(part);
        let line = plain.trim_end_matches('\r');
        let mut taken: Vec<Range<usize>> = Vec::new();
        if !is_frame(line) {
            self.null_pointer = line.contains("NullPointerException");
        }
        let mut has_cause = false;
        for text in Role::ALL.into_iter().flat_map(|role| texts::all().filter(move |text| text.role == role))
        {
            let may_count = match text.role {
                Role::Cause | Role::Consequence => true,
                Role::CauseOfNullPointer => self.null_pointer,
                Role::LoneCause => !has_cause,
            };
            if !may_count {
                continue;
            }
            let Some(found) = template::find(text.says, line) else { continue };
            if taken.iter().any(|span| span.start < found.span.end && found.span.start < span.end) {
                continue;
            }
            taken.push(found.span);
            for (name, value) in found.gaps {
                if !value.is_empty() {
                    self.values.insert(name, clipped(value));
                }
            }
            self.explain(text, line);
            has_cause |= text.role != Role::Consequence;
        }
        // A newer Java's message names what is null, which explains more than a frame of its stack trace.
        self.null_pointer &= !has_cause;
        for phrase in EXIT_PHRASES {
            self.number(phrase, EXIT_CODES, line, &mut taken);
        }
        self.number(DOCKER_ERROR, DOCKER_ERRORS, line, &mut taken);
    }

    /// Causes first, each kind in the order of its lines.
    pub fn finish(mut self) -> Vec<Explanation> {
        self.explanations.sort_by_key(|explanation| (explanation.kind, explanation.evidence.line));
        self.explanations
    }

    fn explain(&mut self, text: &Text, line: &str) {
        let value = |name: &str| self.values.get(name).map(String::as_str);
        self.add(Explanation {
            kind: if text.role == Role::Consequence { Kind::Consequence } else { Kind::Cause },
            said_by: text.author,
            cause: template::fill(text.cause, value, str::to_owned),
            evidence: Evidence { line: self.lines + 1, text: clipped(line.trim()) },
            hadoop: None,
            finding: text.finding,
            command: template::fill(text.command, value, shell::quoted),
            times: 1,
        });
    }

    fn number(
        &mut self,
        phrase: &'static str,
        numbers: &'static [Number],
        line: &str,
        taken: &mut Vec<Range<usize>>,
    ) {
        let Some(found) = template::find(phrase, line) else { return };
        if taken.iter().any(|span| span.start < found.span.end && found.span.start < span.end) {
            return;
        }
        let digits = found.gaps.iter().find(|(name, _)| *name == "code").map_or("", |(_, value)| *value);
        let digits = digits.trim_end_matches(['.', ',', ']', '\'']);
        let Some(number) = numbers::named(numbers, digits) else { return };
        taken.push(found.span);
        let what = if phrase == DOCKER_ERROR { "error" } else { "exit code" };
        let author = number.author.as_str();
        let image = self.values.get("image").map(|image| shell::quoted(image));
        self.add(Explanation {
            kind: Kind::Consequence,
            said_by: number.author,
            cause: format!("{what} {} of {author}: {}", number.value, number.means),
            evidence: Evidence { line: self.lines + 1, text: clipped(line.trim()) },
            hadoop: Some(number.hadoop),
            finding: number.finding,
            command: format!("emr-ecr-agent check --image {}", image.as_deref().unwrap_or("IMAGE")),
            times: 1,
        });
    }

    fn add(&mut self, explanation: Explanation) {
        let is_full = self.explanations.len() >= MOST;
        let mut known = self.explanations.iter_mut();
        match known.find(|known| known.cause == explanation.cause && known.finding == explanation.finding) {
            Some(known) => known.times += 1,
            None if is_full => {}
            None => self.explanations.push(explanation),
        }
    }
}

/// Explains a text as a whole.
pub fn explain(text: &str) -> Vec<Explanation> {
    let mut reader = Reader::default();
    text.lines().for_each(|line| reader.line(line));
    reader.finish()
}

/// Without ANSI control sequences, with which programs colour what they write: they would cling to a gap's value.
fn without_colours(line: &str) -> Cow<'_, str> {
    const START: &str = "\x1b[";
    if !line.contains(START) {
        return Cow::Borrowed(line);
    }
    let mut parts = line.split(START);
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let parameters = part.trim_start_matches(|c| matches!(c, '0'..='?'));
        let mut rest = parameters.chars();
        // Anything else than a final character breaks the sequence off.
        plain.push_str(if rest.next().is_some_and(|c| matches!(c, '@'..='~')) {
            rest.as_str()
        } else {
            part
        });
    }
    Cow::Owned(plain)
}

/// Whether the line belongs to a stack trace, whose exception is on an earlier line.
fn is_frame(line: &str) -> bool {
    line.trim_start().starts_with("at ") || line.contains("\tat ")
}

fn clipped(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn name_of<S: serde::Serializer>(code: &Option<Code>, serializer: S) -> Result<S::Ok, S::Error> {
    code.map(|code| code.name).serialize(serializer)
}
