//! The time until the health endpoint listens and until the file is published, compared with the start of a JVM.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use emr_ecr_agent_tests::testbed::SOON;
use tokio::time::sleep;

use crate::Outcome;
use crate::figures::{Bar, Figure, Section, Unit, median};
use crate::plan::{Measure, Plan};
use crate::setup::Setup;

#[derive(Debug, thiserror::Error)]
#[error("timed out waiting for {what}")]
struct TooLate {
    what: &'static str,
}

pub(crate) async fn measure(setup: &Setup, plan: &Plan) -> Outcome<Section> {
    let help = setup.hadoop_fs(false, &["-help"])?;
    let quick_help = setup.hadoop_fs(true, &["-help"])?;
    let [mut listening, mut published, mut jvm, mut quick_jvm] = [const { Vec::new() }; 4];
    for _ in 0..plan.runs {
        setup.clear().await?;
        let (listens_after, publishes_after) = start(setup).await?;
        listening.push(listens_after.as_secs_f64());
        published.push(publishes_after.as_secs_f64());
        jvm.push(help.run().await?.wall);
        quick_jvm.push(quick_help.run().await?.wall);
    }
    let mut section = Section::new(Measure::Start.title());
    let (listening, published) = (median(listening), median(published));
    let (jvm, quick_jvm) = (median(jvm), median(quick_jvm));
    let listens = |name, other| Figure::new("until it listens", Unit::Seconds, listening).beside(name, other);
    section.add(listens("`hadoop fs -help`", jvm).bar(Bar::TimesLess(20.0)));
    section.add(listens("the same, JVM with class archive", quick_jvm));
    section.add(
        Figure::new("until the file is published", Unit::Seconds, published).beside("`hadoop fs -help`", jvm),
    );
    Ok(section)
}

async fn start(setup: &Setup) -> Outcome<(Duration, Duration)> {
    let renames = setup.calls_of("rename2");
    let began = Instant::now();
    let mut agent = setup.testbed.start()?;
    // The agent makes no calls before it listens, so it is safe to block the stand-ins, which share this thread.
    let listens_after = listened(setup.testbed.listen(), began)?;
    while setup.calls_of("rename2") == renames {
        if began.elapsed() > SOON {
            return Err(TooLate { what: "the published file" }.into());
        }
        sleep(POLL).await;
    }
    let publishes_after = began.elapsed();
    agent.terminate(SOON).await?;
    Ok((listens_after, publishes_after))
}

const POLL: Duration = Duration::from_millis(1);

fn listened(address: SocketAddr, began: Instant) -> Result<Duration, TooLate> {
    while began.elapsed() < SOON {
        if TcpStream::connect(address).is_ok() {
            return Ok(began.elapsed());
        }
        // Milliseconds count, so do not sleep.
        std::thread::yield_now();
    }
    Err(TooLate { what: "the health endpoint" })
}
