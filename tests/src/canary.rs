//! Searches output for secrets, verbatim and in the usual encodings.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem;

/// Panics with the preceding text if `output` contains the secret or its beginning: an error must not quote the
/// start of a token either.
pub fn check_absent(secret: &[u8], output: &[u8]) {
    for form in forms(secret) {
        let piece = &form[..form.len().min(PIECE)];
        let Some(at) = memmem::find(output, piece) else { continue };
        let line = output[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        panic!("found a secret after {:?}", String::from_utf8_lossy(&output[line..at]));
    }
}

/// The content of all files below `directory`, except those below `spared`.
pub fn contents(directory: &Path, spared: &[PathBuf]) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let is_spared = spared.iter().any(|spared| path.starts_with(spared));
        if path.is_dir() && !is_spared {
            all.extend(contents(&path, spared)?);
        } else if path.is_file() && !is_spared {
            all.extend(format!("\n{}: ", path.display()).into_bytes());
            all.extend(fs::read(&path)?);
        }
    }
    Ok(all)
}

/// Extracts the keys from a keytab (MIT format, version 2).
pub fn keys(keytab: &[u8]) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    let mut rest = keytab.get(2..).unwrap_or_default();
    while let Some((size, after)) = rest.split_first_chunk::<4>() {
        let size = i32::from_be_bytes(*size);
        let (entry, after) = after.split_at(after.len().min(size.unsigned_abs() as usize));
        // A negative size marks a hole.
        keys.extend((size > 0).then(|| key(entry)).flatten().map(<[u8]>::to_vec));
        rest = after;
    }
    keys
}

/// Long enough to rule out accidental matches.
const PIECE: usize = 24;

/// Before the key and its type come the names of realm and components, a name type, a time and a short version.
fn key(entry: &[u8]) -> Option<&[u8]> {
    let (components, mut rest) = counted(entry)?;
    for _ in 0..=components {
        let (length, after) = counted(rest)?;
        rest = after.get(length..)?;
    }
    let (_type, rest) = counted(rest.get(9..)?)?;
    let (length, key) = counted(rest)?;
    key.get(..length)
}

fn counted(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (count, rest) = bytes.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*count).into(), rest))
}

fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![secret.to_vec(), percent_encoded(secret).into_bytes(), hex(secret).into_bytes()];
    for (alignment, known_from) in [(0, 0), (1, 2), (2, 3)] {
        let shifted = [&[0; 2][..alignment], secret].concat();
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let encoded = engine.encode(&shifted);
            // The characters at both ends depend on the neighboring bytes.
            let inner = encoded.get(known_from..encoded.len().saturating_sub(2)).unwrap_or_default();
            forms.push(inner.as_bytes().to_vec());
        }
    }
    if let Ok(text) = str::from_utf8(secret) {
        forms.push(serde_json::Value::from(text).to_string().trim_matches('"').as_bytes().to_vec());
    }
    forms
}

fn percent_encoded(bytes: &[u8]) -> String {
    let encode = |byte: &u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(*byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    bytes.iter().map(encode).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::{check_absent, keys};

    #[test]
    fn secrets_are_found_in_every_encoding() {
        let secret = "a/secret+that is long enough";
        let check = |output: String, found: bool| {
            let outcome = catch_unwind(|| check_absent(secret.as_bytes(), output.as_bytes()));
            assert_eq!(outcome.is_err(), found, "{output}");
        };
        check(format!("x{secret}y"), true);
        check("a%2Fsecret%2Bthat%20is%20long%20enough".to_owned(), true);
        for before in ["", "u", "us", "use", "user:"] {
            check(STANDARD.encode(format!("{before}{secret}:after")), true);
        }
        check("a/secret+that was another".to_owned(), false);
    }

    #[test]
    fn keytab_keys_are_found() {
        let entry = b"\0\x01\0\x01R\0\x01a\0\0\0\x01\0\0\0\0\x02\0\x12\0\x03KEY\0\0\0\x02";
        let keytab = [b"\x05\x02".as_slice(), &(entry.len() as u32).to_be_bytes(), entry].concat();
        assert_eq!(keys(&keytab), [b"KEY".to_vec()]);
    }
}
