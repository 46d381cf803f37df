//! Standard output and error of a command. Whoever closes the pipe has read enough: that is not a failure.

use std::io::{self, IsTerminal as _, Write as _};

use crate::io::write_json;

/// Writes the text, and nothing behind it.
pub(super) fn print(text: &str) -> io::Result<()> {
    print_more(text).map(drop)
}

/// The same; false once nobody reads any more.
pub(super) fn print_more(text: &str) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    is_read(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// Writes the value as JSON over several lines.
pub(super) fn print_json(value: &impl serde::Serialize) -> io::Result<()> {
    // Standard output writes at each line's end, which a list of millions of entries would feel.
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = write_json(&mut out, value).map_err(io::Error::from);
    is_read(written.and_then(|()| writeln!(out)).and_then(|()| out.flush())).map(drop)
}

/// A message to people, on standard error; where nobody listens, there is nobody to tell.
pub(super) fn tell(message: &str) {
    let _ = writeln!(io::stderr().lock(), "{message}");
}

/// Whether standard output shows colours.
pub(super) fn has_colour() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn is_read(written: io::Result<()>) -> io::Result<bool> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true),
    }
}
