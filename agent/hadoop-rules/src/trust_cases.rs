//! Checks every field of every case in the table of trust cases.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Rules;
use super::executor_config::{ExecutorConfig, List, ParseError, lossy};
use super::image_name;
use super::trust::{self, Container, PrivilegedRequest};

const CASES: &str = include_str!("../testdata/trust.jsonl");

#[test]
fn trust_agrees_with_hadoop() {
    for line in CASES.lines() {
        let case: Value = serde_json::from_str(line).expect("a case is JSON");
        for rules in Rules::ALL {
            check(&case, rules);
        }
    }
}

fn check(case: &Value, rules: Rules) {
    // Hadoop 3.4 decides as 3.3 does.
    let recorded = if rules == Rules::V3_4 { Rules::V3_3 } else { rules };
    let expected = &case[recorded.as_str()];
    let image = case["image"].as_str().expect("an image").as_bytes();
    assert_eq!(&decide(config_text(case), image, rules), expected, "{} under the {rules} rules", case["id"]);
}

fn config_text(case: &Value) -> Vec<u8> {
    match case["cfg_b64"].as_str() {
        Some(encoded) => STANDARD.decode(encoded).expect("base64"),
        None => case["cfg"].as_str().expect("a text").into(),
    }
}

fn decide(text: Vec<u8>, image: &[u8], rules: Rules) -> Value {
    let config = match ExecutorConfig::parse(text, rules) {
        Ok(config) => config,
        Err(error) => {
            let message = error.native_message("CFG");
            let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
            let exit = match error {
                ParseError::NothingConfigured { rules: Rules::V3_2 } => "read_config returned".to_owned(),
                _ => "exit".to_owned(),
            };
            let code = error.exit_code().expect("no case is killed");
            return json!({
                "parse_error": format!("{exit} {code}: {message}"),
                "trusted": false,
                "privileged_ok": false,
            });
        }
    };
    let read = image_name::in_command_file(image);
    let trusted = |container| read.is_some_and(|name| trust::is_trusted(&config, container, name));
    let root = PrivilegedRequest { image: read, entry_point: true, user_may_run_docker: true };
    json!({
        "parse_error": null,
        "trusted": trusted(Container::Normal),
        "privileged_trust": trusted(Container::Privileged),
        "privileged_ok": trust::allow_privileged(&config, root).is_ok(),
        "image_valid": image_name::is_valid(image),
        "docker_module_enabled": config.module_enabled(),
        "docker_supported": config.docker_supported(),
        "nm_group": config.nm_group().map(lossy),
        "trusted_registries": config.trusted_registries().map(texts),
        "privileged_registries": config.privileged_registries().map(texts),
    })
}

fn texts(list: List<'_>) -> Vec<alloc::borrow::Cow<'_, str>> {
    list.iter().map(lossy).collect()
}
