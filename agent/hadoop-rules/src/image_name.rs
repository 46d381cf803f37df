//! Image names as the native container-executor sees and checks them.
//!
//! The check is container-executor's, not Docker's: it refuses digests and accepts names that Docker would not.
//! This module has no notion of registries or tags.

use super::executor_config::is_space;

/// The `image` that container-executor reads from a launch command file into which Java wrote `text`: trimmed, and
/// cut at `#` and at `=`. None if nothing is left to store.
pub fn in_command_file(text: &[u8]) -> Option<&[u8]> {
    let line_end = text.iter().position(|byte| matches!(byte, b'\n' | 0 | b'#'));
    let line = &text[..line_end.unwrap_or(text.len())];
    // Leading `=` form one separator with the `=` that Java wrote.
    let start = line.iter().position(|byte| *byte != b'=')?;
    let value = line[start..].split(|byte| *byte == b'=').next()?;
    Some(trim(value))
}

/// Whether container-executor accepts the name:
/// `^(([a-zA-Z0-9.-]+)(:[0-9]+)?/)?([a-z0-9_./-]+)(:[a-zA-Z0-9_.-]+)?$`.
pub fn is_valid(name: &[u8]) -> bool {
    let end = name.iter().position(|byte| *byte == 0);
    let name = &name[..end.unwrap_or(name.len())];
    if is_repository_with_tag(name) {
        return true;
    }
    // A host contains no slash, so it ends at the first one.
    split_at_first(name, b'/')
        .is_some_and(|(host, rest)| is_host_with_port(host) && is_repository_with_tag(rest))
}

fn is_host_with_port(text: &[u8]) -> bool {
    let is_host = |host| all(host, |byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
    match split_at_first(text, b':') {
        Some((host, port)) => is_host(host) && all(port, |byte| byte.is_ascii_digit()),
        None => is_host(text),
    }
}

fn is_repository_with_tag(text: &[u8]) -> bool {
    let is_repository = |name| {
        all(name, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_./-".contains(&byte))
    };
    let is_tag = |tag| all(tag, |byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    match split_at_first(text, b':') {
        Some((name, tag)) => is_repository(name) && is_tag(tag),
        None => is_repository(text),
    }
}

fn all(text: &[u8], allowed: impl Fn(u8) -> bool) -> bool {
    !text.is_empty() && text.iter().all(|byte| allowed(*byte))
}

fn split_at_first(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|byte| *byte == separator)?;
    Some((&text[..at], &text[at + 1..]))
}

fn trim(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_space(*first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && is_space(*last)
    {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex_lite::Regex;

    use super::*;

    fn check_in_command_file(text: &str, expected: Option<&str>) {
        let found = in_command_file(text.as_bytes());
        assert_eq!(found, expected.map(str::as_bytes), "{text:?}");
    }

    #[test]
    fn the_command_file_trims_and_cuts() {
        check_in_command_file("a:b", Some("a:b"));
        check_in_command_file(" \ta:b\r ", Some("a:b"));
        check_in_command_file("a:b=c", Some("a:b"));
        check_in_command_file("==a=", Some("a"));
        check_in_command_file("a#b", Some("a"));
        check_in_command_file("a\0b", Some("a"));
        check_in_command_file("a\nb", Some("a"));
        check_in_command_file("  ", Some(""));
        check_in_command_file(" #", Some(""));
        check_in_command_file("", None);
        check_in_command_file("#a", None);
        check_in_command_file("=", None);
    }

    #[test]
    fn names_are_valid_up_to_a_nul() {
        let valid =
            ["a", "a/b", "a:B", "h:1/a", "H.x/a", "H-1:22/a_b.c-d/e:T_.-1", "a//", "_", "a\0 ", "h/a:B\0 "];
        for name in valid {
            assert!(is_valid(name.as_bytes()), "{name:?}");
        }
        let invalid = [
            "", "A", "a:", ":b", "a:b:c", "a b", "H:/a", ":1/a", "H:x/a", "H_/a", "H/A", "a:b/c:d", "a@b",
            "\0a", "H/",
        ];
        for name in invalid {
            assert!(!is_valid(name.as_bytes()), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn names_are_valid_as_the_expression_says(name in "[aZ09._/:é@ -]{0,12}") {
            let expression =
                "^(([a-zA-Z0-9.-]+)(:[0-9]+)?/)?([a-z0-9_./-]+)(:[a-zA-Z0-9_.-]+)?$";
            let regex = Regex::new(expression).expect("a constant");
            prop_assert_eq!(is_valid(name.as_bytes()), regex.is_match(&name));
        }
    }
}
