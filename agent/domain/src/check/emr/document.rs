//! A JSON or YAML file as a tree with line numbers, which keeps repeated members.

use std::collections::BTreeMap;
use std::fmt;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// In bytes. No configuration comes close; a tree takes many times the file's size.
const LARGEST: usize = 1 << 20;
const DEEPEST: usize = 64;
const MOST_NODES: usize = 200_000;

/// A value and the line it begins at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub line: u32,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Object(Vec<Member>),
    List(Vec<Node>),
    Text(String),
    /// A boolean or a number, as written.
    Bare(String),
    Null,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub name: String,
    pub line: u32,
    pub node: Node,
}

/// Why a file cannot be parsed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable {
    pub line: Option<u32>,
    pub why: String,
}

/// A file's tree, and its language.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Document {
    pub root: Node,
    pub is_yaml: bool,
}

impl Node {
    pub(super) fn members(&self) -> &[Member] {
        match &self.value {
            Value::Object(members) => members,
            _ => &[],
        }
    }

    /// The last member with one of these names, as JSON parsers choose it.
    pub(super) fn member(&self, names: &[&str]) -> Option<&Member> {
        self.members().iter().rfind(|member| names.contains(&member.name.as_str()))
    }

    pub(super) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Parses a file's content.
pub(super) fn read(bytes: &[u8]) -> Result<Document, Unreadable> {
    let unreadable = |why: &str| Unreadable { line: None, why: why.to_owned() };
    match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, _, ..] | [_, 0, ..] => {
            return Err(unreadable("it is UTF-16; save it as UTF-8"));
        }
        [0xef, 0xbb, 0xbf, ..] => {
            return Err(unreadable(
                "it begins with a byte order mark, which the AWS CLI refuses; save it as UTF-8 without one",
            ));
        }
        _ if bytes.len() > LARGEST => return Err(unreadable("it is larger than 1 MiB")),
        _ => {}
    }
    let text = std::str::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8"))?;
    if text.trim_start().starts_with(['[', '{']) {
        return Ok(Document { root: json(text)?, is_yaml: false });
    }
    if text.trim().is_empty() {
        return Err(unreadable("it is empty"));
    }
    if text.lines().any(is_block_of_hcl) {
        return Err(unreadable(
            "it is Terraform's HCL; check its output: `terraform show -json`, or the JSON inside of it",
        ));
    }
    Ok(Document { root: yaml(text)?, is_yaml: true })
}

fn is_block_of_hcl(line: &str) -> bool {
    let mut words = line.split_whitespace();
    match words.next() {
        Some("resource" | "data" | "variable" | "module" | "output" | "provider") => {
            words.next().is_some_and(|word| word.starts_with('"'))
        }
        Some("locals" | "terraform") => words.next() == Some("{"),
        _ => false,
    }
}

/// The whole text, and where its lines begin.
struct Json<'t> {
    text: &'t str,
    lines: Vec<usize>,
}

fn json(text: &str) -> Result<Node, Unreadable> {
    let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let json = Json { text, lines };
    let root: &RawValue = serde_json::from_str(text).map_err(|error| json.fault(&error))?;
    json.node(root, 0)
}

impl<'t> Json<'t> {
    /// The error's text without its position, and the position of the actual fault.
    fn fault(&self, error: &serde_json::Error) -> Unreadable {
        let start = self.lines.get(error.line().saturating_sub(1)).copied().unwrap_or_default();
        let at = (start + error.column()).min(self.text.len());
        let before = self.text.as_bytes()[..at.saturating_sub(1)].trim_ascii_end();
        let closes = at > 0 && matches!(self.text.as_bytes()[at - 1], b']' | b'}');
        let (what, at) = match before.split_last() {
            Some((b',', rest)) if closes => ("a comma before the closing bracket".to_owned(), rest.len() + 1),
            _ => {
                let text = error.to_string();
                let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what).to_owned();
                (what, at)
            }
        };
        let line = self.line_at(at.saturating_sub(1));
        let column = at - self.lines[line as usize - 1];
        Unreadable {
            line: Some(line),
            why: format!("it is not JSON: {what} at line {line}, column {column}"),
        }
    }

    fn line_at(&self, offset: usize) -> u32 {
        u32::try_from(self.lines.partition_point(|start| *start <= offset)).unwrap_or(u32::MAX)
    }

    /// The line of a part of the text, found by its address.
    fn line_of(&self, part: &RawValue) -> u32 {
        self.line_at((part.get().as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize))
    }

    fn node(&self, raw: &'t RawValue, depth: usize) -> Result<Node, Unreadable> {
        let line = self.line_of(raw);
        let unreadable = |why: String| Unreadable { line: Some(line), why };
        if depth > DEEPEST {
            return Err(unreadable(format!("it is nested more than {DEEPEST} levels deep")));
        }
        let failed = |error: serde_json::Error| unreadable(format!("it is not JSON: {error}"));
        let mut parts = serde_json::Deserializer::from_str(raw.get());
        let value = match raw.get().as_bytes().first() {
            Some(b'{') => {
                let members = parts.deserialize_map(Members).map_err(failed)?;
                let member = |(name, value): (&'t RawValue, &'t RawValue)| {
                    let line = self.line_of(name);
                    let name = serde_json::from_str(name.get()).map_err(failed)?;
                    Ok(Member { name, line, node: self.node(value, depth + 1)? })
                };
                Value::Object(members.into_iter().map(member).collect::<Result<_, _>>()?)
            }
            Some(b'[') => {
                let items = parts.deserialize_seq(Items).map_err(failed)?;
                let items = items.into_iter().map(|item| self.node(item, depth + 1));
                Value::List(items.collect::<Result<_, _>>()?)
            }
            Some(b'"') => Value::Text(serde_json::from_str(raw.get()).map_err(failed)?),
            Some(b'n') => Value::Null,
            _ => Value::Bare(raw.get().to_owned()),
        };
        Ok(Node { line, value })
    }
}

struct Members;

impl<'t> Visitor<'t> for Members {
    type Value = Vec<(&'t RawValue, &'t RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

struct Items;

impl<'t> Visitor<'t> for Items {
    type Value = Vec<&'t RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(items)
    }
}

/// Builds a tree from YAML events; an intrinsic function in CloudFormation's short form becomes its long form.
struct Yaml<'t> {
    parser: Parser<'t, saphyr_parser::StrInput<'t>>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    /// The parser counts one more line where the text ends without a newline.
    last_line: usize,
}

fn yaml(text: &str) -> Result<Node, Unreadable> {
    let mut yaml = Yaml {
        parser: Parser::new_from_str(text),
        anchors: BTreeMap::new(),
        nodes: 0,
        last_line: text.matches('\n').count() + 1,
    };
    loop {
        match yaml.next()? {
            (Event::StreamStart | Event::DocumentStart(_), _) => {}
            (event, line) => return yaml.node(event, line, 0),
        }
    }
}

impl<'t> Yaml<'t> {
    fn next(&mut self) -> Result<(Event<'t>, u32), Unreadable> {
        let last = self.last_line;
        let in_text = |line: usize| u32::try_from(line.min(last)).unwrap_or(u32::MAX);
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, in_text(span.start.line()))),
            Some(Err(error)) => Err(Unreadable {
                line: Some(in_text(error.marker().line())),
                why: format!("it is neither JSON nor YAML: {}", error.info()),
            }),
            None => Err(Unreadable { line: None, why: "it ends early".to_owned() }),
        }
    }

    fn node(&mut self, event: Event<'t>, line: u32, depth: usize) -> Result<Node, Unreadable> {
        let unreadable = |why: String| Unreadable { line: Some(line), why };
        self.nodes += 1;
        if depth > DEEPEST || self.nodes > MOST_NODES {
            return Err(unreadable("it is nested too deeply, or has too many parts".to_owned()));
        }
        let (value, anchor, tag) = match event {
            Event::Scalar(text, style, anchor, tag) => (scalar(&text, style), anchor, tag),
            Event::SequenceStart(anchor, tag) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, line) => items.push(self.node(event, line, depth + 1)?),
                    }
                }
                (Value::List(items), anchor, tag)
            }
            Event::MappingStart(anchor, tag) => {
                let mut members = Vec::new();
                loop {
                    let (event, line) = self.next()?;
                    if event == Event::MappingEnd {
                        break;
                    }
                    let name = match self.node(event, line, depth + 1)?.value {
                        Value::Text(name) | Value::Bare(name) => name,
                        Value::Null => String::new(),
                        _ => return Err(unreadable("a key is not a string".to_owned())),
                    };
                    let (event, begin) = self.next()?;
                    members.push(Member { name, line, node: self.node(event, begin, depth + 1)? });
                }
                (Value::Object(members), anchor, tag)
            }
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                let node = node
                    .ok_or_else(|| unreadable("an alias refers to the anchor that contains it".to_owned()))?;
                self.nodes += count(&node);
                return Ok(node);
            }
            _ => return Err(unreadable("it is not a single YAML value".to_owned())),
        };
        let node = tagged(Node { line, value }, tag.as_deref());
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }
}

fn count(node: &Node) -> usize {
    match &node.value {
        Value::Object(members) => members.iter().map(|member| 1 + count(&member.node)).sum(),
        Value::List(items) => items.iter().map(|item| 1 + count(item)).sum(),
        _ => 1,
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::Text(text.to_owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => Value::Bare(text.to_ascii_lowercase()),
        number if number.parse::<f64>().is_ok() => Value::Bare(number.to_owned()),
        text => Value::Text(text.to_owned()),
    }
}

/// `!Sub x` as `{"Fn::Sub": "x"}`.
fn tagged(node: Node, tag: Option<&Tag>) -> Node {
    let Some(tag) = tag.filter(|tag| tag.handle == "!") else { return node };
    let name = match tag.suffix.as_str() {
        "Ref" | "Condition" => tag.suffix.clone(),
        function => format!("Fn::{function}"),
    };
    let line = node.line;
    Node { line, value: Value::Object(vec![Member { name, line, node }]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_know_their_lines_and_are_all_kept() {
        let document = read(b"[\n {\"a\": 1,\n  \"a\":\n   \"x\\n\"}\n]").expect("JSON");
        let object = &document.root.items()[0];
        let lines: Vec<_> = object.members().iter().map(|member| (member.line, member.node.line)).collect();
        assert_eq!((object.line, lines), (2, vec![(2, 2), (3, 4)]));
        assert_eq!(object.member(&["a"]).and_then(|member| member.node.text()), Some("x\n"));
        assert_eq!(object.members()[0].node.value, Value::Bare("1".to_owned()));
    }

    #[test]
    fn lines_are_those_of_the_text() {
        // Found by the fuzzer.
        let error = read(b"#?").err().and_then(|unreadable| unreadable.line);
        assert_eq!(error, Some(1));
    }

    #[test]
    fn yaml_has_the_same_tree() {
        let document = read(b"a: !Sub '${B}'\nc:\n  - true\n  - ~\n  - \"true\"\n").expect("YAML");
        let json =
            read(b"{\"a\": {\"Fn::Sub\": \"${B}\"},\n\"c\": [\n true,\n null,\n \"true\"]}").expect("JSON");
        assert!(document.is_yaml);
        let shape = |node: &Node| format!("{:?}", node.value).replace(|c: char| c.is_ascii_digit(), "");
        assert_eq!(shape(&document.root), shape(&json.root));
        assert_eq!(document.root.members()[1].node.items()[2].line, 5);
    }

    #[test]
    fn what_is_no_json_is_told_with_its_place() {
        let check = |text: &[u8], line: Option<u32>, why: &str| {
            let unreadable = read(text).expect_err("unreadable");
            assert_eq!(unreadable.line, line, "{unreadable:?}");
            assert!(unreadable.why.contains(why), "{unreadable:?}");
        };
        check(b"[\n {\"a\": 1},\n]\n", Some(2), "line 2, column 10");
        check(b"[\n {\"a\": 1,\n }]\n", Some(2), "line 2, column 9");
        check(b"[{\"a\": \"b\"**}]", Some(1), "line 1, column 11");
        check(b"[{\"a\": ", Some(1), "EOF");
        check(b"[\"\\ud800\"]", Some(1), "not JSON");
        check(b"\xef\xbb\xbf[]", None, "byte order mark");
        check(b"\xff\xfe[\0]\0", None, "UTF-16");
        check(b"[\0]\0", None, "UTF-16");
        check(b"[\"\xff\"]", None, "UTF-8");
        check(b" \n", None, "empty");
        check(b"resource \"aws_emr_cluster\" \"c\" {\n}\n", None, "HCL");
        check(b"a: [b\nc: d", Some(2), "YAML");
        check("[".repeat(200_000).as_bytes(), Some(1), "");
        check([b"[".repeat(100), b"]".repeat(100)].concat().as_slice(), Some(1), "levels");
    }
}
