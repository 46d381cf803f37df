//! A node's own Docker config: an entry that is set can be read back.

#![no_main]

use domain::credentials::{EntryName, Secret};
use domain::documents::{DockerConfig, Document};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut config) = DockerConfig::parse(&Document::new(bytes.to_vec())) else { return };
    let name = EntryName::parse("registry.example").expect("a name");
    config.set(&name, &Secret::new("QVdTOnA="));
    let again = DockerConfig::parse(&config.render()).expect("what was rendered parses");
    assert_eq!(again.auth(&name), Some("QVdTOnA="));
});
