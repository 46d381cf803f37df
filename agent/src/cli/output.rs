//! Standard output and error of a command. A closed pipe is not a failure: the reader has read enough.

use std::io::{self, IsTerminal as _, Write as _};

use crate::io::write_json;

/// Writes the text as is, without a trailing newline.
pub(super) fn print(text: &str) -> io::Result<()> {
    print_more(text).map(drop)
}

/// Like [`print`], but returns `false` once the pipe is closed.
pub(super) fn print_more(text: &str) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    is_read(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// Writes the value as pretty-printed JSON.
pub(super) fn print_json(value: &impl serde::Serialize) -> io::Result<()> {
    // Standard output flushes at each newline, which is slow for a list of millions of entries.
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = write_json(&mut out, value).map_err(io::Error::from);
    is_read(written.and_then(|()| writeln!(out)).and_then(|()| out.flush())).map(drop)
}

/// Writes a line to standard error; ignores failures.
pub(super) fn message(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Whether to use colours on standard output.
pub(super) fn has_colour() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn is_read(written: io::Result<()>) -> io::Result<bool> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true),
    }
}
