//! Image names by Docker's grammar, which differs from YARN's.

use thiserror::Error;

const LONGEST_NAME: usize = 255;
const LONGEST_TAG: usize = 128;
const ID_LENGTH: usize = 64;

/// Why `docker run` rejects the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum NameFault {
    #[error("it begins with `-`, so docker reads it as an option")]
    Option,
    #[error("docker calls it an invalid reference format")]
    Format,
    #[error("docker accepts repository names of at most {LONGEST_NAME} characters")]
    TooLong,
    #[error("docker accepts tags of at most {LONGEST_TAG} characters")]
    TagTooLong,
    #[error("docker reads {ID_LENGTH} hexadecimal digits as an image ID")]
    Id,
}

/// Checks a name that YARN accepts, which thus has no digest.
pub(super) fn check(name: &str) -> Result<(), NameFault> {
    if name.starts_with('-') {
        return Err(NameFault::Option);
    }
    if name.len() == ID_LENGTH && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(NameFault::Id);
    }
    let (domain, rest) = match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (Some(first), rest),
        _ => (None, name),
    };
    let (repository, tag) = match rest.split_once(':') {
        Some((repository, tag)) => (repository, Some(tag)),
        None => (rest, None),
    };
    let sound = domain.is_none_or(is_domain)
        && repository.split('/').all(is_component)
        && tag.is_none_or(|tag| tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'));
    if !sound {
        return Err(NameFault::Format);
    }
    if tag.is_some_and(|tag| tag.len() > LONGEST_TAG) {
        return Err(NameFault::TagTooLong);
    }
    // Docker counts the host, including the one it adds.
    let host = domain.map_or("docker.io/library/".len(), |domain| domain.len() + 1);
    if host + repository.len() > LONGEST_NAME {
        return Err(NameFault::TooLong);
    }
    Ok(())
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = domain.split_once(':').map_or((domain, None), |(host, port)| (host, Some(port)));
    let is_label = |label: &str| {
        label.starts_with(|c: char| c.is_ascii_alphanumeric())
            && label.ends_with(|c: char| c.is_ascii_alphanumeric())
    };
    host.split('.').all(is_label)
        && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Letters and digits, with one `.`, one or two `_`, or any number of `-` between them.
fn is_component(component: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators = component.split(is_plain);
    let inner = |separator: &str| {
        matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
    };
    component.starts_with(is_plain) && component.ends_with(is_plain) && separators.into_iter().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_as_docker_takes_them() {
        let check = |name: &str, expected: Option<NameFault>| {
            assert_eq!(check(name).err(), expected, "{name}");
        };
        let host = "123456789123.dkr.ecr.us-east-1.amazonaws.com";
        for good in ["app:1", "app--x:1", "a__b", "team/app", "0218c726a4ad", "localhost/a", "a.b:5000/c:V_1"]
        {
            check(good, None);
            check(&format!("{host}/{good}").replace("a.b:5000", "a.b"), None);
        }
        check("HOST.EXAMPLE/app:1", None);
        for wrong in ["app_", "a..b", "a.-b", "a___b", "a//b", "_a", "a.b./c", "a.b:/c", "app:-1", "x/"] {
            check(wrong, Some(NameFault::Format));
        }
        check("-a.example.com/app:1", Some(NameFault::Option));
        check(&"a".repeat(64), Some(NameFault::Id));
        check(&"g".repeat(64), None);
        check(&format!("app:{}", "t".repeat(128)), None);
        check(&format!("app:{}", "t".repeat(129)), Some(NameFault::TagTooLong));
        check(&format!("h.example/{}", "n".repeat(245)), None);
        check(&format!("h.example/{}", "n".repeat(246)), Some(NameFault::TooLong));
    }
}
