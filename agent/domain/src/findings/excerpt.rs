//! The line that a finding is about, and the part of it to mark.

use hadoop_rules::executor_config::lossy;

use super::Finding;

/// The most bytes of a line to show.
const WIDEST: usize = 100;
/// Bytes to show before the part at fault if the line is too long.
const LEAD: usize = 20;

/// A line as printed, with the part at fault.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Excerpt {
    about: Vec<u8>,
    /// The line, or as much of it as fits, with control characters made visible.
    pub line: String,
    /// Where the part at fault begins, in characters.
    pub start: usize,
    /// Characters to point at; at least one.
    pub length: usize,
}

impl Excerpt {
    pub(super) fn of(text: &[u8]) -> Self {
        Self { about: text[..text.len().min(WIDEST)].to_vec(), ..Self::default() }
    }

    /// The part at fault.
    pub(crate) fn about(&self) -> &[u8] {
        &self.about
    }

    fn show(&mut self, line: &[u8]) {
        let found = find(line, &self.about).filter(|_| !self.about.is_empty());
        let (start, length) = found.map_or((0, line.len()), |start| (start, self.about.len()));
        let from = if line.len() > WIDEST { start.saturating_sub(LEAD) } else { 0 };
        let to = line.len().min(from + WIDEST);
        let end = (start + length).min(to);
        let visible = |bytes: &[u8]| lossy(bytes).chars().map(visible).collect::<String>();
        let (before, fault) = (visible(&line[from..start]), visible(&line[start..end]));
        self.start = before.chars().count();
        self.length = fault.chars().count().max(1);
        self.line = before + &fault + &visible(&line[end..to]);
    }
}

/// As much as fits in a message.
pub(crate) fn clipped(text: &[u8]) -> &[u8] {
    &text[..text.len().min(200)]
}

/// Adds its line's text to every finding in that file, in one pass over the file.
pub fn point_at(findings: &mut [Finding], file: &str, text: &[u8]) {
    let mut wanted: Vec<&mut Finding> = findings
        .iter_mut()
        .filter(|finding| finding.file.as_deref() == Some(file) && finding.line.is_some())
        .collect();
    wanted.sort_by_key(|finding| finding.line);
    let mut lines = (1_u32..).zip(text.split(|byte| *byte == b'\n')).peekable();
    for finding in wanted {
        while lines.next_if(|(number, _)| Some(*number) < finding.line).is_some() {}
        if let Some((_, line)) = lines.peek() {
            finding.excerpt.get_or_insert_default().show(line);
        }
    }
}

fn find(line: &[u8], part: &[u8]) -> Option<usize> {
    line.windows(part.len().max(1)).position(|window| window == part)
}

/// Replaces characters that a terminal would not show, or would act on.
fn visible(character: char) -> char {
    match character {
        '\t' => '→',
        '\r' => '␍',
        '\0' => '␀',
        '\u{feff}' => '\u{fffd}',
        other if other.is_control() => '\u{fffd}',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::codes::UNKNOWN_KEY;
    use super::*;

    fn check(text: &[u8], line: u32, about: &str, expected: (&str, usize, usize)) {
        let finding = Finding::new(UNKNOWN_KEY, "").in_file("f").at(line).about(about.as_bytes());
        let mut findings = [finding];
        point_at(&mut findings, "f", text);
        let excerpt = findings[0].excerpt.clone().expect("there from the start");
        assert_eq!((excerpt.line.as_str(), excerpt.start, excerpt.length), expected);
    }

    #[test]
    fn marks_the_part_at_fault() {
        check(b"a=b\nkey=va lue\n", 2, "va", ("key=va lue", 4, 2));
        check(b"key=1", 1, "absent", ("key=1", 0, 5));
        check(b"\t\r", 1, "", ("→␍", 0, 2));
        check(b"\n", 1, "", ("", 0, 1));
        check(b"\xffk=1", 1, "k", ("\u{fffd}k=1", 1, 1));
        let wide = [b"x".repeat(500), b"fault".to_vec(), b"y".repeat(500)].concat();
        let shown = format!("{}fault{}", "x".repeat(20), "y".repeat(75));
        check(&wide, 1, "fault", (&shown, 20, 5));
    }
}
