//! Parsers for single values, each with its error message.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::reader::Value;
use super::{LibraryLogLevel, LogFormat, LogLevel, Mode, Owner};
use crate::credentials::EntryName;
use crate::documents::PublishedPath;
use crate::registry::HostName;

pub(super) fn boolean(value: &Value<'_>) -> Result<bool, String> {
    value.boolean().ok_or_else(|| "must be true or false".to_owned())
}

pub(super) fn host_names(value: &Value<'_>) -> Result<Vec<HostName>, String> {
    const ALLOWED: &str =
        "must be a list of host names, each with or without a port, such as [\"registry.example.com:5000\"]";
    let hosts = value.strings().ok_or(ALLOWED)?;
    hosts.into_iter().map(|host| HostName::parse(host).ok_or_else(|| ALLOWED.to_owned())).collect()
}

pub(super) fn entry_names(value: &Value<'_>) -> Result<Vec<EntryName>, String> {
    const ALLOWED: &str = "must be a list of names as in \"auths\", such as [\"harbor.example.com\"], or []";
    let names = value.strings().ok_or(ALLOWED)?;
    names.into_iter().map(|name| EntryName::parse(name).ok_or_else(|| ALLOWED.to_owned())).collect()
}

pub(super) fn images(value: &Value<'_>) -> Result<Vec<String>, String> {
    const ALLOWED: &str = "must be a list of images as jobs name them, such as [\"123456789123.dkr.ecr.us-east-1.amazonaws.com/app:v1\"]";
    let images = value.strings().ok_or(ALLOWED)?;
    let is_image = |image: &&str| hadoop_rules::image_name::is_valid(image.as_bytes());
    if !images.iter().all(is_image) {
        return Err(ALLOWED.to_owned());
    }
    Ok(images.into_iter().map(str::to_owned).collect())
}

pub(super) fn gigabytes(value: &Value<'_>) -> Result<u64, String> {
    let most = 0..=1_000_000;
    let given = value.integer().and_then(|given| u64::try_from(given).ok());
    given
        .filter(|given| most.contains(given))
        .ok_or_else(|| "must be a whole number from 0 to 1000000".to_owned())
}

pub(super) fn absolute_path(value: &Value<'_>) -> Result<PathBuf, String> {
    let path = value.string().map(Path::new).filter(|path| path.is_absolute());
    let path = path.filter(|path| !path.as_os_str().as_encoded_bytes().contains(&0));
    path.map(Path::to_owned)
        .ok_or_else(|| "must be an absolute path in quotes, such as \"/etc/hadoop/conf\"".to_owned())
}

/// Within the kernel's limit on the length of socket paths.
pub(super) fn socket_path(value: &Value<'_>) -> Result<PathBuf, String> {
    absolute_path(value).ok().filter(|path| path.as_os_str().len() < 108).ok_or_else(|| {
        "must be an absolute path in quotes, of less than 108 bytes, such as \"/run/emr-ecr-agent/status.sock\""
            .to_owned()
    })
}

pub(super) fn published_path(value: &Value<'_>) -> Result<PublishedPath, String> {
    value.string().and_then(PublishedPath::parse).ok_or_else(|| {
        "must be an absolute path on HDFS or an hdfs:// or viewfs:// URI, such as \"/user/hadoop/config.json\"".to_owned()
    })
}

pub(super) fn mode(value: &Value<'_>) -> Result<Mode, String> {
    let bits =
        value.string().filter(|text| text.len() <= 4).and_then(|text| u32::from_str_radix(text, 8).ok());
    bits.filter(|bits| (0o400..=0o777).contains(bits) && bits & 0o400 != 0).map(Mode).ok_or_else(|| {
        "must be octal permission bits in quotes that let the owner read, such as \"0600\"".to_owned()
    })
}

pub(super) fn owner(value: &Value<'_>) -> Result<Owner, String> {
    const ALLOWED: &str = "must be a user or user:group in quotes, such as \"root\" or \"hadoop:hadoop\"";
    let text = value.string().ok_or(ALLOWED)?;
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    if !is_account(user) || !group.is_none_or(is_account) {
        return Err(ALLOWED.to_owned());
    }
    Ok(Owner { user: user.to_owned(), group: group.map(str::to_owned) })
}

pub(super) fn account(value: &Value<'_>) -> Result<String, String> {
    value
        .string()
        .filter(|name| is_account(name))
        .map(str::to_owned)
        .ok_or_else(|| "must be the name of a user or group in quotes, such as \"hadoop\"".to_owned())
}

pub(super) fn kerberos_principal(value: &Value<'_>) -> Result<String, String> {
    let name = value.string().filter(|name| {
        let realm = name.rsplit_once('@').map(|(_, realm)| realm);
        realm.is_some_and(|realm| !realm.is_empty()) && !name.starts_with(['@', '/'])
    });
    let name = name.filter(|name| !name.contains(|c: char| c.is_whitespace() || c.is_control()));
    name.map(str::to_owned).ok_or_else(|| {
        "must be a Kerberos principal with its realm in quotes, such as \"hadoop/host@EXAMPLE.COM\""
            .to_owned()
    })
}

fn is_account(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == ':' || c == '/')
}

pub(super) fn replication(value: &Value<'_>) -> Result<u16, String> {
    value
        .integer()
        .and_then(|n| u16::try_from(n).ok())
        .filter(|n| (1..=512).contains(n))
        .ok_or_else(|| "must be a whole number from 1 to 512".to_owned())
}

pub(super) fn number(value: &Value<'_>, least: f64, most: f64) -> Result<f64, String> {
    value
        .number()
        .filter(|n| (least..=most).contains(n))
        .ok_or_else(|| format!("must be a number from {least} to {most}"))
}

pub(super) fn duration(value: &Value<'_>, least: Duration, most: Duration) -> Result<Duration, String> {
    value
        .string()
        .and_then(|text| text.parse::<jiff::SignedDuration>().ok())
        .and_then(|given| Duration::try_from(given).ok())
        .filter(|given| (least..=most).contains(given))
        .ok_or_else(|| {
            format!(
                "must be a length of time in quotes from {} to {}, such as \"90s\", \"30m\" or \"1h 30m\"",
                friendly(least),
                friendly(most)
            )
        })
}

fn friendly(duration: Duration) -> String {
    jiff::SignedDuration::try_from(duration)
        .map_or_else(|_| format!("{duration:?}"), |signed| format!("{signed:#}"))
}

pub(super) fn socket_address(value: &Value<'_>) -> Result<SocketAddr, String> {
    value
        .string()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| "must be an IP address and a port in quotes, such as \"127.0.0.1:9470\"".to_owned())
}

pub(super) fn log_format(value: &Value<'_>) -> Result<LogFormat, String> {
    match value.string() {
        Some("text") => Ok(LogFormat::Text),
        Some("json") => Ok(LogFormat::Json),
        _ => Err("must be \"text\" or \"json\"".to_owned()),
    }
}

pub(super) fn log_level(value: &Value<'_>) -> Result<LogLevel, String> {
    use LogLevel::{Debug, Error, Info, Trace, Warn};
    [Error, Warn, Info, Debug, Trace]
        .into_iter()
        .find(|level| value.string() == Some(level.as_str()))
        .ok_or_else(|| "must be \"error\", \"warn\", \"info\", \"debug\" or \"trace\"".to_owned())
}

pub(super) fn library_log_level(value: &Value<'_>) -> Result<LibraryLogLevel, String> {
    match value.string() {
        Some("error") => Ok(LibraryLogLevel::Error),
        Some("warn") => Ok(LibraryLogLevel::Warn),
        Some("info") => Ok(LibraryLogLevel::Info),
        Some("debug" | "trace") => {
            Err("must be \"error\", \"warn\" or \"info\": below that, libraries print secrets".to_owned())
        }
        _ => Err("must be \"error\", \"warn\" or \"info\"".to_owned()),
    }
}
