//! What the node's own systemd says of the units as installed.

use crate::machine::{Machine, User};
use crate::{Outcome, ensure};

/// In tenths, as systemd-analyze takes it.
const HIGHEST_EXPOSURE: u32 = 20;

/// The exposure level, once `systemd-analyze verify` is silent on the base unit alone and with its drop-in.
pub async fn are_sound(node: &Machine) -> Outcome<String> {
    // Under another name, so that the drop-in does not apply.
    let base =
        "mkdir -p /run/verified && cp /etc/systemd/system/emr-ecr-agent.service /run/verified/base.service &&
        systemd-analyze verify /run/verified/base.service; rm -r /run/verified";
    for verify in ["systemd-analyze verify /etc/systemd/system/emr-ecr-agent.service", base] {
        let output = node.run(User::Root, verify).await?;
        ensure(output.is_empty(), || output)?;
    }
    let judge =
        format!("systemd-analyze security --no-pager --threshold={HIGHEST_EXPOSURE} emr-ecr-agent.service");
    let table = node.attempt(User::Root, &judge).await?;
    ensure(table.code == 0, || format!("too much is exposed: {}", table.text))?;
    let level = table.text.lines().find(|line| line.contains("exposure level"));
    Ok(level.ok_or("systemd-analyze tells no level")?.trim().to_owned())
}
