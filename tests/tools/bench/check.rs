//! Validation: `check` of a container-executor.cfg as EMR has it, and of one of 16 MiB.

use crate::Outcome;
use crate::figures::{Figure, Section, Unit};
use crate::meter::medians;
use crate::plan::{Measure, Plan};
use crate::setup::{Setup, read};

/// As large as a file may be to be read at all.
const LARGEST: usize = 16 << 20;

pub async fn measure(setup: &Setup, plan: &Plan) -> Outcome<Section> {
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

/// The same with comments up to the size, as a file that something appends to for ever.
fn enlarged(typical: &str) -> String {
    let comment = "# a comment that somebody's provisioning appends at each run, to the end of its days\n";
    let count = (LARGEST - typical.len()) / comment.len();
    format!("{typical}{}", comment.repeat(count))
}
