//! container-executor.cfg: whether Hadoop accepts it, and which lines do something other than
//! their author probably meant.

use std::borrow::Cow;

use hadoop_rules::executor_config::{
    DOCKER, ExecutorConfig, HEAD, MODULE_ENABLED_KEY, NM_GROUP_KEY, NoteKind, ParseError, lossy,
};
use hadoop_rules::users;

use super::inputs::{Content, Inputs, TextFile};
use super::launch::has_docker_section;
use super::report::{ExecutorCfgReport, ParseErrorReport};
use super::{keys, registries, values};
use crate::findings::{Code, Finding, Findings, Fix, clipped, codes};

/// The most repairs made to a broken file to find its other faults.
const MOST_REPAIRS: usize = 25;
const LARGEST_TO_REPAIR: usize = 1 << 20;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// The NodeManager's group on EMR.
const NM_GROUP: &str = "yarn";

pub(super) fn check(file: &TextFile, inputs: &Inputs<'_>, found: &mut Findings) -> ExecutorCfgReport {
    let mut report = ExecutorCfgReport {
        path: file.path.clone(),
        present: file.content != Content::Absent,
        parse_error: None,
        config: None,
        repaired: None,
    };
    let Some(bytes) = file.bytes() else {
        found.add(unread(file));
        return report;
    };
    match ExecutorConfig::parse(bytes, inputs.hadoop.rules) {
        Ok(config) => {
            report.repaired = check_sections(&file.path, bytes, &config, inputs, found);
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
            report.repaired = check_the_rest(&file.path, bytes, error, inputs, found);
        }
    }
    report
}

/// Checks what the file sets. If `[docker]` is misnamed, checks and returns what the file would set.
fn check_sections(
    path: &str,
    bytes: &[u8],
    config: &ExecutorConfig,
    inputs: &Inputs<'_>,
    found: &mut Findings,
) -> Option<ExecutorConfig> {
    let misnamed = misnamed_section(bytes, config).and_then(|(line, _)| {
        let text = renamed(bytes, line);
        Some((ExecutorConfig::parse(text.clone(), inputs.hadoop.rules).ok()?, text))
    });
    let Some((meant, text)) = misnamed else {
        check_config(path, bytes, config, inputs, found);
        return None;
    };
    found.add(without_docker_section(path, bytes, config));
    check_config(path, &text, &meant, inputs, found);
    Some(meant)
}

/// Finds the faults that the first one hides.
fn check_the_rest(
    path: &str,
    bytes: &[u8],
    first: ParseError,
    inputs: &Inputs<'_>,
    found: &mut Findings,
) -> Option<ExecutorConfig> {
    if bytes.len() > LARGEST_TO_REPAIR {
        return None;
    }
    let mut lines: Vec<Cow<'_, [u8]>> = bytes.split(|byte| *byte == b'\n').map(Cow::Borrowed).collect();
    let mut error = first;
    for _ in 0..MOST_REPAIRS {
        let code = fatal_code(bytes, &error);
        let line = error.line().and_then(|line| usize::try_from(line).ok()?.checked_sub(1));
        match (code, line.and_then(|line| lines.get_mut(line))) {
            (codes::TOO_MANY_SECTIONS | codes::NOTHING_CONFIGURED | codes::CONFIG_UNREADABLE, _)
            | (_, None) => {
                return None;
            }
            (codes::CRLF, _) => {
                for line in &mut lines {
                    let rest = line.strip_suffix(b"\r").map(<[u8]>::to_vec);
                    *line = rest.map_or_else(|| line.clone(), Cow::Owned);
                }
            }
            (codes::BYTE_ORDER_MARK, Some(line)) => {
                *line = Cow::Owned(line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line).to_vec());
            }
            (codes::BROKEN_SECTION_HEADER, Some(line)) => {
                let name = line.trim_ascii().split(|byte| *byte == b']').next().unwrap_or_default();
                *line = Cow::Owned([name, b"]"].concat());
            }
            // An empty comment preserves the line numbers.
            (_, Some(line)) => *line = Cow::Borrowed(b"#"),
        }
        let text = lines.join(&b'\n');
        match ExecutorConfig::parse(text.clone(), inputs.hadoop.rules) {
            Ok(config) => {
                return check_sections(path, &text, &config, inputs, found).or(Some(config));
            }
            Err(next) if next == error => return None,
            Err(next) => {
                found.add(unparsable(path, &text, &next));
                error = next;
            }
        }
    }
    None
}

fn unread(file: &TextFile) -> Finding {
    let path = &file.path;
    let finding = match &file.content {
        Content::Directory => Finding::new(codes::CONFIG_IS_DIRECTORY, format!("{path} is a directory"))
            .fix(Fix::manual("replace the directory with the file")),
        Content::Unreadable(why) => {
            Finding::new(codes::CONFIG_UNREADABLE, format!("{path} cannot be read: {why}"))
                .fix(Fix::manual("run the check as root, or name a copy that can be read"))
        }
        Content::Absent | Content::Bytes(_) => Finding::new(
            codes::CONFIG_MISSING,
            format!("{path} does not exist"),
        )
        .fix(Fix::manual(
            "name the file that container-executor reads; a node that is being set up may not have it yet",
        )),
    };
    finding.in_file(path)
}

fn unparsable(path: &str, bytes: &[u8], error: &ParseError) -> Finding {
    let code = fatal_code(bytes, error);
    let raw = error.line().map(|line| raw_line(bytes, line)).unwrap_or_default();
    let fix = match code {
        codes::WHITESPACE_LINE | codes::ONLY_EQUALS_SIGNS | codes::REPEATED_EMPTY_SECTION => {
            Fix::remove_line()
        }
        codes::INDENTED_COMMENT => Fix::replace_line(lossy(raw.trim_ascii())),
        codes::CRLF => Fix::run(format!("sed -i 's/\\r$//' {path}")),
        codes::BYTE_ORDER_MARK => without_byte_order_mark(),
        codes::BROKEN_SECTION_HEADER => {
            let name = raw.trim_ascii().split(|byte| *byte == b']').next().unwrap_or_default();
            Fix::replace_line(format!("{}]", lossy(name)))
        }
        codes::NO_EQUALS_SIGN => Fix::manual(format!(
            "write key=value, or make the line a comment: #{}",
            lossy(clipped(raw.trim_ascii()))
        )),
        codes::EMPTY_SECTION_NAME => Fix::manual("name the section, such as [docker], or remove the line"),
        codes::TOO_MANY_SECTIONS => Fix::manual("remove sections: Hadoop survives nineteen"),
        codes::CONFIG_UNREADABLE => Fix::manual("replace the file"),
        _ => Fix::manual(format!("set {NM_GROUP_KEY}, and what Docker needs in the section [docker]")),
    };
    let message = match code {
        codes::INDENTED_COMMENT => {
            "the comment does not begin in the first column, so a line of whitespace remains"
        }
        codes::CRLF => "the line ends with CR LF, and the CR counts as text",
        codes::BYTE_ORDER_MARK => "the file starts with a byte order mark, which counts as text",
        _ => return Finding::new(code, error.to_string()).fix(fix).in_file(path).at(error.line()),
    };
    Finding::new(code, message).fix(fix).in_file(path).at(error.line())
}

fn without_byte_order_mark() -> Fix {
    Fix::manual("save the file as UTF-8 without a byte order mark")
}

/// The code for what the author did, where the parser's own error is less exact.
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
        ParseError::WhitespaceLine { .. } => by_line_end(codes::WHITESPACE_LINE),
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

fn check_config(
    path: &str,
    bytes: &[u8],
    config: &ExecutorConfig,
    inputs: &Inputs<'_>,
    found: &mut Findings,
) {
    if config.nm_group().is_none() {
        found.add(without_group(path, bytes, config));
    }
    check_docker_switch(path, bytes, config, found);
    check_minimum_id(path, config, found);
    check_notes(path, config, found);
    keys::check(path, config, found);
    values::check(path, config, found);
    let is_emr = inputs.is_emr(registries::names_ecr(config));
    registries::check_lists(path, config, is_emr, found);
    if config.docker_supported() || has_docker_section(config) {
        registries::check_coverage(path, config, inputs, found);
    }
}

fn without_group(path: &str, bytes: &[u8], config: &ExecutorConfig) -> Finding {
    if bytes.starts_with(BYTE_ORDER_MARK) {
        let message = "the file starts with a byte order mark, so the first key is not recognised";
        let finding = Finding::new(codes::BYTE_ORDER_MARK, message).fix(without_byte_order_mark());
        return finding.in_file(path).at(1);
    }
    let below = config.sections().find_map(|section| {
        let section = std::str::from_utf8(section).ok()?;
        Some((section, config.entry(section, NM_GROUP_KEY)?))
    });
    match below {
        Some((section, entry)) => Finding::new(
            codes::GROUP_BELOW_SECTION,
            format!("{NM_GROUP_KEY} is below [{section}], where Hadoop does not look for it"),
        )
        .fix(Fix::set(HEAD, NM_GROUP_KEY, lossy(entry.value)))
        .in_file(path)
        .at(entry.line)
        .about(NM_GROUP_KEY.as_bytes()),
        None => Finding::new(codes::GROUP_MISSING, format!("{NM_GROUP_KEY} is not set"))
            .fix(Fix::set(HEAD, NM_GROUP_KEY, NM_GROUP))
            .in_file(path),
    }
}

/// The finding for a missing or misnamed section `[docker]`.
fn without_docker_section(path: &str, bytes: &[u8], config: &ExecutorConfig) -> Finding {
    let Some((line, name)) = misnamed_section(bytes, config) else {
        let fix = "add a section [docker] with module.enabled=true, docker.trusted.registries, docker.allowed.networks and docker.allowed.capabilities";
        let message = "there is no section [docker]: Docker is off";
        return Finding::new(codes::DOCKER_OFF, message).fix(Fix::manual(fix)).in_file(path);
    };
    let message = format!("the section [{}] is not [docker]: Docker is off", lossy(&name));
    let finding = Finding::new(codes::DOCKER_OFF, message).fix(Fix::replace_line("[docker]")).in_file(path);
    finding.at(line).about(&name)
}

/// The line and name of a section that was meant to be `[docker]`, if there is no `[docker]`.
fn misnamed_section(bytes: &[u8], config: &ExecutorConfig) -> Option<(u32, Vec<u8>)> {
    if has_docker_section(config) || bytes.len() > LARGEST_TO_REPAIR {
        return None;
    }
    let alike = |section: &&[u8]| section.trim_ascii().eq_ignore_ascii_case(DOCKER.as_bytes());
    let name = config.sections().find(alike)?;
    let header = [b"[", name, b"]"].concat();
    let mut lines = (1_u32..).zip(bytes.split(|byte| *byte == b'\n'));
    let (line, _) = lines.find(|(_, line)| line.starts_with(&header))?;
    Some((line, name.to_vec()))
}

fn renamed(bytes: &[u8], line: u32) -> Vec<u8> {
    let lines = (1_u32..).zip(bytes.split(|byte| *byte == b'\n'));
    let lines = lines.map(|(number, text)| if number == line { &b"[docker]"[..] } else { text });
    lines.collect::<Vec<_>>().join(&b'\n')
}

fn check_docker_switch(path: &str, bytes: &[u8], config: &ExecutorConfig, found: &mut Findings) {
    if config.docker_supported() {
        return;
    }
    let finding = match config.entry(DOCKER, MODULE_ENABLED_KEY) {
        Some(entry) if means_true(entry.value) => Finding::new(
            codes::DOCKER_NOT_EXACTLY_TRUE,
            format!(
                "module.enabled is `{}`; only `true`, in lower case, turns Docker on",
                lossy(entry.value)
            ),
        )
        .at(entry.line)
        .about(entry.value),
        Some(entry) => {
            let message = format!("module.enabled is `{}`: Docker is off", lossy(clipped(entry.value)));
            Finding::new(codes::DOCKER_OFF, message).at(entry.line).about(entry.value)
        }
        None if has_docker_section(config) => {
            let message = "module.enabled is not set in the section [docker]: Docker is off";
            Finding::new(codes::DOCKER_OFF, message)
        }
        None => {
            found.add(without_docker_section(path, bytes, config));
            return;
        }
    };
    found.add(finding.fix(Fix::set(DOCKER, MODULE_ENABLED_KEY, "true")).in_file(path));
}

fn check_minimum_id(path: &str, config: &ExecutorConfig, found: &mut Findings) {
    if let Err(refusal) = users::minimum_id(config) {
        let line = config.entry(HEAD, users::MINIMUM_ID_KEY).map(|entry| entry.line);
        let finding = Finding::new(codes::MINIMUM_ID_INVALID, refusal.to_string());
        found.add(finding.fix(Fix::set(HEAD, users::MINIMUM_ID_KEY, "1000")).in_file(path).at(line));
    }
}

pub(super) fn check_notes(path: &str, config: &ExecutorConfig, found: &mut Findings) {
    for note in config.notes().iter() {
        let finding = match note.kind {
            NoteKind::DroppedEntry => {
                Finding::new(codes::KEY_WITHOUT_VALUE, "the key has no value, so the line is dropped")
                    .fix(Fix::manual("give it a value, or remove it"))
            }
            NoteKind::Shadowed { by } => Finding::new(
                codes::DUPLICATE_KEY,
                format!("the key was already set at line {by}, and the first one wins"),
            )
            .fix(Fix::manual(format!("remove this line, or move its value to line {by}"))),
            NoteKind::CutAtHash => Finding::new(codes::VALUE_CUT_AT_HASH, "the text from `#` on is cut off")
                .fix(Fix::manual("put the comment on a line of its own that begins with `#`"))
                .about(b"#"),
            NoteKind::CutAtEqualsSign => {
                Finding::new(codes::VALUE_CUT_AT_EQUALS, "the text from the second `=` on is cut off")
                    .fix(Fix::manual("remove it: a value cannot hold `=`"))
            }
            NoteKind::CutAtNul => {
                Finding::new(codes::VALUE_CUT_AT_NUL, "the line contains a NUL byte, where its text ends")
                    .fix(Fix::manual("remove the byte"))
                    .about(b"\0")
            }
            NoteKind::RepeatedSection => {
                Finding::new(codes::REPEATED_SECTION, "the section already appears above")
                    .fix(Fix::manual("keep its lines together under one header"))
            }
        };
        found.add(finding.in_file(path).at(note.line));
    }
}

fn means_true(value: &[u8]) -> bool {
    ["true", "yes", "on", "1"].iter().any(|word| value.eq_ignore_ascii_case(word.as_bytes()))
}

/// The line with that number, counted from 1, without its LF.
fn raw_line(bytes: &[u8], number: u32) -> &[u8] {
    let index = usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
    bytes.split(|byte| *byte == b'\n').nth(index).unwrap_or_default()
}
