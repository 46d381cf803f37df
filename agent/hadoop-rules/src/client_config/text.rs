//! Java's conversions between bytes and text, where they differ from Rust's.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;

/// UTF-8 as Java decodes it: invalid bytes become `replacement`, and an encoded surrogate becomes one of it, not
/// three.
pub(super) fn decode(bytes: &[u8], replacement: char) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(chunk) = rest.utf8_chunks().next() {
        text.push_str(chunk.valid());
        let invalid = &rest[chunk.valid().len()..];
        let length = match invalid {
            [0xED, 0xA0..=0xBF, 0x80..=0xBF, ..] => 3,
            [0xED, 0xA0..=0xBF, ..] => 2,
            _ => chunk.invalid().len(),
        };
        if length > 0 {
            text.push(replacement);
        }
        rest = &invalid[length..];
    }
    text
}

/// Java's `Double.toString`.
pub(super) fn double(number: f64) -> String {
    if number.is_infinite() {
        return if number.is_sign_negative() { "-Infinity" } else { "Infinity" }.to_owned();
    }
    let plain = number == 0.0 || (1e-3..1e7).contains(&number.abs());
    if plain {
        return format!("{number:?}");
    }
    let scientific = format!("{number:e}");
    match scientific.split_once('e') {
        Some((mantissa, exponent)) if mantissa.contains('.') => format!("{mantissa}E{exponent}"),
        Some((mantissa, exponent)) => format!("{mantissa}.0E{exponent}"),
        None => scientific,
    }
}
