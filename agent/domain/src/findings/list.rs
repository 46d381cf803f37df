//! Collects findings within bounds: a hostile file must not exhaust memory.

use super::{Code, Finding, Severity};

/// The most findings of one code to list.
const MOST_OF_A_CODE: usize = 25;

#[derive(Debug, Default)]
pub(crate) struct Findings {
    findings: Vec<Finding>,
    /// How many of each code were found.
    counts: Vec<(Code, usize)>,
}

impl Findings {
    pub(crate) fn add(&mut self, finding: Finding) {
        let known = self.counts.iter().position(|(code, _)| *code == finding.code);
        let index = known.unwrap_or_else(|| {
            self.counts.push((finding.code, 0));
            self.counts.len() - 1
        });
        let (_, count) = &mut self.counts[index];
        *count += 1;
        if *count <= MOST_OF_A_CODE {
            self.findings.push(finding);
        }
    }

    /// Adds all of another list.
    pub(crate) fn append(&mut self, other: Self) {
        for finding in other.findings {
            self.add(finding);
        }
    }

    /// Adds those of another list that are not known yet.
    pub(crate) fn append_new(&mut self, other: Self) {
        for finding in other.findings {
            if !self
                .findings
                .iter()
                .any(|known| known.code == finding.code && known.message == finding.message)
            {
                self.add(finding);
            }
        }
    }

    /// Downgrades matching errors to warnings: they do not fail the requested launches.
    pub(crate) fn set_aside(&mut self, is_aside: impl Fn(&Finding) -> bool) {
        self.findings.iter_mut().filter(|finding| is_aside(finding)).for_each(|finding| finding.aside = true);
    }

    /// Adds a file and line to findings that have none.
    pub(crate) fn locate(&mut self, location: impl Fn(&Finding) -> Option<(String, Option<u32>)>) {
        for finding in self.findings.iter_mut().filter(|finding| finding.file.is_none()) {
            if let Some((file, line)) = location(finding) {
                (finding.file, finding.line) = (Some(file), line);
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter()
    }

    /// The findings that are errors.
    pub(crate) fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.iter().filter(|finding| finding.severity() == Severity::Error)
    }

    /// Whether one more of this code would still be listed.
    pub(crate) fn wants(&self, code: Code) -> bool {
        self.counts.iter().all(|(other, count)| *other != code || *count < MOST_OF_A_CODE)
    }

    /// Errors first; within a severity, in the order found. The last finding of a code over the limit states how
    /// many were left out.
    pub(crate) fn into_sorted(self) -> Vec<Finding> {
        let mut findings = self.findings;
        for (code, count) in self.counts {
            let last = findings.iter_mut().rfind(|finding| finding.code == code);
            if let Some(last) = last.filter(|_| count > MOST_OF_A_CODE) {
                let more = count - MOST_OF_A_CODE;
                last.message.push_str(&format!(" ({more} more of this kind are not listed)"));
            }
        }
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity()));
        findings
    }
}
