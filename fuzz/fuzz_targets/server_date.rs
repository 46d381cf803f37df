//! A server's Date header, which corrects the local clock.

#![no_main]

use domain::time::{saturating_add, skew};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let now = Timestamp::constant(1_700_000_000, 0);
    if let Some(skew) = skew(text, now, now) {
        saturating_add(now, skew);
    }
});
