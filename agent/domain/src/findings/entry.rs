//! A code's entry in docs/findings.md; the page is compiled in.

use super::Code;

const PAGE: &str = include_str!("../../findings.md");

/// The page's entry for a code, in Markdown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub code: Code,
    /// Its paragraphs.
    pub description: Vec<&'static str>,
    /// `None` if there is nothing to fix.
    pub fix: Option<&'static str>,
}

/// The entry for the code with that name; `None` if there is none.
pub fn explain(name: &str) -> Option<Entry> {
    let code = Code::named(name)?;
    let mut entries = PAGE.split("\n### ").skip(1);
    let text = entries.find(|entry| entry.lines().next() == Some(name))?;
    // The next chapter's heading follows the last entry of a chapter.
    let text = text.split("\n## ").next()?;
    let mut entry = Entry { code, description: Vec::new(), fix: None };
    // The name and the severity come first.
    for paragraph in text.split("\n\n").skip(2).map(str::trim) {
        if let Some(fix) = paragraph.strip_prefix("Fix: ") {
            entry.fix = Some(fix);
        } else if !paragraph.starts_with("Effect: ") && !paragraph.is_empty() {
            entry.description.push(paragraph);
        }
    }
    Some(entry)
}

/// The code name most similar to the text; `None` if none is similar.
pub fn nearest(text: &str) -> Option<&'static str> {
    let distance = |code: &&Code| strsim::damerau_levenshtein(code.name, text);
    let code = super::codes::ALL.iter().min_by_key(distance)?;
    (strsim::damerau_levenshtein(code.name, text) <= 1 + code.name.len() / 4).then_some(code.name)
}
