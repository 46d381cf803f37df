//! What the targets share: a check of one file, from the bytes to the JSON.

use domain::check::{self, Content, Inputs, Report, HadoopVersion, TextFile};
use hadoop_rules::Rules;
use jiff::Timestamp;

/// Nothing to look at yet, by these rules.
pub fn nothing(rules: Rules) -> Inputs<'static> {
    Inputs::nothing(HadoopVersion::named(rules), Timestamp::UNIX_EPOCH)
}

pub fn file(bytes: &[u8]) -> TextFile {
    TextFile { path: "file".to_owned(), content: Content::Bytes(bytes.to_vec()) }
}

/// Judges, and fails unless every finding has a line that is in the file.
pub fn check(inputs: &Inputs<'_>, bytes: &[u8]) -> Report {
    let report = check::run(inputs);
    let lines = bytes.split(|byte| *byte == b'\n').count();
    for finding in &report.findings {
        let line = finding.line.map_or(0, |line| line as usize);
        assert!(line <= lines, "{finding:?} in {lines} lines");
    }
    report
}
