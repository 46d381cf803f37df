//! The head of a health request: its target and `Host`.

#![no_main]

use domain::health::{KnownHosts, Resource};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|head: (&str, Option<&str>, &str)| {
    let (path, query, host) = head;
    if let Some(Resource::Readiness(checks) | Resource::Liveness(checks)) = Resource::of(path, query) {
        assert!(checks.select(&[]).is_none_or(|checks| checks.is_empty()));
    }
    let hosts = KnownHosts::new("ip-10-0-0-1.ec2.internal", &[]);
    let known = hosts.contain(host, None);
    let lower = host.to_ascii_lowercase();
    let own = ["ip-10-0-0-1", "localhost", "127.", "::"];
    assert!(!known || own.iter().any(|own| lower.contains(own)), "{host}");
});
