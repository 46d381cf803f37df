//! At rest: the daemon with one registry while nothing changes, and its growth over many refreshes.

use std::collections::BTreeMap;
use std::time::Duration;

use emr_ecr_agent_tests::agent::Agent;
use emr_ecr_agent_tests::testbed::{SOON, TWELVE_HOURS};
use jiff::SignedDuration;
use nix::sys::resource::{UsageWho, getrusage};
use tokio::time::{Instant, sleep};

use crate::Outcome;
use crate::figures::{Bar, Figure, Section, Unit};
use crate::plan::{Measure, Plan};
use crate::process::Snapshot;
use crate::setup::{Setup, Wired};

/// Threads that a library starts, with the library.
const FORCED: [(&str, &str); 1] = [("notify-rs inotify loop", "notify")];
const MIB: f64 = 1024.0 * 1024.0;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the agent has ended")]
    Ended,
    #[error("only {done} of {wanted} refreshes within {} s", within.as_secs())]
    TooSlow { done: usize, wanted: u32, within: Duration },
}

pub(crate) async fn measure(setup: &mut Setup, plan: &Plan) -> Outcome<Section> {
    let mut section = Section::new(Measure::Rest.title());
    setup.clear().await?;
    steady(setup, plan, &mut section).await?;
    setup.clear().await?;
    refreshes(setup, plan, &mut section).await?;
    Ok(section)
}

async fn steady(setup: &Setup, plan: &Plan, section: &mut Section) -> Outcome<()> {
    let switches = switches_of_children()?;
    let began = Instant::now();
    let mut agent = setup.testbed.start_ready().await?;
    // The second pass is the first that finds the published file unchanged; by the third, the client that reads as
    // the NodeManager's user has fetched the server's defaults.
    sleep(PASS_INTERVAL.min(plan.rest) * 2 + SETTLING).await;
    let (before, wired, calls) = (snapshot(&agent)?, setup.wired(), setup.namenode.calls());
    let ecr_calls = setup.testbed.ecr.calls().len();
    sleep(plan.rest).await;
    let (after, now_wired) = (snapshot(&agent)?, setup.wired());
    let rpcs = since(&calls, &setup.namenode.calls());
    let ecr_calls = setup.testbed.ecr.calls().len() - ecr_calls;
    agent.terminate(SOON).await?;
    let switches = (switches_of_children()? - switches) / began.elapsed().as_secs_f64();

    let (seconds, intervals) =
        (plan.rest.as_secs_f64(), plan.rest.as_secs_f64() / PASS_INTERVAL.as_secs_f64());
    section.add(Figure::new("resident", Unit::Bytes, after.resident).bar(Bar::AtMost(12.0 * MIB)));
    if let Some(proportional) = after.proportional {
        section.add(Figure::new("proportional", Unit::Bytes, proportional));
    }
    let cpu = (after.cpu - before.cpu) * 3600.0 / seconds;
    section.add(Figure::new("CPU per hour", Unit::Seconds, cpu).bar(Bar::AtMost(1.0)));
    section.add(
        Figure::new("context switches per second, from exec to end", Unit::Plain, switches)
            .bar(Bar::AtMost(2.0)),
    );
    let live = (after.context_switches - before.context_switches) / seconds;
    section.add(Figure::new("of these, by threads that keep running", Unit::Plain, live));
    let faults = (after.minor_faults - before.minor_faults) / intervals;
    section.add(Figure::new("minor page faults per interval", Unit::Plain, faults));
    let faults = after.major_faults - before.major_faults;
    section.add(Figure::new("major page faults", Unit::Plain, faults));
    section.add(Figure::new("open files", Unit::Plain, after.open_files));
    add_threads(&after.threads, section);
    add_traffic(section, intervals, wired, now_wired);
    let all: u64 = rpcs.values().sum();
    section.add(
        Figure::new("RPCs to the NameNode per interval", Unit::Plain, all as f64 / intervals)
            .bar(Bar::AtMost(1.0)),
    );
    section.add(Figure::new("calls to ECR", Unit::Plain, ecr_calls as f64));
    section.note(format!("RPCs by method: {}.", listed(&rpcs)));
    Ok(())
}

fn add_threads(threads: &BTreeMap<String, usize>, section: &mut Section) {
    let all: usize = threads.values().sum();
    // The kernel truncates names to 15 bytes.
    let forced =
        FORCED.map(|(name, _)| threads.get(&name[..15.min(name.len())]).copied().unwrap_or_default());
    let own = all - forced.iter().sum::<usize>();
    section.add(Figure::new("threads, not counting those of libraries", Unit::Plain, own as f64));
    let names =
        threads.iter().map(|(name, count)| format!("{count} `{name}`")).collect::<Vec<_>>().join(", ");
    section.note(format!("Threads: {names}; `{}` belongs to {}.", &FORCED[0].0[..15], FORCED[0].1));
}

fn add_traffic(section: &mut Section, intervals: f64, before: Wired, after: Wired) {
    let ways = [
        ("the NameNode", after.namenode.since(before.namenode)),
        ("the DataNode", after.datanode.since(before.datanode)),
        ("AWS", after.aws.since(before.aws)),
    ];
    for (name, traffic) in ways {
        let what = format!("bytes to and from {name} per interval");
        section.add(Figure::new(what, Unit::Bytes, traffic.bytes as f64 / intervals));
    }
}

async fn refreshes(setup: &mut Setup, plan: &Plan, section: &mut Section) -> Outcome<()> {
    // Due soon after issue, but valid for as long as HDFS may take to publish it.
    setup.testbed.ecr.set_token_life(SignedDuration::from_secs(2));
    setup.testbed.settings.set("refresh.renew_at", 0.1);
    let outcome = grow(setup, plan).await;
    setup.testbed.ecr.set_token_life(TWELVE_HOURS);
    setup.testbed.settings.set("refresh.renew_at", 0.5);
    let [early, middle, late] = outcome?;

    let (half, all) = (plan.refreshes / 2, plan.refreshes);
    section.add(Figure::new(format!("resident after {} refreshes", all / 10), Unit::Bytes, early.resident));
    section.add(Figure::new(format!("resident after {half} refreshes"), Unit::Bytes, middle.resident));
    section.add(Figure::new(format!("resident after {all} refreshes"), Unit::Bytes, late.resident));
    let growth = (late.resident - middle.resident).max(0.0);
    section.add(
        Figure::new(format!("growth in the last {half} refreshes"), Unit::Bytes, growth)
            .bar(Bar::AtMost(MIB / 4.0)),
    );
    let files = (late.open_files - early.open_files).max(0.0);
    section.add(Figure::new("growth of open files", Unit::Plain, files).bar(Bar::AtMost(0.0)));
    Ok(())
}

/// Takes snapshots after a tenth, half and all of the refreshes.
async fn grow(setup: &Setup, plan: &Plan) -> Outcome<[Snapshot; 3]> {
    let mut agent = setup.testbed.start()?;
    let mut snapshots = Vec::new();
    let calls_before = setup.testbed.ecr.calls().len();
    for wanted in [plan.refreshes / 10, plan.refreshes / 2, plan.refreshes] {
        let began = Instant::now();
        loop {
            agent.still_runs()?;
            let done = setup.testbed.ecr.calls().len() - calls_before;
            if done >= wanted as usize {
                break;
            }
            let within = SLOWEST * plan.refreshes;
            if began.elapsed() > within {
                return Err(Error::TooSlow { done, wanted, within }.into());
            }
            sleep(BEAT).await;
        }
        snapshots.push(idle_snapshot(&agent).await?);
    }
    agent.terminate(SOON).await?;
    snapshots.try_into().map_err(|_| Error::Ended.into())
}

/// Returns the snapshot with the fewest open files out of several, since a pass under way has more.
async fn idle_snapshot(agent: &Agent) -> Outcome<Snapshot> {
    let mut least = snapshot(agent)?;
    for _ in 0..20 {
        sleep(BEAT).await;
        let look = snapshot(agent)?;
        if look.open_files < least.open_files {
            least = look;
        }
    }
    Ok(least)
}

const PASS_INTERVAL: Duration = Duration::from_secs(60);
const SETTLING: Duration = Duration::from_secs(5);
const BEAT: Duration = Duration::from_millis(100);
const SLOWEST: Duration = Duration::from_secs(3);

fn snapshot(agent: &Agent) -> Outcome<Snapshot> {
    Ok(Snapshot::at(agent.process_id().ok_or(Error::Ended)?)?)
}

/// Counts all threads of ended children, which /proc no longer shows.
fn switches_of_children() -> Outcome<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    Ok((usage.voluntary_context_switches() + usage.involuntary_context_switches()) as f64)
}

fn since(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let more = |(name, count): (&String, &u64)| {
        (name.clone(), count - before.get(name).copied().unwrap_or_default())
    };
    after.iter().map(more).filter(|(_, count)| *count > 0).collect()
}

fn listed(calls: &BTreeMap<String, u64>) -> String {
    let listed = calls.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>();
    if listed.is_empty() { "none".to_owned() } else { listed.join(", ") }
}
