//! Gathers findings, within bounds: a hostile file must not fill the memory with them.

use std::collections::BTreeMap;

use crate::findings::Finding;

/// As many of one code are told one by one.
const MOST_OF_A_KIND: usize = 25;

#[derive(Debug, Default)]
pub(super) struct Collector {
    findings: Vec<Finding>,
    counts: BTreeMap<String, usize>,
}

impl Collector {
    pub(super) fn add(&mut self, finding: Finding) {
        let count = self.counts.entry(finding.code.clone()).or_default();
        *count += 1;
        if *count <= MOST_OF_A_KIND {
            self.findings.push(finding);
        }
    }

    /// Whether more of this code would still be told.
    pub(super) fn wants(&self, code: &str) -> bool {
        self.counts.get(code).is_none_or(|count| *count < MOST_OF_A_KIND)
    }

    /// Errors first; of one severity in the order found. The last of a code that was found too
    /// often says how many were left out.
    pub(super) fn into_findings(self) -> Vec<Finding> {
        let mut findings = self.findings;
        for (code, count) in self.counts {
            let last = findings.iter_mut().rfind(|finding| finding.code == code);
            if let Some(last) = last.filter(|_| count > MOST_OF_A_KIND) {
                let more = count - MOST_OF_A_KIND;
                last.message.push_str(&format!(" ({more} more of this kind are not listed)"));
            }
        }
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        findings
    }
}
