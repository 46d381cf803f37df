//! Shared by the fuzz targets: running the checks on one file.

use domain::check::{self, Content, Inputs, Report, HadoopVersion, TextFile};
use hadoop_rules::Rules;
use jiff::Timestamp;

/// Inputs without any files, under these rules.
pub fn nothing(rules: Rules) -> Inputs<'static> {
    Inputs::nothing(HadoopVersion::named(rules), Timestamp::UNIX_EPOCH)
}

pub fn file(bytes: &[u8]) -> TextFile {
    TextFile { path: "file".to_owned(), content: Content::Bytes(bytes.to_vec()) }
}

/// Runs the checks, and panics if a finding names a line beyond the end of the file.
pub fn check(inputs: &Inputs<'_>, bytes: &[u8]) -> Report {
    let report = check::run(inputs);
    let lines = bytes.split(|byte| *byte == b'\n').count();
    for finding in &report.findings {
        let line = finding.line.map_or(0, |line| line as usize);
        assert!(line <= lines, "{finding:?} in {lines} lines");
    }
    report
}
