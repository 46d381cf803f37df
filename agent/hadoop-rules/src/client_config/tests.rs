use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const CASES: &str = include_str!("../../testdata/docker_config.jsonl");

#[test]
fn reading_agrees_with_hadoop() {
    for line in CASES.lines() {
        let case: Value = serde_json::from_str(line).expect("a case is JSON");
        let Some(bytes) = content(&case) else {
            // Without a file there is nothing to read; the caller handles that failure.
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
    let entry = |auth: &Secret| json!({ "auth": auth.expose() });
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

/// Checks what `auth` becomes, or the name of the error.
fn check_auth(value: &str, expected: &str) {
    check_document(&format!(r#"{{"auths":{{"h":{{"auth":{value}}}}}}}"#), &format!("h={expected}"));
}

fn check_document(text: &str, expected: &str) {
    check_bytes(text.as_bytes(), expected);
}

fn check_bytes(bytes: &[u8], expected: &str) {
    let found = match read(bytes) {
        Ok(found) => found
            .iter()
            .map(|(registry, auth)| format!("{registry}={}", auth.expose()))
            .collect::<Vec<_>>()
            .join(" "),
        Err(error) if error.is_null_pointer() => "null pointer".to_owned(),
        Err(_) => "malformed".to_owned(),
    };
    assert_eq!(found, expected, "{}", String::from_utf8_lossy(bytes));
}

#[test]
fn any_value_has_a_text() {
    check_auth("\"x\"", "x");
    check_auth(r#""\u0041\/\n\ud83d\ude00\ud83d""#, "A/\n\u{1F600}?");
    check_auth("true", "true");
    check_auth("[1]", "");
    check_auth("-0", "0");
    check_auth("123456789012345678901234567890", "123456789012345678901234567890");
    check_auth("1.50", "1.5");
    check_auth("1e5", "100000.0");
    check_auth("1e7", "1.0E7");
    check_auth("12345678.9", "1.23456789E7");
    check_auth("0.001", "0.001");
    check_auth("0.0001", "1.0E-4");
    check_auth("-0.0", "-0.0");
    check_auth("1e400", "Infinity");
    check_auth("-1e400", "-Infinity");
}

#[test]
fn what_json_forbids_is_refused() {
    let values = [
        "01",
        "1.",
        ".5",
        "+1",
        "-",
        "1e",
        "NaN",
        "nul",
        "nullx",
        "'x'",
        "\"\\x\"",
        "\"\t\"",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{a:1}",
        "{,}",
        "{\"a\" 1}",
        "/**/1",
        "",
    ];
    for value in values {
        let text = format!(r#"{{"auths":{{"h":{{"auth":"x","y":{value}}}}}}}"#);
        check_document(&text, "malformed");
    }
    check_document("]", "malformed");
    check_document("\u{b}{}", "malformed");
    check_bytes(b"\xFF\xFE{\0}\0", "malformed");
    check_bytes(b"\0{\0}", "malformed");
}

#[test]
fn the_last_of_two_members_counts() {
    check_document(r#"{"auths":{"h":{}},"auths":{"i":{"auth":"x"}}}"#, "i=x");
    check_document(r#"{"auths":{"h":{"auth":"1","auth":"2"}}}"#, "h=2");
    check_document(r#"{"auths":{"h":{"auth":"1"},"h":{}}}"#, "null pointer");
    check_document(r#"{"\u0061uths":{"h":{"auth":"1"}}} x"#, "h=1");
}

#[test]
fn an_encoded_surrogate_is_one_replacement() {
    for (bytes, replacements) in [
        (&b"\xED\xA0\x80"[..], 1),
        (b"\xED\xA0", 1),
        (b"\xE0\x80\x80", 3),
        (b"\xE2\x82", 1),
        (b"\xC0\xAF", 2),
    ] {
        let mut text = br#"{"auths":{"h":{"auth":""#.to_vec();
        text.extend_from_slice(bytes);
        text.extend_from_slice(br#""}}}"#);
        check_bytes(&text, &format!("h={}", "\u{FFFD}".repeat(replacements)));
    }
}

#[test]
fn deep_nesting_is_refused_and_does_not_overflow_the_stack() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    check_document(&nested(1_000), "");
    check_document(&nested(1_001), "malformed");
    check_document(&nested(100_000), "malformed");
}

#[test]
fn only_what_encloses_a_value_counts_as_a_level() {
    let many = |part: &str| part.repeat(1_001);
    check_document(&format!("[{}1]", many("[],{},")), "");
    check_document(&format!(r#"["\"{}\\"]"#, many("[{")), "");
    check_document(&format!(r#"{}1{}"#, many(r#"["]}","#), many("]")), "malformed");
}

#[test]
fn what_follows_the_document_is_ignored_except_after_a_word() {
    for document in ["{}x", "{} x", "[]1", "\"\"a", "true", "true x", "null-", "true\"", "1", "1x", "1_"] {
        check_document(document, "");
    }
    for document in ["truex", "true1", "true_", "true$", "nullä"] {
        check_document(document, "malformed");
    }
    let error = json::read("truex").expect_err("a longer word");
    assert_eq!((error.line, error.column, error.to_string().as_str()), (1, 1, "expected value"));
}

#[test]
fn errors_tell_the_place_and_no_secret() {
    let error = read(b"{\n \"auths\": {\"h\": {\"auth\": \"c2VjcmV0\",}}}").expect_err("a trailing comma");
    let ClientConfigError::Malformed(cause) = &error else { panic!("{error}") };
    assert_eq!(cause.to_string(), "key must be a string at line 2 column 37");
    assert_eq!((cause.line, cause.column), (2, 37));
    assert!(!format!("{error:?}").contains("c2Vj"));
    let found = read(br#"{"auths":{"h":{"auth":"c2VjcmV0"}}}"#).expect("a good document");
    assert_eq!(format!("{found:?}"), r#"{"h": [secret]}"#);
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
        let _outcome = read(&bytes);
    }

    #[test]
    fn what_other_readers_accept_is_accepted(
        auths in prop::collection::btree_map(".{0,8}", ".{0,8}", 0..4),
    ) {
        let entries: serde_json::Map<_, _> = auths
            .iter()
            .map(|(registry, auth)| (registry.clone(), json!({ "auth": auth })))
            .collect();
        let text = json!({ "auths": entries }).to_string();
        let found = read(text.as_bytes()).expect("a good document");
        let found: Vec<_> = found.iter().map(|(key, auth)| (key.as_str(), auth.expose())).collect();
        let expected: Vec<_> = auths.iter().map(|(key, auth)| (key.as_str(), auth.as_str())).collect();
        prop_assert_eq!(found, expected);
    }
}
