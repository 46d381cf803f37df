//! POSIX extended regular expressions as glibc understands them in the C locale, translated for
//! `regex_lite`. Back references are not supported.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use regex_lite::Regex;
use thiserror::Error;

/// glibc does not compile the pattern, or it contains back references.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not an extended regular expression")]
pub struct InvalidPattern;

/// Whether the pattern matches anywhere in the text. Text that is not UTF-8 never matches.
pub fn is_match(pattern: &[u8], text: &[u8]) -> Result<bool, InvalidPattern> {
    let pattern = core::str::from_utf8(pattern).map_err(|_| InvalidPattern)?;
    let regex = Regex::new(&translate(pattern)?).map_err(|_| InvalidPattern)?;
    Ok(core::str::from_utf8(text).is_ok_and(|text| regex.is_match(text)))
}

fn translate(pattern: &str) -> Result<String, InvalidPattern> {
    let mut translator =
        Translator { rest: pattern, output: String::from("(?s)"), last_atom: None, groups: Vec::new() };
    while let Some(next) = translator.take() {
        translator.translate(next)?;
    }
    if translator.groups.is_empty() { Ok(translator.output) } else { Err(InvalidPattern) }
}

struct Translator<'p> {
    rest: &'p str,
    output: String,
    /// Output offset of the atom that a quantifier would repeat.
    last_atom: Option<usize>,
    /// Output offset of each open group.
    groups: Vec<usize>,
}

impl Translator<'_> {
    fn translate(&mut self, next: char) -> Result<(), InvalidPattern> {
        match next {
            '^' | '$' => {
                self.output.push(next);
                self.last_atom = None;
            }
            '|' => {
                self.output.push('|');
                self.last_atom = None;
            }
            '(' => {
                self.groups.push(self.output.len());
                self.output.push_str("(?:");
                self.last_atom = None;
            }
            ')' if !self.groups.is_empty() => {
                self.output.push(')');
                self.last_atom = self.groups.pop();
            }
            '*' | '+' | '?' => self.quantify(&next.to_string())?,
            '{' => {
                let interval = self.interval()?;
                self.quantify(&interval)?;
            }
            '[' => {
                let class = self.bracket()?;
                self.atom(&class);
            }
            '.' => self.atom("."),
            '\\' => self.escape()?,
            literal => self.literal(literal),
        }
        Ok(())
    }

    fn take(&mut self) -> Option<char> {
        let next = self.rest.chars().next()?;
        self.rest = &self.rest[next.len_utf8()..];
        Some(next)
    }

    fn atom(&mut self, text: &str) {
        self.last_atom = Some(self.output.len());
        self.output.push_str(text);
    }

    fn literal(&mut self, character: char) {
        self.atom(&regex_lite::escape(character.encode_utf8(&mut [0; 4])));
    }

    /// Repeats the last atom as a group: `a+?` is `(a+)?` here, and never lazy.
    fn quantify(&mut self, quantifier: &str) -> Result<(), InvalidPattern> {
        let start = self.last_atom.ok_or(InvalidPattern)?;
        self.output.insert_str(start, "(?:");
        self.output.push(')');
        self.output.push_str(quantifier);
        Ok(())
    }

    /// Parses what follows `{`; `{,n}` starts at zero.
    fn interval(&mut self) -> Result<String, InvalidPattern> {
        let (inside, rest) = self.rest.split_once('}').ok_or(InvalidPattern)?;
        self.rest = rest;
        let (least, most) = inside.split_once(',').unwrap_or((inside, inside));
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if inside.is_empty() || !is_number(least) || !is_number(most) {
            return Err(InvalidPattern);
        }
        let least = if least.is_empty() { "0" } else { least };
        Ok(format!("{{{least},{most}}}"))
    }

    fn escape(&mut self) -> Result<(), InvalidPattern> {
        match self.take().ok_or(InvalidPattern)? {
            'w' => self.atom("[0-9A-Za-z_]"),
            'W' => self.atom("[^0-9A-Za-z_]"),
            's' => self.atom(r"[\t-\r ]"),
            'S' => self.atom(r"[^\t-\r ]"),
            'b' => self.anchor(r"\b"),
            'B' => self.anchor(r"\B"),
            '<' => self.anchor(r"\b{start}"),
            '>' => self.anchor(r"\b{end}"),
            '`' => self.anchor("^"),
            '\'' => self.anchor("$"),
            '1'..='9' => return Err(InvalidPattern),
            other => self.literal(other),
        }
        Ok(())
    }

    fn anchor(&mut self, text: &str) {
        self.output.push_str(text);
        self.last_atom = None;
    }

    /// Parses what follows `[`, where a backslash is an ordinary character.
    fn bracket(&mut self) -> Result<String, InvalidPattern> {
        let mut class = String::from("[");
        if let Some(rest) = self.rest.strip_prefix('^') {
            self.rest = rest;
            class.push('^');
        }
        let mut is_first = true;
        loop {
            let next = self.take().ok_or(InvalidPattern)?;
            if next == ']' && !is_first {
                class.push(']');
                return Ok(class);
            }
            is_first = false;
            if next == '[' && self.rest.starts_with(':') {
                class.push_str(self.named_class()?);
                continue;
            }
            let low = self.bracket_character(next)?;
            let after_dash = self.rest.strip_prefix('-').filter(|rest| !rest.starts_with(']'));
            let Some(rest) = after_dash else {
                push_class_character(&mut class, low);
                continue;
            };
            self.rest = rest;
            let next = self.take().ok_or(InvalidPattern)?;
            let high = self.bracket_character(next)?;
            push_class_character(&mut class, low);
            class.push('-');
            push_class_character(&mut class, high);
        }
    }

    /// A character within brackets, plain or as `[.x.]` or `[=x=]`.
    fn bracket_character(&mut self, next: char) -> Result<char, InvalidPattern> {
        if next != '[' || !self.rest.starts_with(['.', '=']) {
            return Ok(next);
        }
        let mark = self.take().ok_or(InvalidPattern)?;
        let character = self.take().ok_or(InvalidPattern)?;
        let end = format!("{mark}]");
        self.rest = self.rest.strip_prefix(&end).ok_or(InvalidPattern)?;
        Ok(character)
    }

    /// The ranges of `:name:]`.
    fn named_class(&mut self) -> Result<&'static str, InvalidPattern> {
        let (name, rest) = self.rest[1..].split_once(":]").ok_or(InvalidPattern)?;
        self.rest = rest;
        Ok(match name {
            "alnum" => "0-9A-Za-z",
            "alpha" => "A-Za-z",
            "blank" => r"\t\x20",
            "cntrl" => r"\x00-\x1F\x7F",
            "digit" => "0-9",
            "graph" => r"\x21-\x7E",
            "lower" => "a-z",
            "print" => r"\x20-\x7E",
            "punct" => r"\x21-\x2F\x3A-\x40\x5B-\x60\x7B-\x7E",
            "space" => r"\t-\r\x20",
            "upper" => "A-Z",
            "xdigit" => "0-9A-Fa-f",
            _ => return Err(InvalidPattern),
        })
    }
}

fn push_class_character(class: &mut String, character: char) {
    class.push_str(&format!(r"\x{{{:X}}}", u32::from(character)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, text: &str, expected: Result<bool, InvalidPattern>) {
        let found = is_match(pattern.as_bytes(), text.as_bytes());
        assert_eq!(found, expected, "{pattern} on {text}");
    }

    #[test]
    fn patterns_mean_what_glibc_takes_them_for() {
        check("^nvidia_driver_[0-9.]+$", "nvidia_driver_390.46", Ok(true));
        check("^nvidia_driver_[0-9.]+$", "nvidia_driver_x", Ok(false));
        check("b", "abc", Ok(true));
        check("", "abc", Ok(true));
        check(r"\d", "d", Ok(true));
        check(r"\d", "1", Ok(false));
        check(r"[\d]", "\\", Ok(true));
        check(r"[]a-c]$", "b", Ok(true));
        check(r"^[^]a]+$", "]", Ok(false));
        check("^[[:alpha:]_-]+$", "a-B_", Ok(true));
        check("^[[.-.]x]$", "-", Ok(true));
        check("^ab{2,}$", "abbb", Ok(true));
        check("^ab{,1}$", "abb", Ok(false));
        check("^(ab|c)+$", "abcab", Ok(true));
        check("^(a+?)$", "aaa", Ok(true));
        check("^a**$", "aaa", Ok(true));
        check("a|", "x", Ok(true));
        check("^)$", ")", Ok(true));
        check(r"^\.$", "x", Ok(false));
        check(r"\<cd\>", "ab-cd", Ok(true));
        check(r"\<b", "ab", Ok(false));
        check(r"a\>", "ab", Ok(false));
        check("[[]$", "[", Ok(true));
        check("^[x:]$", ":", Ok(true));
        check("^[x.]$", ".", Ok(true));
        check("^[[a]$", "a", Ok(true));
        for invalid in [
            "*a", "a|*", "(*a)", "^*", "(a", "[a", "a{", "a{x}", "a{}", "a{1, 2}", "a{ 1,2}", "a\\",
            r"(a)\1", "[[:x:]]",
        ] {
            check(invalid, "a", Err(InvalidPattern));
        }
    }

    #[test]
    fn classes_are_those_of_the_c_locale() {
        type Class = (&'static str, fn(&u8) -> bool);
        let table: [Class; 12] = [
            ("alnum", u8::is_ascii_alphanumeric),
            ("alpha", u8::is_ascii_alphabetic),
            ("blank", |byte| matches!(byte, b' ' | b'\t')),
            ("cntrl", u8::is_ascii_control),
            ("digit", u8::is_ascii_digit),
            ("graph", u8::is_ascii_graphic),
            ("lower", u8::is_ascii_lowercase),
            ("print", |byte| byte.is_ascii_graphic() || *byte == b' '),
            ("punct", u8::is_ascii_punctuation),
            ("space", |byte| matches!(byte, b' ' | b'\t'..=b'\r')),
            ("upper", u8::is_ascii_uppercase),
            ("xdigit", u8::is_ascii_hexdigit),
        ];
        for (name, is_in_class) in table {
            let pattern = format!("[[:{name}:]]");
            for byte in 0..0x80 {
                let found = is_match(pattern.as_bytes(), &[byte]);
                assert_eq!(found, Ok(is_in_class(&byte)), "{byte} in {pattern}");
            }
        }
    }
}
