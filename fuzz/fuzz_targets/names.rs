//! Names of registries, entries, Regions and published paths: a parsed name stays as written, on one line.

#![no_main]

use domain::credentials::EntryName;
use domain::documents::PublishedPath;
use domain::registry::{EcrRegistry, HostName, is_near};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Some(name) = HostName::parse(text) {
        assert!(!name.as_str().contains(|c: char| c.is_whitespace() || c.is_control()));
    }
    if let Ok(registry) = EcrRegistry::parse(text) {
        assert_eq!(registry.host().as_str(), text.to_ascii_lowercase());
    }
    if let Some(name) = EntryName::parse(text) {
        assert!(!name.as_str().contains('\n'));
    }
    if let Some(path) = PublishedPath::parse(text) {
        assert!(path.path().starts_with(path.directory()) && !path.file_name().contains('/'));
    }
    is_near(text);
});
