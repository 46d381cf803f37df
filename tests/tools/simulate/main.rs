//! `make simulate`: runs the agent's own passes on clusters of 1 to 10,000 nodes, over weeks of simulated time, with
//! outages, throttling, wrong clocks and nodes that come and go. The same seed gives the same numbers.
//!
//! Time, ECR and HDFS are simulated; the nodes run the agent's own code.

mod cluster;
mod node;
mod outages;
mod report;

use std::process::ExitCode;
use std::time::Duration;

use cluster::Cluster;
use outages::Outages;
use report::Outcome;

const USAGE: &str = "usage: simulate [--nodes N,N,...] [--days N] [--seed N] [--json]";
const DAY: Duration = Duration::from_secs(24 * 3600);

struct Options {
    sizes: Vec<usize>,
    days: u32,
    seed: u64,
    json: bool,
}

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("simulate: {problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let mut outcomes = Vec::new();
    for &nodes in &options.sizes {
        eprintln!("simulate: {nodes} nodes for {} days", options.days);
        match simulate(nodes, options.days, options.seed) {
            Ok(outcome) => outcomes.push(outcome),
            Err(error) => {
                eprintln!("simulate: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    if options.json {
        println!("{}", report::json(&outcomes));
    } else {
        print!("{}", report::table(&outcomes));
    }
    let missed: Vec<String> = outcomes.iter().flat_map(Outcome::missed).collect();
    for bar in &missed {
        eprintln!("simulate: {bar}");
    }
    if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn simulate(nodes: usize, days: u32, seed: u64) -> Result<Outcome, Box<dyn std::error::Error>> {
    // Time stands still while any task is runnable, and then jumps to the next timer.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let span = DAY * days;
    let outages = Outages::draw(span, seed);
    let local = tokio::task::LocalSet::new();
    let counts = local.block_on(&runtime, async {
        let cluster = Cluster::new(outages);
        node::live(&cluster, nodes, span, seed).await?;
        Ok::<_, Box<dyn std::error::Error>>(cluster.end())
    })?;
    Ok(Outcome::of(nodes, days, &counts))
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self { sizes: vec![1, 10, 100, 1_000, 10_000], days: 30, seed: 1, json: false };
        while let Some(name) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{name} needs a value"));
            match name.as_str() {
                "--nodes" => {
                    options.sizes = value()?.split(',').map(number).collect::<Result<_, _>>()?;
                }
                "--days" => options.days = number(&value()?)?,
                "--seed" => options.seed = number(&value()?)?,
                "--json" => options.json = true,
                other => return Err(format!("unknown option {other:?}")),
            }
        }
        Ok(options)
    }
}

fn number<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("{text:?} is not a number"))
}
