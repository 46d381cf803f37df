//! The challenge of a registry: a credential goes to no server that the network can listen to.

#![no_main]

use domain::registry::{BearerChallenge, is_loopback};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|header: &str| {
    let Ok(Some(challenge)) = BearerChallenge::parse(header) else { return };
    let url = challenge.url();
    assert!(url.scheme() == "https" || url.scheme() == "http" && url.host_str().is_some_and(is_loopback));
});
