//! Image names, by themselves and against a list of trusted registries.

#![no_main]

use domain::check::{ImageReference, Request};
use emr_ecr_agent_fuzz::{file, judge, nothing};
use hadoop_rules::{Rules, image_name};
use libfuzzer_sys::fuzz_target;

const CFG: &[u8] = b"yarn.nodemanager.linux-container-executor.group=yarn\n[docker]\nmodule.enabled=true\n\
docker.trusted.registries=local,library,registry.example/\n";

fuzz_target!(|image: &[u8]| {
    let mut facts = nothing(Rules::V3_3);
    facts.executor_cfg = Some(file(CFG));
    facts.request = Request { images: vec![image.to_vec()], ..Request::default() };
    let report = judge(&facts, CFG);
    assert_eq!(report.images[0].name_valid, image_name::is_valid(image));
    if let Ok(name) = std::str::from_utf8(image) {
        ImageReference::parse(name);
    }
});
