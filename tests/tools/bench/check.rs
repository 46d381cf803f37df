//! Validation: `check` of a typical EMR container-executor.cfg, and of one of 16 MiB.

use crate::Outcome;
use crate::figures::{Figure, Section, Unit};
use crate::meter::medians;
use crate::plan::{Measure, Plan};
use crate::setup::{Setup, read};

/// The largest file that `check` reads.
const LARGEST: usize = 16 << 20;

pub(crate) async fn measure(setup: &Setup, plan: &Plan) -> Outcome<Section> {
    let typical = read(&setup.testbed.node.conf_dir().join("container-executor.cfg"))?;
    setup.testbed.node.write("typical.cfg", &typical)?;
    setup.testbed.node.write("large.cfg", &enlarged(&typical))?;
    let mut section = Section::new(Measure::Check.title());
    for (name, file) in [("typical", "typical.cfg"), ("16 MiB", "large.cfg")] {
        let path = setup.testbed.node.path(file).display().to_string();
        let check = setup.agent(&["check", "--offline", "--executor-cfg", &path])?;
        let mut usages = Vec::new();
        for _ in 0..plan.runs {
            usages.push(check.run().await?);
        }
        let usage = medians(&usages);
        section.add(Figure::new(format!("CPU, {name} file"), Unit::Seconds, usage.cpu));
        section.add(Figure::new(format!("wall, {name} file"), Unit::Seconds, usage.wall));
        section.add(Figure::new(format!("peak memory, {name} file"), Unit::Bytes, usage.peak));
    }
    Ok(section)
}

/// The same file, padded with comments to the largest size.
fn enlarged(typical: &str) -> String {
    let comment = "# a comment that somebody's provisioning appends at each run, for as long as it exists\n";
    let count = (LARGEST - typical.len()) / comment.len();
    format!("{typical}{}", comment.repeat(count))
}
