//! Checks the installed units with the node's own systemd.

use crate::machine::{Machine, User};
use crate::{Outcome, ensure};

/// In tenths, like systemd-analyze's threshold.
const HIGHEST_EXPOSURE: u32 = 18;

/// Returns the exposure level; an error if `systemd-analyze verify` complains about the base unit, with or without
/// its drop-in.
pub(crate) async fn are_sound(node: &Machine) -> Outcome<String> {
    // Under another name, so that the drop-in does not apply.
    let base =
        "mkdir -p /run/verified && cp /etc/systemd/system/emr-ecr-agent.service /run/verified/base.service &&
        systemd-analyze verify /run/verified/base.service; rm -r /run/verified";
    for verify in ["systemd-analyze verify /etc/systemd/system/emr-ecr-agent.service", base] {
        let output = node.run(User::Root, verify).await?;
        ensure(output.is_empty(), || output)?;
    }
    let analyze =
        format!("systemd-analyze security --no-pager --threshold={HIGHEST_EXPOSURE} emr-ecr-agent.service");
    let table = node.attempt(User::Root, &analyze).await?;
    ensure(table.code == 0, || format!("the exposure is too high: {}", table.text))?;
    let level = table.text.lines().find(|line| line.contains("exposure level"));
    Ok(level.ok_or("systemd-analyze printed no exposure level")?.trim().to_owned())
}
