//! Gathers findings, within bounds: a hostile file must not fill the memory with them.

use super::{Code, Finding, Severity};

/// As many of one code are listed one by one.
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

    /// Lets errors of this kind count as warnings: the launches that were asked about do not fail for them.
    pub(crate) fn set_aside(&mut self, is_aside: impl Fn(&Finding) -> bool) {
        self.findings.iter_mut().filter(|finding| is_aside(finding)).for_each(|finding| finding.aside = true);
    }

    /// Names the place of findings that have none.
    pub(crate) fn locate(&mut self, place: impl Fn(&Finding) -> Option<(String, Option<u32>)>) {
        for finding in self.findings.iter_mut().filter(|finding| finding.file.is_none()) {
            if let Some((file, line)) = place(finding) {
                (finding.file, finding.line) = (Some(file), line);
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter()
    }

    /// Those that are errors.
    pub(crate) fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.iter().filter(|finding| finding.severity() == Severity::Error)
    }

    /// Whether one more of this code would still be listed.
    pub(crate) fn wants(&self, code: Code) -> bool {
        self.counts.iter().all(|(other, count)| *other != code || *count < MOST_OF_A_CODE)
    }

    /// Errors first; of one severity in the order found. The last of a code that was found too often
    /// says how many were left out.
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
