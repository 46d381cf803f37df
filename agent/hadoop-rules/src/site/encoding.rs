//! Decodes an XML file by its byte order mark or its declared encoding.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

/// The longest XML declaration, in bytes.
const LONGEST_DECLARATION: usize = 200;

/// The text, or the number of valid bytes if it is not in its encoding.
pub(super) fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, usize> {
    match bytes {
        [0xff, 0xfe, rest @ ..] => return utf_16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => return utf_16(rest, u16::from_be_bytes),
        [b'<', 0, ..] => return utf_16(bytes, u16::from_le_bytes),
        [0, b'<', ..] => return utf_16(bytes, u16::from_be_bytes),
        _ => {}
    }
    if is_latin_1(bytes) {
        return Ok(Cow::Owned(bytes.iter().copied().map(char::from).collect()));
    }
    core::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|error| error.valid_up_to())
}

fn utf_16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<Cow<'_, str>, usize> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let units: Vec<u16> = pairs.iter().copied().map(unit).collect();
    let text = String::from_utf16(&units).map_err(|_| 0_usize)?;
    if rest.is_empty() { Ok(Cow::Owned(text)) } else { Err(bytes.len() - 1) }
}

fn is_latin_1(bytes: &[u8]) -> bool {
    const NAMES: [&[u8]; 4] = [b"iso-8859-1", b"iso8859_1", b"latin1", b"iso_8859-1"];
    let head = &bytes[..bytes.len().min(LONGEST_DECLARATION)];
    let Some(end) = head.windows(2).position(|pair| pair == b"?>").filter(|_| head.starts_with(b"<?xml"))
    else {
        return false;
    };
    let declaration = head[..end].to_ascii_lowercase();
    let name = declaration.windows(9).position(|word| word == b"encoding=").map(|at| &declaration[at + 9..]);
    let name = name.and_then(|name| name.split(|byte| matches!(byte, b'"' | b'\'')).nth(1));
    name.is_some_and(|name| NAMES.contains(&name))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn files_are_read_in_the_encoding_that_they_declare() {
        let check = |bytes: &[u8], expected: Result<&str, usize>| {
            assert_eq!(decode(bytes).as_deref(), expected.as_ref().copied());
        };
        check("<a>ä</a>".as_bytes(), Ok("<a>ä</a>"));
        check(b"<a>\xe4</a>", Err(3));
        check(
            b"<?xml version='1.0' encoding='ISO-8859-1'?><a>\xe4</a>",
            Ok("<?xml version='1.0' encoding='ISO-8859-1'?><a>ä</a>"),
        );
        for (head, is_latin_1) in [
            ("<?xml version=\"1.0\" encoding=\"latin1\" standalone='yes'?>", true),
            ("<?xml version='1.0' encoding='utf-8'?>", false),
            ("<?xml version='latin1'?>", false),
            ("<?xml version='1.0' encoding='latin1'>", false),
            ("<xml version='1.0' encoding='latin1'?>", false),
        ] {
            let bytes = [head.as_bytes(), b"\xe4"].concat();
            let text = format!("{head}ä");
            check(&bytes, if is_latin_1 { Ok(&text) } else { Err(head.len()) });
        }
        let little: Vec<u8> = "<a>ä</a>".encode_utf16().flat_map(u16::to_le_bytes).collect();
        check(&little, Ok("<a>ä</a>"));
        check(&[&[0xff, 0xfe][..], &little].concat(), Ok("<a>ä</a>"));
        let big: Vec<u8> = "\u{feff}<a/>".encode_utf16().flat_map(u16::to_be_bytes).collect();
        check(&big, Ok("<a/>"));
        let big_without_mark: Vec<u8> = "<ä/>".encode_utf16().flat_map(u16::to_be_bytes).collect();
        check(&big_without_mark, Ok("<ä/>"));
        check(&little[..3], Err(2));
        check(&little[..5], Err(4));
        assert_eq!(decode(b"").map(|text| text.to_string()), Ok(String::new()));
    }
}
