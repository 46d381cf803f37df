//! container-executor.cfg: whether Hadoop takes it, and what its lines do that their author may not
//! have meant.

use hadoop_rules::executor_config::{
    DOCKER, ExecutorConfig, HEAD, MODULE_ENABLED_KEY, NM_GROUP_KEY, NoteKind, ParseError, lossy,
};

use super::collector::Collector;
use super::facts::{Content, Facts, TextFile};
use super::report::{ExecutorCfgReport, ParseErrorReport};
use super::{keys, registries};
use crate::findings::{Code, Finding, clipped, codes};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const NM_GROUP_REMEDY: &str = "above the first section: yarn.nodemanager.linux-container-executor.group=yarn";

pub(super) fn judge(file: &TextFile, facts: &Facts<'_>, found: &mut Collector) -> ExecutorCfgReport {
    let mut report = ExecutorCfgReport {
        path: file.path.clone(),
        present: file.content != Content::Absent,
        parse_error: None,
        config: None,
    };
    let Some(bytes) = file.bytes() else {
        found.add(unread(file));
        return report;
    };
    match ExecutorConfig::parse(bytes, facts.ruling.rules) {
        Ok(config) => {
            judge_config(&file.path, bytes, &config, facts, found);
            report.config = Some(config);
        }
        Err(error) => {
            let finding = unparsable(&file.path, bytes, &error);
            report.parse_error = Some(ParseErrorReport {
                line: finding.line,
                code: fatal_code(bytes, &error).name,
                message: finding.message.clone(),
            });
            found.add(finding);
        }
    }
    report
}

fn unread(file: &TextFile) -> Finding {
    let path = &file.path;
    let finding = match &file.content {
        Content::Directory => Finding::new(
            codes::CONFIG_IS_DIRECTORY,
            format!("{path} is a folder"),
            "put the file in its place",
        ),
        Content::Unreadable(why) => Finding::new(
            codes::CONFIG_UNREADABLE,
            format!("{path} cannot be read: {why}"),
            "run the check as root, or name a copy that can be read",
        ),
        Content::Absent | Content::Bytes(_) => Finding::new(
            codes::CONFIG_MISSING,
            format!("{path} does not exist"),
            "name the file that container-executor reads; EMR writes it when it provisions the node",
        ),
    };
    finding.in_file(path)
}

fn unparsable(path: &str, bytes: &[u8], error: &ParseError) -> Finding {
    let code = fatal_code(bytes, error);
    let raw = error.line().map(|line| raw_line(bytes, line)).unwrap_or_default();
    let remedy = match code {
        codes::BLANK_LINE => "leave the line empty or remove it".to_owned(),
        codes::INDENTED_COMMENT => {
            format!("begin the comment in the first column: {}", lossy(raw.trim_ascii()))
        }
        codes::CRLF => "end lines with LF alone: sed -i 's/\\r$//' on the file".to_owned(),
        codes::BYTE_ORDER_MARK => "save the file as UTF-8 without a byte order mark".to_owned(),
        codes::BROKEN_SECTION_HEADER => {
            let name = raw.trim_ascii().split(|byte| *byte == b']').next().unwrap_or_default();
            format!("write the header alone on its line: {}]", lossy(name))
        }
        codes::NO_EQUALS_SIGN => {
            format!("write key=value, or begin the line with `#`: #{}", lossy(clipped(raw.trim_ascii())))
        }
        codes::ONLY_EQUALS_SIGNS => "remove the line".to_owned(),
        codes::EMPTY_SECTION_NAME => "name the section, such as [docker], or remove the line".to_owned(),
        codes::REPEATED_EMPTY_SECTION => "remove the second header".to_owned(),
        codes::TOO_MANY_SECTIONS => "leave out sections: Hadoop survives nineteen".to_owned(),
        _ => NM_GROUP_REMEDY.to_owned(),
    };
    let message = match code {
        codes::INDENTED_COMMENT => {
            "the comment does not begin in the first column, so a line of blanks remains"
        }
        codes::CRLF => "the line ends with CR LF, and the CR counts as text",
        codes::BYTE_ORDER_MARK => "the file begins with a byte order mark, which counts as text",
        _ => return Finding::new(code, error.to_string(), remedy).in_file(path).at(error.line()),
    };
    Finding::new(code, message, remedy).in_file(path).at(error.line())
}

/// The code that names what the author did, where the reader's own error is less exact.
fn fatal_code(bytes: &[u8], error: &ParseError) -> Code {
    let raw = error.line().map(|line| raw_line(bytes, line)).unwrap_or_default();
    let by_line_end = |code: Code| {
        let rest =
            raw.strip_suffix(b"\r").map(|rest| rest.split(|byte| *byte == b'#').next().unwrap_or(rest));
        match rest {
            Some([] | [b'[', .., b']']) => codes::CRLF,
            _ => code,
        }
    };
    let marked = raw.starts_with(BYTE_ORDER_MARK);
    match error {
        ParseError::WhitespaceLine { .. } if raw.contains(&b'#') => codes::INDENTED_COMMENT,
        ParseError::WhitespaceLine { .. } => by_line_end(codes::BLANK_LINE),
        ParseError::BrokenHeader { .. } => by_line_end(codes::BROKEN_SECTION_HEADER),
        ParseError::NoEqualsSign { .. } if marked => codes::BYTE_ORDER_MARK,
        ParseError::NoEqualsSign { .. } => codes::NO_EQUALS_SIGN,
        ParseError::OnlyEqualsSigns { .. } => codes::ONLY_EQUALS_SIGNS,
        ParseError::EmptySectionName { .. } => codes::EMPTY_SECTION_NAME,
        ParseError::RepeatedEmptySection { .. } => codes::REPEATED_EMPTY_SECTION,
        ParseError::TooManySections { .. } => codes::TOO_MANY_SECTIONS,
        ParseError::NothingConfigured { .. } => codes::NOTHING_CONFIGURED,
        ParseError::TooLarge => codes::CONFIG_UNREADABLE,
    }
}

fn judge_config(path: &str, bytes: &[u8], config: &ExecutorConfig, facts: &Facts<'_>, found: &mut Collector) {
    if config.nm_group().is_none() {
        found.add(without_group(path, bytes, config));
    }
    judge_docker_switch(path, config, found);
    judge_notes(path, config, found);
    keys::judge(path, config, found);
    registries::judge_lists(path, config, found);
    if config.docker_supported() {
        registries::judge_coverage(path, config, &facts.registries, found);
    }
}

fn without_group(path: &str, bytes: &[u8], config: &ExecutorConfig) -> Finding {
    if bytes.starts_with(BYTE_ORDER_MARK) {
        let message = "the file begins with a byte order mark, so the first key is not recognised";
        let remedy = "save the file as UTF-8 without a byte order mark";
        return Finding::new(codes::BYTE_ORDER_MARK, message, remedy).in_file(path).at(1);
    }
    let below = config.sections().find_map(|section| {
        let section = std::str::from_utf8(section).ok()?;
        Some((section, config.entry(section, NM_GROUP_KEY)?))
    });
    match below {
        Some((section, entry)) => Finding::new(
            codes::GROUP_BELOW_SECTION,
            format!("{NM_GROUP_KEY} stands below [{section}], where it is not looked for"),
            format!("above the first section: {NM_GROUP_KEY}={}", lossy(entry.value)),
        )
        .in_file(path)
        .at(entry.line)
        .about(NM_GROUP_KEY.as_bytes()),
        None => Finding::new(codes::GROUP_MISSING, format!("{NM_GROUP_KEY} is not set"), NM_GROUP_REMEDY)
            .in_file(path),
    }
}

fn judge_docker_switch(path: &str, config: &ExecutorConfig, found: &mut Collector) {
    if config.docker_supported() {
        return;
    }
    let remedy = "in the section [docker]: module.enabled=true";
    let finding = match config.entry(DOCKER, MODULE_ENABLED_KEY) {
        Some(entry) if means_true(entry.value) => Finding::new(
            codes::DOCKER_NOT_EXACTLY_TRUE,
            format!(
                "module.enabled is `{}`; only `true`, in lower case, turns Docker on",
                lossy(entry.value)
            ),
            remedy,
        )
        .at(entry.line)
        .about(entry.value),
        Some(entry) => {
            let message = format!("module.enabled is `{}`: Docker is off", lossy(clipped(entry.value)));
            Finding::new(codes::DOCKER_OFF, message, remedy).at(entry.line).about(entry.value)
        }
        None => {
            let message = "module.enabled is not set in the section [docker]: Docker is off";
            Finding::new(codes::DOCKER_OFF, message, remedy)
        }
    };
    found.add(finding.in_file(path));
}

pub(super) fn judge_notes(path: &str, config: &ExecutorConfig, found: &mut Collector) {
    for note in config.notes().iter() {
        let finding = match note.kind {
            NoteKind::DroppedEntry => Finding::new(
                codes::KEY_WITHOUT_VALUE,
                "the key has no value, so the line is dropped",
                "give it a value, or remove the line",
            ),
            NoteKind::Shadowed { by } => Finding::new(
                codes::DUPLICATE_KEY,
                format!("the key was already given at line {by}, and the first one wins"),
                format!("remove this line, or put its value into line {by}"),
            ),
            NoteKind::CutAtHash => Finding::new(
                codes::VALUE_CUT_AT_HASH,
                "the text from `#` on is cut off",
                "put the comment on a line of its own that begins with `#`",
            )
            .about(b"#"),
            NoteKind::CutAtEqualsSign => Finding::new(
                codes::VALUE_CUT_AT_EQUALS,
                "the text from the second `=` on is cut off",
                "remove it: a value cannot hold `=`",
            ),
            NoteKind::CutAtNul => Finding::new(
                codes::VALUE_CUT_AT_NUL,
                "the line holds a NUL byte, where its text ends",
                "remove the byte",
            )
            .about(b"\0"),
            NoteKind::RepeatedSection => Finding::new(
                codes::REPEATED_SECTION,
                "the section was already begun above",
                "keep its lines together under one header",
            ),
        };
        found.add(finding.in_file(path).at(note.line));
    }
}

fn means_true(value: &[u8]) -> bool {
    ["true", "yes", "on", "1"].iter().any(|word| value.eq_ignore_ascii_case(word.as_bytes()))
}

/// The line of that number, counted from one, without its LF.
fn raw_line(bytes: &[u8], number: u32) -> &[u8] {
    let index = usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
    bytes.split(|byte| *byte == b'\n').nth(index).unwrap_or_default()
}

/// Whether the file alone already ends every launch on the node.
pub(super) fn is_fatal(config: &ExecutorConfig) -> bool {
    config.get(HEAD, NM_GROUP_KEY).is_none() || !config.docker_supported()
}
