//! A cluster's configuration JSON.

#![no_main]

use emr_ecr_agent_fuzz::{file, judge, nothing};
use hadoop_rules::Rules;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for rules in Rules::ALL {
        let mut facts = nothing(rules);
        facts.emr_config = Some(file(bytes));
        judge(&facts, bytes);
    }
});
