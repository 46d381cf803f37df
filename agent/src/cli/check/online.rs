//! The online part of a check: HDFS for the client config, Docker, ECR for tokens, registries for the images.

use std::collections::BTreeSet;
use std::path::PathBuf;

use domain::check::{
    self, AwsAnswer, ClientConfig, Content, ImageReference, Inputs, Readers, Report, TextFile,
};
use domain::credentials::{Secret, TokenScope};
use domain::documents::PublishedPath;
use domain::documents::plan::{Found, Plan};
use domain::settings::Settings;
use hadoop_rules::client_config;

use super::super::{Exit, runtime};
use crate::io::docker::DockerApi;
use crate::io::ecr::Ecr;
use crate::io::node::{access, text_file};
use crate::io::{hadoop_conf, registry};
use crate::sink::{Intent, SharedSink as _, Sink as _};
use crate::wiring;

/// Where a job's client config is.
enum Location {
    Hdfs(PublishedPath),
    Local(PathBuf),
    /// On a file system that only the NodeManager reads.
    Elsewhere,
}

/// Checks the inputs with the answers of HDFS, Docker and, unless `offline`, AWS and the registries; `client_config`
/// is the URI that the job names.
pub(in crate::cli) fn check(
    settings: &Settings,
    mut inputs: Inputs<'_>,
    client_config: Option<&str>,
    offline: bool,
) -> Result<Report, Exit> {
    let of_job = inputs.spark.as_ref().and_then(|spark| spark.client_config().map(str::to_owned));
    let uri = client_config.map(str::to_owned).or(of_job);
    let runtime = runtime()?;
    let report = runtime.block_on(async {
        let read = self::client_config(uri.as_deref(), settings, &mut inputs).await;
        if settings.names_hadoops_own_conf_dir() {
            query_docker(&mut inputs).await;
        }
        if !offline {
            fetch_tokens(settings, &mut inputs).await;
        }
        let mut report = check::run(&inputs);
        if offline {
            report.not_checked.push("AWS and the registries, because of --offline".to_owned());
        } else {
            find_images(read.as_deref(), &mut report).await;
        }
        report
    });
    // A call that still hangs must not delay the output.
    runtime.shutdown_background();
    Ok(report)
}

/// Reads the file that a job names by `uri`, or the published one, adds it to the inputs, and returns its content.
pub(in crate::cli) async fn client_config(
    uri: Option<&str>,
    settings: &Settings,
    inputs: &mut Inputs<'_>,
) -> Option<Vec<u8>> {
    let location = match uri {
        Some(uri) => location(uri),
        None => Ok(Location::Hdfs(settings.published.path.clone())),
    };
    let name = uri.map_or_else(|| settings.published.path.to_string(), str::to_owned);
    let known = match location {
        Ok(Location::Hdfs(path)) => known_host(&path, settings).await.map(|()| Location::Hdfs(path)),
        other => other,
    };
    let content_of = |content| TextFile { path: name.clone(), content };
    let config = match known {
        Ok(Location::Hdfs(path)) => published(path, name.clone(), settings).await,
        Ok(Location::Local(path)) => {
            let content = text_file(&path).content;
            ClientConfig { access: access(&path), file: content_of(content), readers: Readers::All }
        }
        Ok(Location::Elsewhere) => {
            let why = "only the NodeManager reads that file system".to_owned();
            let file = content_of(Content::Unreadable(why));
            ClientConfig { file, access: None, readers: Readers::NodeManagersOnly }
        }
        Err(why) => {
            ClientConfig { file: content_of(Content::Absent), access: None, readers: Readers::Nobody(why) }
        }
    };
    let bytes = config.file.bytes().map(<[u8]>::to_vec);
    inputs.client_config = Some(config);
    bytes
}

/// The client config at a URI that no NodeManager could read, or `None`. Does not read the file itself.
pub(in crate::cli) fn misplaced(uri: &str) -> Option<ClientConfig> {
    let why = location(uri).err()?;
    let file = TextFile { path: uri.to_owned(), content: Content::Absent };
    Some(ClientConfig { file, access: None, readers: Readers::Nobody(why) })
}

/// Parses the URI like Hadoop's `Path`.
fn location(uri: &str) -> Result<Location, String> {
    /// Hadoop's and Amazon's file systems that are not read here.
    const OTHERS: [&str; 9] = ["s3", "s3a", "s3n", "http", "https", "webhdfs", "swebhdfs", "har", "ftp"];
    let before_slash = uri.split('/').next().unwrap_or_default();
    let Some((scheme, _)) = before_slash.split_once(':') else {
        // Relative paths start at the home directory of the NodeManager's user.
        let path = if uri.starts_with('/') { uri.to_owned() } else { format!("/user/yarn/{uri}") };
        let path = PublishedPath::parse(&path).ok_or_else(|| format!("`{uri}` names no file"))?;
        return Ok(Location::Hdfs(path));
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || "+.-".contains(c);
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(allowed) {
        return Err(format!(
            "`{uri}` is not a URI: its scheme `{scheme}` has characters that no scheme may have"
        ));
    }
    match scheme {
        "hdfs" | "viewfs" if !uri[scheme.len()..].starts_with("://") => {
            let path = PublishedPath::parse(&uri[scheme.len() + 1..]);
            path.map(Location::Hdfs).ok_or_else(|| format!("`{uri}` names no file"))
        }
        "hdfs" | "viewfs" => {
            PublishedPath::parse(uri).map(Location::Hdfs).ok_or_else(|| format!("`{uri}` names no file"))
        }
        "file" => {
            let path = uri.trim_start_matches("file:");
            let path = path.strip_prefix("//").unwrap_or(path);
            Ok(Location::Local(PathBuf::from(path)))
        }
        scheme if OTHERS.contains(&scheme) => Ok(Location::Elsewhere),
        scheme => Err(format!("Hadoop has no file system `{scheme}`, which `{uri}` names")),
    }
}

/// Checks that the path's NameNode is the cluster's own or at least has an address.
async fn known_host(path: &PublishedPath, settings: &Settings) -> Result<(), String> {
    if is_own(path, settings) {
        return Ok(());
    }
    let host = authority(path).unwrap_or_default().split(':').next().unwrap_or_default();
    match tokio::net::lookup_host((host, 0)).await {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("{path} names the NameNode `{host}`, which has no address")),
    }
}

/// Whether the path is on the cluster's default file system, or on one that its configuration names.
fn is_own(path: &PublishedPath, settings: &Settings) -> bool {
    let Some(authority) = authority(path) else { return true };
    let properties = hadoop_conf::client_properties(&settings.hadoop_conf_dir).unwrap_or_default();
    let property = |name: &str| properties.get(name).map(String::as_str).unwrap_or_default();
    let own = property("fs.defaultFS").split_once("://").map(|(_, rest)| rest.trim_end_matches('/'));
    let host = authority.split(':').next().unwrap_or_default();
    own == Some(authority) || property("dfs.nameservices").split(',').any(|name| name.trim() == host)
}

fn authority(path: &PublishedPath) -> Option<&str> {
    path.file_system()?.split_once("://").map(|(_, rest)| rest)
}

/// Reads the file like an HDFS client.
pub(in crate::cli) async fn published(
    path: PublishedPath,
    name: String,
    settings: &Settings,
) -> ClientConfig {
    let is_foreign = !is_own(&path, settings);
    let mut settings = settings.clone();
    settings.published.path = path;
    let mut sink = wiring::published(&settings);
    let reconciled = sink.reconcile(Box::new(|_| Plan::Keep), Intent::DryRun).await;
    let content = match reconciled {
        Ok(reconciled) => match reconciled.found {
            Found::Absent { .. } => Content::Absent,
            Found::Unreadable { why, .. } => Content::Unreadable(why),
            Found::File { document, .. } => Content::Bytes(document.bytes().to_vec()),
        },
        Err(problem) => Content::Unreadable(problem.message),
    };
    let access = if content == Content::Absent { None } else { sink.access().await.ok().flatten() };
    let content = match content {
        Content::Unreadable(_) if access.as_ref().is_some_and(|access| access.is_directory) => {
            Content::Directory
        }
        content => content,
    };
    let readers = match &content {
        // The cluster's own NameNode may be down for a while; another one may never answer.
        Content::Unreadable(why) if access.is_none() && is_foreign => Readers::Nobody(why.clone()),
        _ => Readers::All,
    };
    ClientConfig { file: TextFile { path: name, content }, access, readers }
}

/// Queries Docker for the images and networks of the request.
async fn query_docker(inputs: &mut Inputs<'_>) {
    let networks = check::networks_of_interest(inputs);
    let engine = DockerApi::new().inspect(&check::images_of_interest(inputs), &networks).await;
    if let Some(node) = inputs.node.as_mut().filter(|node| node.runs_containers) {
        node.docker = Some(engine);
    }
}

/// Fetches a token for each scope of the configured and the trusted registries.
async fn fetch_tokens(settings: &Settings, inputs: &mut Inputs<'_>) {
    let trusted = check::run(inputs).trusted_registries();
    let scopes: BTreeSet<TokenScope> =
        settings.wanted_registries(&trusted).into_iter().map(|wanted| wanted.scope).collect();
    let ecr = Ecr::new(settings.deadlines.ecr);
    let Some(node) = &mut inputs.node else { return };
    for scope in scopes {
        let fetched = ecr.fetch(&scope).await;
        if let Some(skew) = fetched.clock_skew {
            node.clock_skew = skew.as_secs();
        }
        let outcome = fetched.outcome();
        node.aws.push(AwsAnswer { scope, outcome });
    }
}

/// Looks up each image that is not on the node in its registry, with the credential that a pull would use.
async fn find_images(client_config: Option<&[u8]>, report: &mut Report) {
    let credentials = client_config.and_then(|bytes| client_config::read(bytes).ok()).unwrap_or_default();
    let architecture = check::docker_architecture(std::env::consts::ARCH);
    for image in &mut report.images {
        if !image.name_valid || image.on_node == Some(true) && !image.is_updated {
            continue;
        }
        let key = image.credential.as_ref().map(|credential| credential.registry.as_str());
        // An update pulls with root's own credentials, which are not read here.
        let key = key.filter(|_| !image.is_updated);
        let auth = key.and_then(|key| credentials.get(key)).map(|auth| Secret::new(auth.expose()));
        let answer =
            registry::find_image(&ImageReference::parse(&image.image), auth.as_ref(), architecture).await;
        let findings = check::of_registry(&image.image, &answer, architecture);
        image.add_registry_answer(&answer, &findings);
        report.findings.extend(findings);
    }
    report.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity()));
}
