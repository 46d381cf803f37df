//! The directory of the published file, which the agents create if they are to have their own.

use domain::documents::Document;
use domain::settings::PublishedSettings;

use super::HdfsError;
use super::connection::{Connection, NewFile};

const MODE: u32 = 0o755;

/// Creates a file next to the published one; with [`PublishedSettings::secure_directory`], also its directory.
pub(super) async fn create(
    hdfs: &Connection,
    settings: &PublishedSettings,
    path: &str,
    new: NewFile,
    document: &Document,
) -> Result<(), HdfsError> {
    let Err(error) = hdfs.create(path, new.clone(), document).await else { return Ok(()) };
    let directory = settings.path.directory();
    if matches!(error, HdfsError::AlreadyExists { .. }) || !matches!(hdfs.status(directory).await, Ok(None)) {
        return Err(error);
    }
    let uri = hdfs.uri(directory);
    if !settings.secure_directory {
        return Err(HdfsError::NoDirectory { uri });
    }
    if let Err(source) = hdfs.make_directory(directory, MODE).await {
        let command = command(directory, settings);
        return Err(HdfsError::NoSecureDirectory { uri, command, source: Box::new(source) });
    }
    tracing::info!(directory = uri, "created directory");
    hdfs.create(path, new, document).await
}

/// The command that an operator runs once, on any node, if the agents may not create it.
fn command(directory: &str, settings: &PublishedSettings) -> String {
    let writer = settings.writer();
    format!(
        "sudo -u hdfs sh -c 'hdfs dfs -mkdir -p {directory} && hdfs dfs -chown {writer} {directory} && hdfs dfs -chmod 755 {directory}'"
    )
}
