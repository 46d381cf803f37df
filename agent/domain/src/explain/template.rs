//! Texts with gaps: `Duplicate mount point: {destination}.` matches the line and captures the gap.

use std::ops::Range;

/// Where a template matches a line, and what its gaps capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found<'l> {
    pub(super) span: Range<usize>,
    /// By name; unnamed gaps are left out.
    pub(super) gaps: Vec<(&'static str, &'l str)>,
}

/// A gap `{name}` extends to the words that follow it; at the end of the template, to the end of a word, or to the
/// end of the line if it is written `{name..}`.
pub(super) fn find<'l>(template: &'static str, line: &'l str) -> Option<Found<'l>> {
    let (first, mut rest) =
        template.split_once('{').map_or((template, None), |(first, rest)| (first, Some(rest)));
    let start = line.find(first)?;
    let mut end = start + first.len();
    let mut gaps = Vec::new();
    while let Some(part) = rest {
        let (name, after) = part.split_once('}')?;
        let (words, next) = after.split_once('{').map_or((after, None), |(words, next)| (words, Some(next)));
        let tail = &line[end..];
        let length = match name.strip_suffix("..") {
            Some(_) => tail.len(),
            None if words.is_empty() => word(tail).len(),
            None => tail.find(words)?,
        };
        let name = name.trim_end_matches("..");
        if !name.is_empty() {
            gaps.push((name, &tail[..length]));
        }
        end += length + words.len();
        rest = next;
    }
    Some(Found { span: start..end, gaps })
}

/// Up to the next whitespace, without trailing punctuation.
fn word(text: &str) -> &str {
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    text[..end].trim_end_matches(['.', ',', ';'])
}

/// The template with its gaps filled; a gap without a value becomes its name in capitals.
pub(super) fn fill<'v>(
    template: &str,
    value_of: impl Fn(&str) -> Option<&'v str>,
    shown: impl Fn(&str) -> String,
) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else { break };
        text.push_str(before);
        match value_of(name) {
            Some(value) => text.push_str(&shown(value)),
            None => text.push_str(&name.to_ascii_uppercase()),
        }
        rest = after;
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_hold_what_stands_between_the_words() {
        let check = |template, line, expected: Option<&[(&'static str, &str)]>| {
            let found = find(template, line).map(|found| found.gaps);
            assert_eq!(found.as_deref(), expected, "{template}: {line}");
        };
        check("image: {image} is not trusted", "> image: a/b:1 is not trusted.", Some(&[("image", "a/b:1")]));
        check("is {mode}", "but is 666 [exit -100]", Some(&[("mode", "666")]));
        check("point: {at}", "point: /x.", Some(&[("at", "/x")]));
        check("line {line..}", "error with line ; ours", Some(&[("line", "; ours")]));
        check("{}a {x}", "zza b", Some(&[("x", "b")]));
        check("src='{a}', dst='{b}'", "src='/x', dst='/y'", Some(&[("a", "/x"), ("b", "/y")]));
        check("src='{a}', dst='{b}'", "src='/x', to='/y'", None);
        check("nothing", "else", None);
        assert_eq!(find("a {b} c", "x a é c d").map(|found| found.span), Some(2..8));
    }

    #[test]
    fn unknown_gaps_are_words_in_capitals() {
        let value = |name: &str| (name == "image").then_some("a b");
        assert_eq!(fill("x {image} {user}", value, |value| format!("'{value}'")), "x 'a b' USER");
        assert_eq!(fill("no gap", value, str::to_owned), "no gap");
    }
}
