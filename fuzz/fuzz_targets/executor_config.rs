//! container-executor.cfg, with an image and a mount checked against it.

#![no_main]

use domain::check::Request;
use emr_ecr_agent_fuzz::{file, check, nothing};
use hadoop_rules::Rules;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for rules in Rules::ALL {
        let mut inputs = nothing(rules);
        inputs.executor_cfg = Some(file(bytes));
        inputs.request = Request {
            images: vec![b"registry.example/app:v1".to_vec(), b"centos".to_vec()],
            privileged: bytes.len() % 2 == 1,
            mounts: vec![b"/etc/passwd:/etc/passwd:ro".to_vec()],
            ..Request::default()
        };
        let report = check(&inputs, bytes);
        let parsed = report.executor_cfg.as_ref().is_some_and(|file| file.config.is_some());
        assert!(parsed || report.images.iter().all(|image| image.trusted == Some(false)));
    }
});
