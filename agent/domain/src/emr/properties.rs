//! spark-defaults.conf and other properties files, as Java reads them.

/// One property of Spark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SparkProperty {
    pub key: String,
    pub value: String,
    /// The file or the program that sets it, as findings show it.
    pub file: String,
    /// Counted from 1.
    pub line: Option<u32>,
}

/// The properties of the file's text, in order. A key that is set twice appears twice.
pub fn parse(file: &str, text: &str) -> Vec<SparkProperty> {
    let mut properties = Vec::new();
    let mut lines = (1..).zip(text.split(['\n', '\r'].as_slice()));
    // A CR LF ends one line, so line numbers must count it once.
    let ends_as_on_windows = text.contains("\r\n");
    let number_of = |line: u32| if ends_as_on_windows { line.div_ceil(2) } else { line };
    while let Some((number, first)) = lines.next() {
        let first = first.trim_start_matches(is_white);
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = first.to_owned();
        while continues(&logical) {
            logical.pop();
            let Some((_, next)) = lines.next() else { break };
            // The empty text between CR and LF.
            let next = match next {
                "" if ends_as_on_windows => lines.next().map_or("", |(_, next)| next),
                next => next,
            };
            logical.push_str(next.trim_start_matches(is_white));
        }
        let (key, value) = split(&logical);
        properties.push(SparkProperty {
            key: unescaped(key),
            // Spark trims values.
            value: unescaped(value).trim().to_owned(),
            file: file.to_owned(),
            line: Some(number_of(number)),
        });
    }
    properties
}

fn is_white(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

/// Whether an odd number of backslashes ends the line.
fn continues(line: &str) -> bool {
    (line.len() - line.trim_end_matches('\\').len()) % 2 == 1
}

/// Splits at the first `=`, `:` or white space that is not escaped by a backslash.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c: char| {
        let ends = !escaped && (is_white(c) || matches!(c, '=' | ':'));
        escaped = c == '\\' && !escaped;
        ends
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start_matches(is_white);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, rest.trim_start_matches(is_white))
}

fn unescaped(text: &str) -> String {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let unit = match c {
            '\\' => match rest.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\x0c',
                Some('u') => {
                    let digits: String = rest.clone().take(4).collect();
                    if let (4, Ok(unit)) = (digits.len(), u16::from_str_radix(&digits, 16)) {
                        units.push(unit);
                        rest.by_ref().take(4).for_each(drop);
                        continue;
                    }
                    'u'
                }
                Some(other) => other,
                None => break,
            },
            other => other,
        };
        units.extend_from_slice(unit.encode_utf16(&mut [0; 2]));
    }
    String::from_utf16_lossy(&units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str, u32)]) {
        let properties = parse("spark-defaults.conf", text);
        let found: Vec<_> = properties
            .iter()
            .map(|property| {
                (property.key.as_str(), property.value.as_str(), property.line.unwrap_or_default())
            })
            .collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn keys_end_at_white_space_or_a_sign() {
        for text in ["a b", "a=b", "a:b", "a = b", "  a\tb  ", "a  :  b"] {
            check(text, &[("a", "b", 1)]);
        }
        check("a==b\nc d e\nf", &[("a", "=b", 1), ("c", "d e", 2), ("f", "", 3)]);
        check(r"a\ b=c\=d", &[("a b", "c=d", 1)]);
    }

    #[test]
    fn comments_and_empty_lines_are_none() {
        check("# a b\n\n  ! c d\n \n e f", &[("e", "f", 5)]);
    }

    #[test]
    fn a_backslash_continues_the_line() {
        check("a b\\\n   c\nd e", &[("a", "bc", 1), ("d", "e", 3)]);
        check("a b\\\\\nd e", &[("a", r"b\", 1), ("d", "e", 2)]);
        check("a b\\", &[("a", "b", 1)]);
        check("a b\r\nc d\\\r\n e\r\nf g\r\n", &[("a", "b", 1), ("c", "de", 2), ("f", "g", 4)]);
    }

    #[test]
    fn escapes_are_javas() {
        check(r"a \u00e4\t\ud83d\ude00x\q\u12", &[("a", "ä\t😀xqu12", 1)]);
    }
}
