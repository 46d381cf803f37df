//! `cluster`: all nodes at a glance, from any machine of the cluster.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use domain::check::{ClientConfig, Content, SiteContent, closed_to_node_manager};
use domain::cluster::{
    ClusterReport, Found, NodeNote, NodeReport, Seen, Source, Word, YarnNode, web_addresses,
};
use domain::documents::Document;
use domain::settings::Settings;
use domain::time::friendly;
use hadoop_rules::client_config;
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;

use super::check::{online, printable};
use super::{ConfigOption, Exit, FAILURE, count, output, runtime};
use crate::io::status_client::{self, Endpoint};
use crate::io::{chain, hadoop_conf, resource_manager};
use crate::wiring;

/// Exit code: the cluster's state is unknown.
const UNKNOWN: u8 = 3;

/// Deadline for one agent. Closed listeners refuse immediately.
const DEADLINE: Duration = Duration::from_secs(2);
/// Limit on querying all agents, for a firewall that drops requests.
const ASKING: Duration = Duration::from_secs(20);
/// Agents queried concurrently.
const AT_ONCE: usize = 64;
/// Notes read within one deadline for HDFS.
const NOTES_AT_ONCE: usize = 512;
/// Entries of the published file to show.
const MOST_SHOWN: usize = 20;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigOption,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Exit> {
    let settings = options.config.read()?;
    let runtime = runtime()?;
    let found = runtime.block_on(observe(&settings));
    // A call that still hangs must not delay the output.
    runtime.shutdown_background();
    let report = ClusterReport::new(found, Timestamp::now());
    if options.json {
        output::print_json(&report)?;
    } else {
        output::print(&render(&report))?;
    }
    Ok(match report.ready {
        Some(true) => ExitCode::SUCCESS,
        Some(false) => ExitCode::from(FAILURE),
        None => ExitCode::from(UNKNOWN),
    })
}

async fn observe(settings: &Settings) -> Found {
    let yarn_site = hadoop_conf::yarn_site(&settings.hadoop_conf_dir.join("yarn-site.xml"), true);
    let yarn = match yarn_site.content {
        SiteContent::Loaded { resolved, .. } => {
            resource_manager::fetch_nodes(&web_addresses(resolved.values())).await
        }
        SiteContent::Absent => Err(format!("{} does not exist", yarn_site.path)),
        SiteContent::Unusable { why, .. } => Err(why),
    };
    let path = settings.published.path.to_string();
    let published = seen(online::published(settings.published.path.clone(), path.clone(), settings).await);
    let nodes = yarn.iter().flat_map(|(_, nodes)| nodes).filter(|node: &&YarnNode| !node.is_gone());
    let mut words = query_agents(nodes.map(|node| node.host.clone()), settings.listen.port()).await;
    if !matches!(published, Seen::Unknown(_)) {
        add_notes(settings, &mut words).await;
    }
    Found { yarn, path, published, words }
}

/// The file as YARN reads it for a job.
fn seen(config: ClientConfig) -> Seen {
    let ClientConfig { file, access, .. } = config;
    let closed = access.as_ref().and_then(|access| closed_to_node_manager(&file.path, access));
    match (file.content, closed) {
        (Content::Bytes(_), Some(closed)) => Seen::Unusable(closed),
        (Content::Bytes(bytes), None) => match client_config::read(&bytes) {
            Ok(_) => Seen::File(Document::new(bytes)),
            Err(error) => Seen::Unusable(chain(&error)),
        },
        (Content::Absent, _) => Seen::Unusable("it does not exist".to_owned()),
        (Content::Directory, _) => Seen::Unusable("it is a directory".to_owned()),
        (Content::Unreadable(why), _) if access.is_some() => Seen::Unusable(why),
        (Content::Unreadable(why), _) => Seen::Unknown(why),
    }
}

/// Queries the agents' health listeners.
async fn query_agents(
    hosts: impl Iterator<Item = String>,
    port: u16,
) -> BTreeMap<String, Result<Word, String>> {
    let (mut words, mut hosts) = (BTreeMap::new(), hosts.fuse());
    let (mut asking, began) = (JoinSet::new(), Instant::now());
    loop {
        while asking.len() < AT_ONCE
            && let Some(host) = hosts.next()
        {
            if began.elapsed() > ASKING {
                words.insert(host, Err("not queried, because other agents did not answer".to_owned()));
                continue;
            }
            asking.spawn(async move {
                let endpoint = Endpoint::Address(format!("{host}:{port}"));
                (status_client::status_within(&endpoint, DEADLINE).await, host)
            });
        }
        let Some(joined) = asking.join_next().await else { return words };
        let Ok((answer, host)) = joined else { continue };
        let word = answer.map(|(_, report)| Word {
            note: NodeNote::of(&report),
            source: Source::Status,
            written_at: None,
        });
        words.insert(host, word.map_err(|error| chain(&error)));
    }
}

/// Adds the notes of the agents that did not answer.
async fn add_notes(settings: &Settings, words: &mut BTreeMap<String, Result<Word, String>>) {
    let silent: Vec<String> =
        words.iter().filter(|(_, word)| word.is_err()).map(|(host, _)| host.clone()).collect();
    let mut sink = wiring::published(settings);
    for hosts in silent.chunks(NOTES_AT_ONCE) {
        let found = sink.notes(hosts.to_vec()).await;
        let why = match &found {
            Ok(_) => "it has no note".to_owned(),
            Err(error) => chain(error),
        };
        for host in hosts {
            if let Some(Err(silence)) = words.get_mut(host) {
                let _ = write!(silence, "; {why}");
            }
        }
        words.extend(found.into_iter().flatten().map(|(host, word)| (host, Ok(word))));
    }
}

fn render(report: &ClusterReport) -> String {
    let mut text = String::new();
    let mut line = |words: &str| {
        text.push_str(&printable(words.trim_end()));
        text.push('\n');
    };
    let ClusterReport { published, resource_manager: yarn, .. } = report;
    let ago = |at: Timestamp| friendly(report.time.duration_since(at).max(SignedDuration::ZERO));
    let state = match (&published.error, &published.publisher, published.published_at) {
        (Some(error), ..) => error.clone(),
        (None, Some(by), Some(at)) => {
            format!("usable; according to the file, {by} published it {} ago", ago(at))
        }
        (None, ..) => "usable".to_owned(),
    };
    line(&format!("published  {}: {state}", published.path));
    for entry in published.registries.iter().take(MOST_SHOWN) {
        let left = match (entry.expires_at, entry.seconds_left) {
            (Some(at), Some(left @ 1..)) => {
                format!("expires {at:.0}, in {}", friendly(SignedDuration::from_secs(left)))
            }
            (Some(at), _) => format!("expired {at:.0}"),
            (None, _) => "its expiry is unknown".to_owned(),
        };
        line(&format!("           {}: {left}", entry.registry));
    }
    if published.registries.len() > MOST_SHOWN {
        line(&format!("           and {} more", published.registries.len() - MOST_SHOWN));
    }
    line(&match (&yarn.error, &yarn.url) {
        (None, Some(url)) => {
            let gone =
                if report.gone.is_empty() { String::new() } else { format!(", {} gone", report.gone.len()) };
            format!("yarn       {url}: {}{gone}", count(report.nodes.len(), "node"))
        }
        (error, _) => format!("yarn       {}", error.as_deref().unwrap_or_default()),
    });
    if !report.nodes.is_empty() {
        line("");
        table(&report.nodes, &mut line);
    }
    line("");
    line(&report.summary);
    text
}

fn table(nodes: &[NodeReport], line: &mut impl FnMut(&str)) {
    const HEAD: [&str; 5] = ["NODE", "YARN", "READY", "SOURCE", "WHY"];
    let row = |node: &NodeReport| {
        let ready = match node.ready {
            Some(true) => "yes",
            Some(false) => "no",
            None => "unknown",
        };
        let source = match (node.source, node.age_seconds) {
            (Some(Source::Status), _) => "its /status".to_owned(),
            (Some(Source::File), Some(age)) => {
                format!("its note, {} old", friendly(SignedDuration::from_secs(age)))
            }
            (Some(Source::File), None) => "its note".to_owned(),
            (None, _) => "none".to_owned(),
        };
        [node.node.clone(), node.state.clone(), ready.to_owned(), source, node.why()]
    };
    let rows: Vec<[String; 5]> =
        std::iter::once(HEAD.map(str::to_owned)).chain(nodes.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let (node, yarn, ready, source) = (width(0), width(1), width(2), width(3));
    for [a, b, c, d, e] in &rows {
        line(&format!("{a:node$}  {b:yarn$}  {c:ready$}  {d:source$}  {e}"));
    }
}
