//! The size of the binary, its number of crates, and the time of a build.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::{Instant, SystemTime};

use emr_ecr_agent_tests::{agent, scratch};

use crate::Outcome;
use crate::figures::{Bar, Figure, Section, Unit};
use crate::plan::{Measure, Plan};

#[derive(Debug, thiserror::Error)]
#[error("`cargo {args}` failed")]
struct CargoFailed {
    args: String,
}

pub(crate) fn measure(plan: &Plan) -> Outcome<Section> {
    let mut section = Section::new(Measure::Size.title());
    let binary = fs::metadata(agent::program()?)?.len() as f64;
    section.add(Figure::new("stripped binary", Unit::Bytes, binary).bar(Bar::AtMost(1e7)));
    section.add(Figure::new("crates linked, with the agent's own", Unit::Plain, crates()? as f64));
    if plan.build {
        let target = scratch::directory("build")?;
        let build = || cargo(&["build", "--release", "--package", "emr-ecr-agent"], target.path());
        section.add(Figure::new("cold build", Unit::Seconds, build()?));
        File::options().append(true).open("agent/src/main.rs")?.set_modified(SystemTime::now())?;
        File::options().append(true).open("agent/src/lib.rs")?.set_modified(SystemTime::now())?;
        section.add(Figure::new("warm build, after a change of the agent", Unit::Seconds, build()?));
    }
    Ok(section)
}

fn crates() -> Outcome<usize> {
    let args = ["tree", "--package", "emr-ecr-agent", "--edges", "normal", "--prefix", "none", "--locked"];
    let output = Command::new("cargo").args(args).stderr(Stdio::null()).output()?;
    if !output.status.success() {
        return Err(CargoFailed { args: args.join(" ") }.into());
    }
    let text = String::from_utf8(output.stdout)?;
    // `(*)` marks a crate that is already listed.
    let names: BTreeSet<&str> = text.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    Ok(names.into_iter().filter(|name| !name.is_empty()).count())
}

fn cargo(args: &[&str], target: &std::path::Path) -> Outcome<f64> {
    let began = Instant::now();
    let status = Command::new("cargo").args(args).arg("--quiet").arg("--target-dir").arg(target).status()?;
    if !status.success() {
        return Err(CargoFailed { args: args.join(" ") }.into());
    }
    Ok(began.elapsed().as_secs_f64())
}
