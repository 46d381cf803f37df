//! A cluster's configuration JSON.

#![no_main]

use emr_ecr_agent_fuzz::{file, check, nothing};
use hadoop_rules::Rules;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for rules in Rules::ALL {
        let mut inputs = nothing(rules);
        inputs.emr_config = Some(file(bytes));
        check(&inputs, bytes);
    }
});
