//! The JSON Schemas in docs/schemas.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// Fails with every location where the value violates the schema of this name.
#[track_caller]
pub fn assert_follows(name: &str, value: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/schemas/{name}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let schema: Value = serde_json::from_str(&text).expect("a schema is JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let faults: Vec<String> =
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(faults.is_empty(), "{name}: {}\n{value:#}", faults.join("\n"));
}
