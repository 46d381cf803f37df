//! The part of a check that calls others: HDFS for the published file, ECR for a token, registries for the
//! images.

use std::collections::BTreeSet;

use domain::check::{
    self, AwsAnswer, ClientConfig, Content, ImageReference, Inputs, Report, Request, TextFile,
};
use domain::credentials::{Secret, TokenScope};
use domain::documents::plan::{Found as Placed, Plan};
use domain::settings::Settings;
use hadoop_rules::client_config;

use crate::io::ecr::Ecr;
use crate::io::registry;
use crate::sink::{Intent, Sink as _};
use crate::wiring;

/// Reads the published file, adds it to the inputs, and returns its content.
pub(super) async fn published(settings: &Settings, inputs: &mut Inputs<'_>) -> Option<Vec<u8>> {
    let mut sink = wiring::published(settings);
    let reconciled = sink.reconcile(Box::new(|_| Plan::Keep), Intent::DryRun).await;
    let content = match reconciled {
        Ok(visit) => match visit.found {
            Placed::Absent => Content::Absent,
            Placed::Unreadable { .. } => Content::Unreadable("no DataNode has its content".to_owned()),
            Placed::File { document, .. } => Content::Bytes(document.bytes().to_vec()),
        },
        Err(problem) => Content::Unreadable(problem.message),
    };
    let file = TextFile { path: sink.path(), content };
    let bytes = file.bytes().map(<[u8]>::to_vec);
    let access = if bytes.is_some() { sink.access().await.ok().flatten() } else { None };
    inputs.client_config = Some(ClientConfig { file, access });
    bytes
}

/// Asks each scope of the settings' and the trusted registries for a token.
pub(super) async fn ask_aws(settings: &Settings, inputs: &mut Inputs<'_>) {
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

/// Asks the registry of each image for its manifest, with the published credential.
pub(super) async fn ask_registries(published: Option<&[u8]>, request: &Request, report: &mut Report) {
    let credentials = published.and_then(|bytes| client_config::read(bytes).ok()).unwrap_or_default();
    for (image, judged) in request.images.iter().zip(&report.images) {
        let Ok(name) = std::str::from_utf8(image) else { continue };
        if !judged.name_valid {
            continue;
        }
        let key = judged.credential.as_ref().map(|credential| credential.registry.as_str());
        let auth = key.and_then(|key| credentials.get(key)).map(|auth| Secret::new(auth.expose()));
        let architecture = check::docker_architecture(std::env::consts::ARCH);
        let answer = registry::ask(&ImageReference::parse(name), auth.as_ref(), architecture).await;
        report.findings.extend(check::of_registry(name, &answer, architecture));
    }
    report.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity()));
}
