//! Writes the figures to target/bench.json and to the table in docs/performance.md.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use jiff::Timestamp;
use serde_json::json;

use crate::figures::Results;
use crate::plan::Plan;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot {operation} {}", path.display())]
    File { operation: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{DOCUMENT} lacks the marks {BEGIN} and {END}")]
    NoMarks,
}

const JSON: &str = "target/bench.json";
const DOCUMENT: &str = "docs/performance.md";
const BEGIN: &str = "<!-- figures: begin -->";
const END: &str = "<!-- figures: end -->";

/// Writes both, or only the JSON if the run skipped some measurements.
pub(crate) fn write(results: &Results, plan: &Plan) -> Result<(), Error> {
    let now = Timestamp::now();
    let text = json!({ "at": now, "machine": machine(), "runs": plan.runs, "sections": results.json() });
    store(JSON.as_ref(), &format!("{text:#}\n"))?;
    if !plan.is_whole() {
        return Ok(());
    }
    let path = Path::new(DOCUMENT);
    let before = fs::read_to_string(path).map_err(|source| failed("read", path, source))?;
    let head = format!(
        "Measured on {} on {}, medians of {} alternating runs, at rest for {} s.",
        now.strftime("%F"),
        machine(),
        plan.runs,
        plan.rest.as_secs()
    );
    let after = replaced(&before, &format!("{head}\n\n{}", results.markdown())).ok_or(Error::NoMarks)?;
    store(path, &after)
}

fn replaced(text: &str, figures: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{figures}{END}{after}"))
}

fn machine() -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unknown processor", |(_, model)| model.trim());
    format!("{cores} cores of {model}, Linux")
}

fn store(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|source| failed("write", path, source))
}

fn failed(operation: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::File { operation, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::replaced;

    #[test]
    fn only_text_between_the_marks_is_replaced() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(replaced(text, "new\n").as_deref(), expected);
        };
        check(
            "a\n<!-- figures: begin -->\nold\n<!-- figures: end -->\nb",
            Some("a\n<!-- figures: begin -->\nnew\n<!-- figures: end -->\nb"),
        );
        check("a\n<!-- figures: begin -->\nold", None);
        check("a", None);
    }
}
