//! A file of static credentials: Docker accepts every entry that is parsed.

#![no_main]

use domain::credentials::{StaticCredentials, docker_accepts};
use domain::documents::Document;
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = StaticCredentials::parse(&Document::new(bytes.to_vec()), Timestamp::UNIX_EPOCH) else {
        return;
    };
    assert!(file.credentials().values().all(|credential| docker_accepts(credential.auth().expose())));
});
