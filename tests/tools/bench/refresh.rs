//! A refresh: fetch a token, write the node's Docker config, publish the copy on HDFS. By the agent, by the script
//! it replaces, and, for the upload alone, by a client without a JVM.

use emr_ecr_agent_tests::node::{REGION, TRUSTED_REGISTRY};
use emr_ecr_agent_tests::parts::Part;

use crate::Outcome;
use crate::figures::{Bar, Figure, Section, Unit, median};
use crate::meter::{Measured, Usage, medians};
use crate::plan::{Measure, Plan};
use crate::setup::Setup;

/// The files that a refresh closes: the lock and the document.
const CLOSED_FILES: u64 = 2;

pub(crate) async fn measure(setup: &Setup, plan: &Plan) -> Outcome<Section> {
    setup.testbed.write_settings()?;
    let config = setup.testbed.node.agent_toml().display().to_string();
    let agent = setup.agent(&["once", "--config", &config])?;
    let (script, quick, go) = (script(setup, false)?, script(setup, true)?, go_put(setup)?);

    let [mut by_agent, mut by_script, mut by_quick, mut by_go] = [const { Vec::<Usage>::new() }; 4];
    let (mut held_up, mut plain) = (Vec::new(), Vec::new());
    // The first run only warms the page cache.
    for run in 0..=plan.runs {
        setup.clear().await?;
        let before = setup.calls_of("complete");
        let usage = agent.run().await?;
        let completes = setup.calls_of("complete") - before;
        let walls = if completes > CLOSED_FILES { &mut held_up } else { &mut plain };
        walls.push(usage.wall);
        by_agent.push(usage);
        setup.clear().await?;
        by_script.push(script.run().await?);
        setup.clear().await?;
        by_quick.push(quick.run().await?);
        setup.clear().await?;
        by_go.push(go.run().await?);
        if run == 0 {
            let all = [&mut by_agent, &mut by_script, &mut by_quick, &mut by_go];
            all.into_iter().for_each(Vec::clear);
            [&mut held_up, &mut plain].into_iter().for_each(Vec::clear);
        }
    }
    let mut section = Section::new(Measure::Refresh.title());
    let agent = medians(&by_agent);
    let rows = [
        ("AWS CLI and `hadoop fs -put`", medians(&by_script), Some((150.0, 2.0, 8.0))),
        ("the same, JVM with class archive", medians(&by_quick), None),
        ("Go client, upload alone", medians(&by_go), None),
    ];
    for (name, other, bars) in rows {
        let figure = |what, unit, value, other_value, bar: Option<f64>| {
            let figure = Figure::new(what, unit, value).beside(name, other_value);
            match bar {
                Some(times) => figure.bar(Bar::TimesLess(times)),
                None => figure,
            }
        };
        section.add(figure("CPU", Unit::Seconds, agent.cpu, other.cpu, bars.map(|bars| bars.0)));
        section.add(figure("wall", Unit::Seconds, agent.wall, other.wall, bars.map(|bars| bars.1)));
        section.add(figure("peak memory", Unit::Bytes, agent.peak, other.peak, bars.map(|bars| bars.2)));
    }
    if !held_up.is_empty() && !plain.is_empty() {
        let (count, all) = (held_up.len(), held_up.len() + plain.len());
        let again = format!("asked again ({count} of {all} runs)");
        let figure = Figure::new("wall when `complete` is granted at once", Unit::Seconds, median(plain));
        section.add(figure.beside(&again, median(held_up)));
    }
    section.note(
        "Per process tree; the peak is that of its largest process. The agent's refresh also acquires the refresh \
         lock, probes the token at the registry, reads back what it wrote, and releases the lock.",
    );
    Ok(section)
}

/// The script that cron or a bootstrap action would run instead of the agent.
fn script(setup: &Setup, quick: bool) -> Outcome<Measured> {
    let node = &setup.testbed.node;
    let (config, part) = (node.docker_config().display().to_string(), Part::bench()?);
    let upload = setup.hadoop_fs(quick, &["-put", "-f", &config, setup.published.path()])?;
    let hadoop = upload.args.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    let text = format!(
        "set -eu
password=\"$({aws} ecr get-login-password --region {REGION})\"
auth=\"$(printf 'AWS:%s' \"$password\" | base64 -w0)\"
printf '{{\"auths\":{{\"{TRUSTED_REGISTRY}\":{{\"auth\":\"%s\"}}}}}}' \"$auth\" >'{config}'
exec {hadoop}
",
        aws = part.path("bin/aws").display(),
    );
    let name = if quick { "script-quick.sh" } else { "script.sh" };
    node.write(name, &text)?;
    let path = node.path(name).display().to_string();
    let script = Measured::new("/bin/sh".as_ref(), [path.as_str()]);
    Ok(setup.with_aws(script).env("HADOOP_USER_NAME", "hadoop"))
}

fn go_put(setup: &Setup) -> Outcome<Measured> {
    let document = setup.testbed.node.path("upload.json");
    let text = format!("{{\"auths\":{{\"{TRUSTED_REGISTRY}\":{{\"auth\":\"{}\"}}}}}}", "A".repeat(2600));
    setup.testbed.node.write("upload.json", &text)?;
    let program = Part::bench()?.path("bin/hdfs");
    let args = ["put", &document.display().to_string(), setup.published.path()];
    Ok(Measured::new(&program, args)
        .env("HADOOP_NAMENODE", setup.hdfs.client().authority())
        .env("HADOOP_CONF_DIR", setup.hdfs.client().conf_dir().display().to_string())
        .env("HADOOP_USER_NAME", "hadoop"))
}
