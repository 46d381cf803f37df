//! A Docker config.json as YARN reads it.

#![no_main]

use domain::check::ClientConfig;
use emr_ecr_agent_fuzz::{file, check, nothing};
use hadoop_rules::Rules;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut inputs = nothing(Rules::V3_3);
    inputs.client_config = Some(ClientConfig { file: file(bytes), access: None, misplaced: None });
    let report = check(&inputs, bytes).docker_config.expect("it was looked at");
    assert!(report.error.is_none() || report.credentials.is_empty());
});
