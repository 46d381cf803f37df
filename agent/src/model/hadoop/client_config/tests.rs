use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;

const CASES: &str = include_str!("../../../../testdata/hadoop/docker_config.jsonl");

#[test]
fn reading_agrees_with_hadoop() {
    for line in CASES.lines() {
        let case: Value = serde_json::from_str(line).expect("a case is JSON");
        let Some(bytes) = content(&case) else {
            // Without a file there is nothing to read; that failure is the caller's.
            assert_eq!(case["id"], "does_not_exist");
            continue;
        };
        let outcome = read(&bytes);
        for version in ["3.5.0", "3.3.4"] {
            check(&outcome, &case[version], &case["id"]);
        }
        assert_eq!(launch(&outcome), case["container_launch"], "{}", case["id"]);
    }
}

fn check(outcome: &Result<Credentials, ClientConfigError>, expected: &Value, id: &Value) {
    let (kind, is_io, tokens, written) = match outcome {
        Ok(found) if found.is_empty() => (None, Value::Null, json!(0), Value::Null),
        Ok(found) => (None, Value::Null, json!(found.len()), written(found)),
        Err(error) if error.is_null_pointer() => {
            (Some("NullPointerException"), json!(false), Value::Null, Value::Null)
        }
        Err(_) => (Some("Exception"), json!(true), Value::Null, Value::Null),
    };
    let expected_kind = expected["error"].as_str();
    assert_eq!(kind.is_some(), expected_kind.is_some(), "error of {id}");
    if let (Some(kind), Some(expected_kind)) = (kind, expected_kind) {
        assert!(expected_kind.ends_with(kind), "{expected_kind} of {id}");
    }
    assert_eq!(is_io, expected["io_error"], "kind of error of {id}");
    assert_eq!(tokens, expected["tokens"], "number of credentials of {id}");
    assert_eq!(written, expected["written"], "credentials of {id}");
}

fn written(found: &Credentials) -> Value {
    let entry = |auth: &Auth| json!({ "auth": auth.expose() });
    let auths: serde_json::Map<_, _> =
        found.iter().map(|(registry, auth)| (registry.clone(), entry(auth))).collect();
    json!({ "auths": auths })
}

fn launch(outcome: &Result<Credentials, ClientConfigError>) -> &'static str {
    match outcome {
        Ok(found) if found.is_empty() => "no docker credential",
        Ok(_) => "credentials used",
        Err(_) => "fails",
    }
}

fn content(case: &Value) -> Option<Vec<u8>> {
    if let Some(encoded) = case["content_b64"].as_str() {
        return Some(STANDARD.decode(encoded).expect("base64"));
    }
    case["content"].as_str().map(Vec::from)
}
