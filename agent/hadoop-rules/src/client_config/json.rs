//! A reader of JSON that accepts exactly what Jackson, YARN's JSON library, accepts.
//!
//! It reads one document and ignores what follows; a member given twice keeps its last value. Where
//! the two generations of Jackson differ, for text right after a number that is the whole document,
//! it goes with the older and more lenient one.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use thiserror::Error;

use super::text;

/// Where and why a document is refused. Never holds text of the document, which is secret.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{fault} at line {line}, column {column}")]
pub struct JsonError {
    pub line: usize,
    /// In characters, counted from one.
    pub column: usize,
    pub fault: Fault,
}

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Fault {
    #[error("the text ends within a value")]
    UnexpectedEnd,
    #[error("a value was expected")]
    NoValue,
    #[error("a member name in double quotes was expected")]
    NoName,
    #[error("`:` was expected")]
    NoColon,
    #[error("`,` or the end of the array or object was expected")]
    NoComma,
    #[error("a control character stands within a string")]
    ControlCharacter,
    #[error("an escape sequence is not known")]
    Escape,
    #[error("a number is not well formed")]
    Number,
    /// Jackson's own bound differs by version and by the size of its stack; this is the lowest.
    #[error("values are nested deeper than 1000 levels")]
    TooDeep,
}

pub(super) enum Value {
    /// As Jackson's `asText` gives it.
    Scalar(String),
    Array,
    /// As written: a map for each of a million small objects would take fifty times the file.
    Object(Vec<(String, Value)>),
}

pub(super) type Members = BTreeMap<String, Value>;

impl Value {
    /// Anything but an object has no members.
    pub(super) fn into_members(self) -> Members {
        match self {
            Self::Object(members) => members.into_iter().collect(),
            Self::Scalar(_) | Self::Array => Members::new(),
        }
    }

    pub(super) fn into_text(self) -> String {
        match self {
            Self::Scalar(text) => text,
            Self::Array | Self::Object(_) => String::new(),
        }
    }
}

/// The first document of the text; None if there is nothing but white space.
pub(super) fn read(text: &str) -> Result<Option<Value>, JsonError> {
    let mut reader = Reader { text, at: 0 };
    if reader.next_token().is_none() {
        return Ok(None);
    }
    let value = reader.value(0).map_err(|fault| reader.place(fault))?;
    Ok(Some(value))
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

const MOST_LEVELS: usize = 1_000;

impl Reader<'_> {
    fn value(&mut self, level: usize) -> Result<Value, Fault> {
        if level > MOST_LEVELS {
            return Err(Fault::TooDeep);
        }
        match self.next_token().ok_or(Fault::UnexpectedEnd)? {
            b'{' => self.object(level),
            b'[' => self.array(level),
            b'"' => self.string().map(Value::Scalar),
            b'-' | b'0'..=b'9' => self.number().map(Value::Scalar),
            _ => self.literal(),
        }
    }

    fn object(&mut self, level: usize) -> Result<Value, Fault> {
        self.at += 1;
        let mut members = Vec::new();
        if self.take(b'}') {
            return Ok(Value::Object(members));
        }
        loop {
            if self.next_token().ok_or(Fault::UnexpectedEnd)? != b'"' {
                return Err(Fault::NoName);
            }
            let name = self.string()?;
            self.expect(b':', Fault::NoColon)?;
            let value = self.value(level + 1)?;
            members.push((name, value));
            if self.take(b'}') {
                members.shrink_to_fit();
                return Ok(Value::Object(members));
            }
            self.expect(b',', Fault::NoComma)?;
        }
    }

    fn array(&mut self, level: usize) -> Result<Value, Fault> {
        self.at += 1;
        if self.take(b']') {
            return Ok(Value::Array);
        }
        loop {
            self.value(level + 1)?;
            if self.take(b']') {
                return Ok(Value::Array);
            }
            self.expect(b',', Fault::NoComma)?;
        }
    }

    fn string(&mut self) -> Result<String, Fault> {
        self.at += 1;
        // UTF-16, because an escape may be one half of a pair.
        let mut units = Vec::new();
        loop {
            let rest = &self.text[self.at..];
            let next = rest.chars().next().ok_or(Fault::UnexpectedEnd)?;
            match next {
                '"' => {
                    self.at += 1;
                    return Ok(text::encode(&units));
                }
                '\\' => units.push(self.escape()?),
                '\0'..' ' => return Err(Fault::ControlCharacter),
                _ => {
                    units.extend_from_slice(next.encode_utf16(&mut [0; 2]));
                    self.at += next.len_utf8();
                }
            }
        }
    }

    fn escape(&mut self) -> Result<u16, Fault> {
        let bytes = &self.text.as_bytes()[self.at..];
        let escaped = *bytes.get(1).ok_or(Fault::UnexpectedEnd)?;
        let unit = match escaped {
            b'"' | b'\\' | b'/' => escaped,
            b'b' => 0x08,
            b'f' => 0x0C,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => return self.hexadecimal(),
            _ => return Err(Fault::Escape),
        };
        self.at += 2;
        Ok(u16::from(unit))
    }

    fn hexadecimal(&mut self) -> Result<u16, Fault> {
        let bytes = &self.text.as_bytes()[self.at + 2..];
        let digits = bytes.get(..4).ok_or(Fault::UnexpectedEnd)?;
        let mut unit = 0;
        for digit in digits {
            let digit = char::from(*digit).to_digit(16).ok_or(Fault::Escape)?;
            unit = unit * 16 + digit;
        }
        self.at += 6;
        Ok(u16::try_from(unit).expect("four hexadecimal digits fit 16 bits"))
    }

    fn number(&mut self) -> Result<String, Fault> {
        let start = self.at;
        self.take_byte(b'-');
        let whole = self.digits()?;
        if whole.len() > 1 && whole.starts_with('0') {
            return Err(Fault::Number);
        }
        let mut is_integer = true;
        if self.take_byte(b'.') {
            is_integer = false;
            self.digits()?;
        }
        if self.take_byte(b'e') || self.take_byte(b'E') {
            is_integer = false;
            let _sign = self.take_byte(b'+') || self.take_byte(b'-');
            self.digits()?;
        }
        let written = &self.text[start..self.at];
        if written == "-0" {
            return Ok("0".to_owned());
        }
        if is_integer {
            return Ok(written.to_owned());
        }
        written.parse().map(text::double).map_err(|_| Fault::Number)
    }

    fn digits(&mut self) -> Result<&str, Fault> {
        let rest = &self.text[self.at..];
        let length = rest.bytes().take_while(u8::is_ascii_digit).count();
        if length == 0 {
            return Err(Fault::Number);
        }
        self.at += length;
        Ok(&rest[..length])
    }

    fn literal(&mut self) -> Result<Value, Fault> {
        let rest = &self.text[self.at..];
        let word = ["null", "true", "false"]
            .into_iter()
            .find(|word| rest.starts_with(word))
            .ok_or(Fault::NoValue)?;
        let next = rest[word.len()..].chars().next();
        if next.is_some_and(|next| next == '_' || next == '$' || next.is_alphanumeric()) {
            return Err(Fault::NoValue);
        }
        self.at += word.len();
        Ok(Value::Scalar(word.to_owned()))
    }

    fn expect(&mut self, byte: u8, otherwise: Fault) -> Result<(), Fault> {
        match self.next_token() {
            None => Err(Fault::UnexpectedEnd),
            Some(_) if self.take(byte) => Ok(()),
            Some(_) => Err(otherwise),
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.next_token();
        self.take_byte(byte)
    }

    fn take_byte(&mut self, byte: u8) -> bool {
        let taken = self.text.as_bytes().get(self.at) == Some(&byte);
        self.at += usize::from(taken);
        taken
    }

    /// The byte after any white space.
    fn next_token(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.at..];
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        let skipped = rest.iter().position(|byte| !blank(byte));
        self.at += skipped.unwrap_or(rest.len());
        skipped.map(|skipped| rest[skipped])
    }

    fn place(&self, fault: Fault) -> JsonError {
        let before = &self.text[..self.at];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        JsonError {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            fault,
        }
    }
}
