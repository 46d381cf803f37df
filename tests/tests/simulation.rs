//! A short `make simulate`: small clusters meet the targets, and the same seed gives the same numbers.

use std::process::Command;

use emr_ecr_agent_tests::testbed::Outcome;
use serde_json::Value;

fn simulate(args: &[&str]) -> Outcome<(bool, Value)> {
    let output = Command::new(env!("CARGO_BIN_EXE_simulate")).args(args).arg("--json").output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let outcomes = serde_json::from_str(&text)
        .map_err(|error| format!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)))?;
    Ok((output.status.success(), outcomes))
}

#[test]
fn outages_clocks_and_node_deaths_leave_nothing_expired() -> Outcome {
    let (kept, outcomes) = simulate(&["--nodes", "1,30", "--days", "4", "--seed", "7"])?;
    assert!(kept, "{outcomes:#}");
    for outcome in outcomes.as_array().ok_or("not a list")? {
        assert_eq!(outcome["expired_seconds"], 0.0, "{outcome:#}");
        assert!(outcome["hdfs_writes"].as_u64() > Some(7), "tokens were not renewed: {outcome:#}");
    }
    Ok(())
}

#[test]
fn same_seed_gives_same_numbers() -> Outcome {
    let args = ["--nodes", "12", "--days", "2", "--seed", "3"];
    assert_eq!(simulate(&args)?, simulate(&args)?);
    Ok(())
}
