//! A short `make model`.

use std::process::Command;

#[test]
fn every_order_of_events_up_to_a_small_bound_is_survived() {
    let output = Command::new(env!("CARGO_BIN_EXE_model")).arg("--small").output().expect("it runs");
    let (printed, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{printed}{errors}");
}
