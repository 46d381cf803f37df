//! agent.toml: parses to settings, or to mistakes with lines that exist.

#![no_main]

use domain::settings::Settings;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(mistakes) = Settings::parse(text) {
        assert!(!mistakes.is_empty());
        let lines = text.split('\n').count();
        assert!(mistakes.iter().all(|mistake| (1..=lines).contains(&mistake.line)), "{mistakes:?}");
    }
});
