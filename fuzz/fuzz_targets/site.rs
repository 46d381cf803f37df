//! yarn-site.xml.

#![no_main]

use domain::check::{SiteContent, SiteFile};
use emr_ecr_agent_fuzz::{check, nothing};
use hadoop_rules::Rules;
use hadoop_rules::site::{NoIncludes, NoVariables, Site};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut site = Site::new();
    let content = match site.load("file", bytes, &NoIncludes) {
        Ok(()) => SiteContent::Loaded { resolved: site.resolve(&NoVariables), site },
        Err(error) => SiteContent::Unusable { line: Some(error.line()), why: error.to_string() },
    };
    let mut inputs = nothing(Rules::V3_3);
    inputs.yarn_site = Some(SiteFile { path: "file".to_owned(), content });
    check(&inputs, bytes);
});
