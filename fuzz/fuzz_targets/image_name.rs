//! Image names, on their own and against a list of trusted registries.

#![no_main]

use domain::check::{ImageReference, Request};
use emr_ecr_agent_fuzz::{file, check, nothing};
use hadoop_rules::{Rules, image_name};
use libfuzzer_sys::fuzz_target;

const CFG: &[u8] = b"yarn.nodemanager.linux-container-executor.group=yarn\n[docker]\nmodule.enabled=true\n\
docker.trusted.registries=local,library,registry.example/\n";

fuzz_target!(|image: &[u8]| {
    let mut inputs = nothing(Rules::V3_3);
    inputs.executor_cfg = Some(file(CFG));
    inputs.request = Request { images: vec![image.to_vec()], ..Request::default() };
    let report = check(&inputs, CFG);
    assert_eq!(report.images[0].name_valid, image_name::is_valid(image));
    if let Ok(name) = std::str::from_utf8(image) {
        ImageReference::parse(name);
    }
});
