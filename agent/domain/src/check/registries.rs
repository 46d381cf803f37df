//! The lists of trusted registries: entries that trust nothing, less or more than they seem to.

use std::collections::HashSet;

use hadoop_rules::Rules;
use hadoop_rules::executor_config::{
    DOCKER, ExecutorConfig, PRIVILEGED_REGISTRIES_KEY, TRUSTED_REGISTRIES_KEY, lossy,
};
use hadoop_rules::image_name;
use hadoop_rules::trust::{self, Container};

use super::inputs::Inputs;
use super::template::is_unresolved;
use super::trusts_registry;
use crate::emr::DEFAULT_TRUSTED_REGISTRIES;
use crate::findings::{Code, Finding, Findings, Fix, clipped, codes};
use crate::registry::{EcrRegistry, Service};

/// Longer lists are not written out in fixes.
const LONGEST_LIST: usize = 1_000;

/// The private ECR registries that a configuration trusts for normal containers, in its order.
pub(super) fn trusted_ecr_registries(config: &ExecutorConfig) -> Vec<EcrRegistry> {
    let private = |registry: &EcrRegistry| registry.service() == Service::Private;
    let registry = |entry: &[u8]| EcrRegistry::parse(lossy(entry).split('/').next()?).ok().filter(private);
    let trusted = config.items(DOCKER, TRUSTED_REGISTRIES_KEY);
    let trusted = trusted.filter(|entry| !has_empty_part(entry)).filter_map(registry);
    let mut seen = HashSet::new();
    trusted.filter(|registry| seen.insert(registry.clone())).collect()
}

/// Checks the entries of both lists, and how the lists differ.
pub(super) fn check_lists(path: &str, config: &ExecutorConfig, is_emr: bool, found: &mut Findings) {
    check_entries(path, config, TRUSTED_REGISTRIES_KEY, found);
    if config.rules() != Rules::V3_2 {
        check_entries(path, config, PRIVILEGED_REGISTRIES_KEY, found);
    }
    check_privileged_list(path, config, found);
    if is_emr {
        check_emr_defaults(path, config, found);
    }
}

/// Checks that there is a list, and that it trusts the registries in the settings.
pub(super) fn check_coverage(path: &str, config: &ExecutorConfig, inputs: &Inputs<'_>, found: &mut Findings) {
    let registries = &inputs.registries;
    let Some(entry) =
        config.entry(DOCKER, TRUSTED_REGISTRIES_KEY).filter(|entry| !is_empty_list(entry.value))
    else {
        let fix = match registries.first() {
            Some(registry) => with_entry(config, registry.host().as_str(), inputs),
            None => {
                Fix::manual(format!("in [{DOCKER}], set {TRUSTED_REGISTRIES_KEY} to your registries' hosts"))
            }
        };
        let message =
            format!("{TRUSTED_REGISTRIES_KEY} is not set in the section [docker]: no image is trusted");
        found.add(Finding::new(codes::TRUSTED_LIST_MISSING, message).fix(fix).in_file(path));
        return;
    };
    for registry in registries {
        let image = format!("{}/image", registry.host());
        let below = format!("{}/", registry.host());
        let covered = trust::is_trusted(config, Container::Normal, image.as_bytes())
            || config
                .items(DOCKER, TRUSTED_REGISTRIES_KEY)
                .any(|entry| entry.starts_with(below.as_bytes()) && !has_empty_part(entry));
        if !covered {
            found.add(
                Finding::new(
                    codes::REGISTRY_NOT_TRUSTED,
                    format!(
                        "the settings name {}, which {TRUSTED_REGISTRIES_KEY} does not trust",
                        registry.host()
                    ),
                )
                .fix(with_entry(config, registry.host().as_str(), inputs))
                .in_file(path)
                .at(entry.line)
                .about(entry.value)
                .of_registries(vec![registry.clone()]),
            );
        }
    }
}

/// The list with one more entry, and with EMR's defaults if it becomes an EMR cluster's list, or its first.
pub(super) fn with_entry(config: &ExecutorConfig, entry: &str, inputs: &Inputs<'_>) -> Fix {
    let value = config.get(DOCKER, TRUSTED_REGISTRIES_KEY).unwrap_or_default();
    if value.len() > LONGEST_LIST {
        return Fix::manual(format!("add to {TRUSTED_REGISTRIES_KEY}, without a space: ,{entry}"));
    }
    let mut entries = corrected(value, config.rules());
    let is_first = is_empty_list(value);
    let was_emr = inputs.is_emr(names_ecr(config)) && !is_first;
    let adds_ecr = is_private_ecr(entry) || is_first && !inputs.registries.is_empty();
    let is_emr = inputs.is_emr(adds_ecr);
    if !was_emr && is_emr {
        let lost =
            DEFAULT_TRUSTED_REGISTRIES.iter().filter(|name| !entries.iter().any(|entry| entry == *name));
        entries.splice(0..0, lost.map(|name| (*name).to_owned()).collect::<Vec<_>>());
    }
    // A new list also trusts the registries in the settings.
    let of_settings = inputs.registries.iter().map(|registry| registry.host().as_str());
    let of_settings = of_settings.filter(|_| is_first);
    for entry in of_settings.chain([entry]) {
        if !entries.iter().any(|other| other == entry) {
            entries.push(entry.to_owned());
        }
    }
    Fix::set(DOCKER, TRUSTED_REGISTRIES_KEY, entries.join(","))
}

fn check_entries(path: &str, config: &ExecutorConfig, key: &str, found: &mut Findings) {
    let Some(line) = config.entry(DOCKER, key).filter(|line| !is_empty_list(line.value)) else {
        return;
    };
    for entry in config.items(DOCKER, key) {
        let Some((code, what)) = fault(entry, config.rules()) else { continue };
        if !found.wants(code) {
            continue;
        }
        let fix = match code {
            codes::LIBRARY_TRUSTS_MORE => {
                Fix::manual("remove the entry unless every image of the public registry is meant")
            }
            codes::ENTRY_WITH_PLACEHOLDER => {
                Fix::manual("replace it with the account ID and the Region: the entry is the registry's host")
            }
            codes::ENTRY_MATCHES_NOTHING => {
                Fix::manual("write [host[:port]][/path], the path in lower case: letters, digits and _ . / -")
            }
            codes::ENTRY_NEARLY_ECR => Fix::manual(
                "an ECR registry is ACCOUNT.dkr.ecr.REGION.amazonaws.com, with 12 digits, and ends in .cn only in China",
            ),
            codes::ENTRY_WITH_WILDCARD => Fix::manual("name each registry: there are no wildcards"),
            _ if line.value.len() > LONGEST_LIST => {
                Fix::manual(format!("write the entry as {}", corrected_entry(entry)))
            }
            _ => with_corrections(config, key, line.value, entry),
        };
        let message = format!("the entry `{}` of {key} {what}", lossy(clipped(entry)));
        let finding = Finding::new(code, message).fix(fix).of_registries(untrusted(config, key, entry));
        found.add(finding.in_file(path).at(line.line).about(entry));
    }
}

/// Whether the trusted list names ECR in any form.
pub(super) fn names_ecr(config: &ExecutorConfig) -> bool {
    config.items(DOCKER, TRUSTED_REGISTRIES_KEY).any(|entry| !named(entry).is_empty())
}

/// The private registries that an entry names in any form.
fn named(entry: &[u8]) -> Vec<EcrRegistry> {
    let text = lossy(entry);
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && !".-".contains(c));
    words.filter(|word| is_private_ecr(word)).filter_map(|word| EcrRegistry::parse(word).ok()).collect()
}

/// The private registries that an entry of the trusted list names in any form, but the list does not trust.
fn untrusted(config: &ExecutorConfig, key: &str, entry: &[u8]) -> Vec<EcrRegistry> {
    if key != TRUSTED_REGISTRIES_KEY {
        return Vec::new();
    }
    let named = named(entry).into_iter();
    named.filter(|registry| !trusts_registry(config, Container::Normal, registry)).collect()
}

/// What is wrong with an entry, if anything.
fn fault(entry: &[u8], rules: Rules) -> Option<(Code, &'static str)> {
    // Lists may hold millions of entries, nearly all of them plain names.
    let is_plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(byte);
    let has = |part: &[u8]| entry.windows(part.len()).any(|window| window == part);
    let plain = entry.iter().all(is_plain) && !entry.starts_with(b"library");
    if plain && !has(b"dkr") && !has(b"amazon") || is_empty_list(entry) {
        return None;
    }
    if entry.iter().any(|byte| byte.is_ascii_whitespace()) {
        return Some((codes::ENTRY_WITH_WHITESPACE, "contains whitespace: entries are not trimmed"));
    }
    if entry.iter().any(|byte| b"\"'[]".contains(byte)) {
        return Some((codes::ENTRY_WITH_QUOTE, "contains quotes or brackets, which count as text"));
    }
    if is_unresolved(entry) || has_placeholder(entry) {
        return Some((codes::ENTRY_WITH_PLACEHOLDER, "holds a placeholder that was not replaced"));
    }
    if has(b"://") {
        return Some((codes::ENTRY_WITH_SCHEME, "starts with a scheme, which no image name does"));
    }
    if has_empty_part(entry) {
        return Some((codes::ENTRY_MATCHES_NOTHING, "has an empty part, which Docker does not accept"));
    }
    if has(b"*") {
        return Some((codes::ENTRY_WITH_WILDCARD, "contains a wildcard, which counts as text"));
    }
    if has_tag(entry) {
        return Some((codes::ENTRY_WITH_TAG, "names a tag or digest: nothing can be below it"));
    }
    if entry.starts_with(b"library") && rules != Rules::V3_2 {
        return Some((codes::LIBRARY_TRUSTS_MORE, "starts with `library`"));
    }
    if !can_match(entry) {
        return Some((codes::ENTRY_MATCHES_NOTHING, "is not the beginning of any image's name"));
    }
    if is_nearly_ecr(&lossy(entry)) {
        return Some((codes::ENTRY_NEARLY_ECR, "resembles an ECR host name but is not one"));
    }
    is_repository(entry).then_some((
        codes::ENTRY_IS_REPOSITORY,
        "has a path: it trusts images below that path, but not the repository of that exact name",
    ))
}

/// Hadoop would match such a name, but Docker rejects it.
fn has_empty_part(entry: &[u8]) -> bool {
    entry.windows(2).any(|pair| pair == b"//")
}

/// Whether Hadoop accepts any image below the entry.
fn can_match(entry: &[u8]) -> bool {
    let below: &[u8] = if entry.ends_with(b"/") { b"a" } else { b"/a" };
    image_name::is_valid(&[entry, below].concat())
}

/// Whether a host is a mistyped ECR host: a wrong number of digits, service or domain.
fn is_nearly_ecr(entry: &str) -> bool {
    let host = entry.split('/').next().unwrap_or_default();
    let looks_like = host.contains(".dkr.")
        || host.contains(".dkr-ecr.")
        || host.contains(".ecr.") && host.contains("amazon");
    match EcrRegistry::parse(host) {
        Err(_) => looks_like,
        Ok(registry) => {
            let is_chinese = registry.region().as_str().starts_with("cn-");
            registry.service() == Service::Private && is_chinese != host.ends_with(".cn")
        }
    }
}

fn has_tag(entry: &[u8]) -> bool {
    if entry.contains(&b'@') {
        return true;
    }
    let slash = entry.iter().position(|byte| *byte == b'/');
    let first = &entry[..slash.unwrap_or(entry.len())];
    let rest = &entry[first.len()..];
    let port = first.iter().position(|byte| *byte == b':').map(|at| &first[at + 1..]);
    let is_host = first.contains(&b'.') || first.starts_with(b"localhost");
    let is_port = |port: &[u8]| !port.is_empty() && port.iter().all(u8::is_ascii_digit) && is_host;
    rest.contains(&b':') || port.is_some_and(|port| !is_port(port))
}

/// A private ECR registry with a path that does not end in a slash.
fn is_repository(entry: &[u8]) -> bool {
    let text = lossy(entry);
    text.split_once('/')
        .is_some_and(|(host, path)| is_private_ecr(host) && !path.is_empty() && !path.ends_with('/'))
}

fn is_private_ecr(host: &str) -> bool {
    EcrRegistry::parse(host).is_ok_and(|registry| registry.service() == Service::Private)
}

fn check_privileged_list(path: &str, config: &ExecutorConfig, found: &mut Findings) {
    let Some(line) = config.entry(DOCKER, PRIVILEGED_REGISTRIES_KEY) else { return };
    if config.rules() == Rules::V3_2 {
        found.add(
            Finding::new(
                codes::PRIVILEGED_LIST_IGNORED,
                format!("{PRIVILEGED_REGISTRIES_KEY} is set, but Hadoop 3.2 does not read it"),
            )
            .fix(Fix::manual(format!("put every registry to trust into {TRUSTED_REGISTRIES_KEY}")))
            .in_file(path)
            .at(line.line)
            .about(PRIVILEGED_REGISTRIES_KEY.as_bytes()),
        );
        return;
    }
    let privileged: HashSet<&[u8]> = config.items(DOCKER, PRIVILEGED_REGISTRIES_KEY).collect();
    let trusted: HashSet<&[u8]> = config.items(DOCKER, TRUSTED_REGISTRIES_KEY).collect();
    let differing = privileged.symmetric_difference(&trusted).min();
    if let Some(entry) = differing {
        let (here, there) = if privileged.contains(entry) {
            (PRIVILEGED_REGISTRIES_KEY, TRUSTED_REGISTRIES_KEY)
        } else {
            (TRUSTED_REGISTRIES_KEY, PRIVILEGED_REGISTRIES_KEY)
        };
        found.add(
            Finding::new(
                codes::PRIVILEGED_LIST_DIFFERS,
                format!("`{}` is in {here} but not in {there}", lossy(clipped(entry))),
            )
            .fix(Fix::manual("make both lists equal, unless the difference is meant"))
            .in_file(path)
            .at(line.line)
            .about(PRIVILEGED_REGISTRIES_KEY.as_bytes()),
        );
    }
}

fn check_emr_defaults(path: &str, config: &ExecutorConfig, found: &mut Findings) {
    let Some(line) = config.entry(DOCKER, TRUSTED_REGISTRIES_KEY).filter(|line| !is_empty_list(line.value))
    else {
        return;
    };
    let entries = config.trusted_registries();
    let is_lost = |name: &&str| !entries.is_some_and(|entries| entries.contains(name.as_bytes()));
    let lost: Vec<_> = DEFAULT_TRUSTED_REGISTRIES.into_iter().filter(is_lost).collect();
    if lost.is_empty() {
        return;
    }
    let fix = if line.value.len() > LONGEST_LIST {
        Fix::manual(format!("begin the list with {},", lost.join(",")))
    } else {
        let mut all = DEFAULT_TRUSTED_REGISTRIES.map(str::to_owned).to_vec();
        all.extend(
            corrected(line.value, config.rules())
                .into_iter()
                .filter(|entry| !DEFAULT_TRUSTED_REGISTRIES.contains(&entry.as_str())),
        );
        Fix::set(DOCKER, TRUSTED_REGISTRIES_KEY, all.join(","))
    };
    found.add(
        Finding::new(
            codes::EMR_DEFAULTS_LOST,
            format!("the list no longer contains EMR's default: {}", lost.join(", ")),
        )
        .fix(fix)
        .in_file(path)
        .at(line.line)
        .about(line.value),
    );
}

/// The list as it was probably meant, unless the entry at fault cannot be corrected.
fn with_corrections(config: &ExecutorConfig, key: &str, value: &[u8], entry: &[u8]) -> Fix {
    let entries = corrected(value, config.rules());
    if entries.is_empty() || entries.iter().any(|other| other.as_bytes() == entry) {
        return Fix::manual(
            "write each entry as the beginning of images' names: host, or host/path, in lower case",
        );
    }
    Fix::set(DOCKER, key, entries.join(","))
}

/// The entries as they were probably meant, without duplicates. Entries without a fault stay as they are, and so do
/// those whose correction would have another fault.
fn corrected(value: &[u8], rules: Rules) -> Vec<String> {
    let mut entries = Vec::new();
    let corrected = value.split(|byte| *byte == b',').flat_map(|entry| {
        let words = entry.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let words: Vec<String> = words.map(corrected_entry).collect();
        let helps = words.iter().all(|word| fault(word.as_bytes(), rules).is_none());
        if fault(entry, rules).is_some() && helps { words } else { vec![lossy(entry).into_owned()] }
    });
    for entry in corrected.filter(|entry| !is_empty_list(entry.as_bytes())) {
        if !entries.contains(&entry) {
            entries.push(entry);
        }
    }
    entries
}

/// One entry without whitespace, quotes, scheme and tag; a path in a private ECR registry is dropped too.
fn corrected_entry(entry: &[u8]) -> String {
    let text = lossy(entry);
    let unquoted = text.trim_matches(|c: char| c.is_whitespace() || "\"'[]".contains(c));
    let without_scheme = unquoted.split_once("://").map_or(unquoted, |(_, rest)| rest);
    let name = without_scheme.split('@').next().unwrap_or_default();
    let name =
        if has_tag(name.as_bytes()) { name.rsplit_once(':').map_or(name, |(name, _)| name) } else { name };
    match name.split_once('/') {
        Some((host, _)) if is_repository(name.as_bytes()) => host.to_owned(),
        _ => name.to_owned(),
    }
}

/// Whether the text has a `<...>` for the author to replace.
fn has_placeholder(text: &[u8]) -> bool {
    let rest = text.iter().position(|byte| *byte == b'<').map(|at| &text[at..]);
    rest.is_some_and(|rest| rest.contains(&b'>'))
}

fn is_empty_list(text: &[u8]) -> bool {
    text.iter().all(|byte| byte.is_ascii_whitespace() || *byte == b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "123456789123.dkr.ecr.us-east-1.amazonaws.com";

    #[test]
    fn faults_are_classified_and_corrected() {
        let check = |entry: &str, expected: Option<Code>, corrected: &str| {
            let code = fault(entry.as_bytes(), Rules::V3_3).map(|(code, _)| code);
            assert_eq!(code, expected, "{entry}");
            assert_eq!(corrected_entry(entry.as_bytes()), corrected, "{entry}");
        };
        check(HOST, None, HOST);
        check(&format!("{HOST}/"), None, &format!("{HOST}/"));
        check("localhost:5000", None, "localhost:5000");
        check("public.ecr.aws/alias", None, "public.ecr.aws/alias");
        check("local", None, "local");
        check(&format!(" {HOST}"), Some(codes::ENTRY_WITH_WHITESPACE), HOST);
        check(&format!("\"{HOST}\""), Some(codes::ENTRY_WITH_QUOTE), HOST);
        check(&format!("https://{HOST}"), Some(codes::ENTRY_WITH_SCHEME), HOST);
        check("*.amazonaws.com", Some(codes::ENTRY_WITH_WILDCARD), "*.amazonaws.com");
        check(&format!("{HOST}/app:v1"), Some(codes::ENTRY_WITH_TAG), HOST);
        check(&format!("{HOST}/app@sha256:00"), Some(codes::ENTRY_WITH_TAG), HOST);
        check("centos:7", Some(codes::ENTRY_WITH_TAG), "centos");
        check(&format!("{HOST}/app"), Some(codes::ENTRY_IS_REPOSITORY), HOST);
        check("library", Some(codes::LIBRARY_TRUSTS_MORE), "library");
        check("librarian", None, "librarian");
        check(&format!("{HOST}//"), Some(codes::ENTRY_MATCHES_NOTHING), &format!("{HOST}//"));
        check(&format!("{HOST}/App"), Some(codes::ENTRY_MATCHES_NOTHING), HOST);
        check("registry_1.example", None, "registry_1.example");
        check(
            "12345678912.dkr.ecr.us-east-1.amazonaws.com",
            Some(codes::ENTRY_NEARLY_ECR),
            "12345678912.dkr.ecr.us-east-1.amazonaws.com",
        );
        for nearly in [
            "123456789123.dkr.ecs.us-east-1.amazonaws.com",
            "123456789123.dkr.ecr.us-east-1.amazon.com",
            "123456789123.dkr.ecr.cn-north-1.amazonaws.com",
            "123456789123.dkr.ecr.us-east-1.amazonaws.com.cn",
        ] {
            check(nearly, Some(codes::ENTRY_NEARLY_ECR), nearly);
        }
    }
}
