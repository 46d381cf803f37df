//! `make model`: explores, up to a bound, every order in which three nodes, an attacker and mishaps can act. The
//! nodes' decisions are the agent's own code.

mod cluster;
mod healing;
mod node;
mod outside;
mod sights;

use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Instant;

use cluster::{Bound, Cluster};
use outside::Trouble;
use sights::Sight;
use stateright::{Checker, HasDiscoveries, Model};

const USAGE: &str = "usage: model [--small]";

fn main() -> ExitCode {
    let bounds = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => &BOUNDS[..],
        [only] if only == "--small" => &SMALL[..],
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let mut seen = [0; Sight::ALL.len()];
    println!(
        "| from | ticks | surprises | states | different | depth | s | calls to ECR | passes without a token | ticks to heal |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for bound in bounds {
        let cluster = search(*bound);
        if !cluster.holds {
            return ExitCode::FAILURE;
        }
        for (sum, count) in seen.iter_mut().zip(cluster.seen) {
            *sum += count;
        }
    }
    let mut holds = true;
    for (sight, count) in Sight::ALL.into_iter().zip(seen) {
        println!("{}: {count} times", sight.as_str());
        if count == 0 {
            eprintln!("model: it never happened that {}", sight.as_str());
            holds = false;
        }
    }
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Searched {
    holds: bool,
    seen: [u64; Sight::ALL.len()],
}

fn search(bound: Bound) -> Searched {
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = Cluster::new(bound)
        .checker()
        .threads(threads)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let cluster = checker.model();
    println!(
        "| {} | {} | {} | {} | {} | {} | {:.0} | {} | {} | {} |",
        bound.name,
        bound.ticks,
        bound.surprises,
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        began.elapsed().as_secs_f64(),
        cluster.most_issued.load(Ordering::Relaxed),
        cluster.most_hungry.load(Ordering::Relaxed),
        cluster.healing.longest(),
    );
    let discoveries = checker.discoveries();
    for (property, path) in &discoveries {
        eprintln!("model: not so: {property}, after {:?}", path.clone().into_actions());
    }
    Searched { holds: discoveries.is_empty(), seen: Sight::ALL.map(|sight| cluster.sights.count(sight)) }
}

/// Takes a minute on two cores.
const BOUNDS: [Bound; 5] = [
    Bound { name: "boot", begins: 0, trouble: None, ticks: 6, surprises: 1 },
    Bound { name: "boot", begins: 0, trouble: None, ticks: 1, surprises: 2 },
    Bound { name: "renewal", begins: 7, trouble: None, ticks: 5, surprises: 1 },
    Bound { name: "renewal", begins: 7, trouble: None, ticks: 4, surprises: 2 },
    Bound { name: "expiry", begins: 7, trouble: Some((Trouble::NoEcr, 6)), ticks: 5, surprises: 1 },
];

/// Takes some seconds without optimization.
const SMALL: [Bound; 2] = [
    Bound { name: "boot", begins: 0, trouble: None, ticks: 3, surprises: 1 },
    Bound { name: "renewal", begins: 7, trouble: None, ticks: 3, surprises: 1 },
];
