//! Node notes, one file per node below the published file's directory.

use domain::cluster::{LARGEST_NOTE, NodeNote, Source, Word};
use domain::documents::Document;
use domain::settings::PublishedSettings;
use jiff::Timestamp;
use tokio::task::JoinSet;

use super::connection::{Connection, NewFile};
use super::{HdfsError, PublishedSink};

const DIRECTORY: &str = ".emr-ecr-agent/nodes";
const DIRECTORY_MODE: u32 = 0o755;
const MODE: u32 = 0o644;
/// The limit on a file's name, minus room for prefix and suffix.
const LONGEST_HOST: usize = 240;
/// Notes read concurrently.
const AT_ONCE: usize = 32;

/// Writes this node's note under a temporary name and renames it. Each node has one temporary name, so the next write
/// removes what a crash leaves.
pub(super) async fn write(published: &mut PublishedSink, note: &NodeNote) -> Result<(), HdfsError> {
    let (host, document) = (published.node.clone(), Document::new(note.render()));
    let written = published.with_connection(move |hdfs, settings| async move {
        let Some(path) = path_of(&settings, &host) else { return Ok(()) };
        let temporary = settings.path.sibling(&format!("{DIRECTORY}/.{host}.json.new"));
        match create(&hdfs, &settings, &temporary, &document).await {
            Err(HdfsError::AlreadyExists { .. }) => {
                hdfs.delete(&temporary).await?;
                create(&hdfs, &settings, &temporary, &document).await?;
            }
            Err(error) => {
                let directory = settings.path.sibling(DIRECTORY);
                if !matches!(hdfs.status(&directory).await, Ok(None)) {
                    return Err(error);
                }
                hdfs.make_directory(&directory, DIRECTORY_MODE).await?;
                create(&hdfs, &settings, &temporary, &document).await?;
            }
            Ok(()) => {}
        }
        hdfs.rename_over(&temporary, &path).await
    });
    written.await
}

/// Removes this node's note.
pub(super) async fn remove(published: &mut PublishedSink) -> Result<(), HdfsError> {
    let host = published.node.clone();
    let removed = published.with_connection(move |hdfs, settings| async move {
        match path_of(&settings, &host) {
            Some(path) => hdfs.delete(&path).await.map(drop),
            None => Ok(()),
        }
    });
    removed.await
}

/// Reads the notes that these hosts have left, all within one deadline.
pub(super) async fn read(
    published: &mut PublishedSink,
    hosts: Vec<String>,
) -> Result<Vec<(String, Word)>, HdfsError> {
    let read = published.with_connection(|hdfs, settings| async move {
        let mut words = Vec::new();
        let mut hosts = hosts.into_iter();
        let mut reading = JoinSet::new();
        loop {
            while reading.len() < AT_ONCE
                && let Some(host) = hosts.next()
            {
                let (hdfs, settings) = (hdfs.clone(), settings.clone());
                reading.spawn(async move { (read_one(&hdfs, &settings, &host).await, host) });
            }
            let Some(read) = reading.join_next().await else { return Ok(words) };
            // After a panic, one node's note is missing.
            let Ok((word, host)) = read else { continue };
            words.extend(word?.map(|word| (host, word)));
        }
    });
    read.await
}

async fn read_one(
    hdfs: &Connection,
    settings: &PublishedSettings,
    host: &str,
) -> Result<Option<Word>, HdfsError> {
    let Some(path) = path_of(settings, host) else { return Ok(None) };
    let Some(status) = hdfs.status(&path).await? else { return Ok(None) };
    if status.isdir || status.length > LARGEST_NOTE || !settings.is_by_an_agent(&status.owner) {
        return Ok(None);
    }
    // The note may have just been replaced, or no DataNode has it; it is only a hint.
    let Ok(document) = hdfs.read(&path).await else { return Ok(None) };
    let millis = i64::try_from(status.modification_time).ok();
    let written_at = millis.and_then(|millis| Timestamp::from_millisecond(millis).ok());
    Ok(NodeNote::read(document.bytes()).map(|note| Word { note, source: Source::File, written_at }))
}

async fn create(
    hdfs: &Connection,
    settings: &PublishedSettings,
    path: &str,
    document: &Document,
) -> Result<(), HdfsError> {
    let PublishedSettings { replication, owner, group, .. } = settings;
    let new = NewFile { mode: MODE, replication: *replication, owner: owner.clone(), group: group.clone() };
    hdfs.create(path, new, document).await
}

/// `None` unless `host` is a host name.
fn path_of(settings: &PublishedSettings, host: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_name = (1..=LONGEST_HOST).contains(&host.len()) && host.chars().all(plain);
    is_name.then(|| settings.path.sibling(&format!("{DIRECTORY}/{}.json", host.to_ascii_lowercase())))
}
