//! A registry's challenge: no credential goes over the network unencrypted.

#![no_main]

use domain::registry::{BearerChallenge, is_loopback};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|header: &str| {
    let Ok(Some(challenge)) = BearerChallenge::parse(header) else { return };
    let url = challenge.url();
    assert!(url.scheme() == "https" || url.scheme() == "http" && url.host_str().is_some_and(is_loopback));
});
