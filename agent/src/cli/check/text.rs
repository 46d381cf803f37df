//! The report as text for people: the result for each image, then findings by severity.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use domain::check::{ImageReport, Report};
use domain::findings::{Excerpt, Finding, Severity};

const BOLD: Style = Style::new().bold();
const RED: Style = AnsiColor::Red.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const CYAN: Style = AnsiColor::Cyan.on_default();

/// Renders the whole report; uses escape sequences only if `colour`.
pub(super) fn render(report: &Report, colour: bool) -> String {
    let mut page = Page { text: String::new(), colour };
    for image in &report.images {
        page.image(image);
    }
    for severity in [Severity::Error, Severity::Warning, Severity::Info] {
        let findings: Vec<_> = report.findings.iter().filter(|f| f.severity() == severity).collect();
        if findings.is_empty() {
            continue;
        }
        let heading = heading(severity, findings.len());
        let heading = page.painted(colour_of(severity), &heading);
        page.line(&heading);
        for finding in findings {
            page.finding(finding);
        }
    }
    if let Some(docker) = &report.docker {
        let live = match docker.live_restore {
            Some(true) => ", with live-restore",
            Some(false) => ", without live-restore",
            None => "",
        };
        let driver = docker.cgroup_driver.as_ref().map(|driver| format!(", cgroup driver {driver}"));
        page.line(&printable(&format!("Docker {}{live}{}", docker.version, driver.unwrap_or_default())));
    }
    if !report.not_checked.is_empty() {
        page.line(&printable(&format!("not checked: {}", report.not_checked.join("; "))));
    }
    page.line(&summary(report));
    page.text
}

fn summary(report: &Report) -> String {
    let count = |severity| report.findings.iter().filter(|finding| finding.severity() == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let warnings = match warnings {
        0 => String::new(),
        count => format!(", {}", heading(Severity::Warning, count)),
    };
    let verdict = match errors {
        _ if report.unread => "a file could not be read".to_owned(),
        0 => "no error found".to_owned(),
        count => heading(Severity::Error, count),
    };
    format!("checked by the rules of Hadoop {}: {verdict}{warnings}", report.rules.0)
}

struct Page {
    text: String,
    colour: bool,
}

impl Page {
    fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    fn painted(&self, style: Style, text: &str) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    fn image(&mut self, image: &ImageReport) {
        let name = printable(&image.image);
        let verdict = match image.would_launch {
            Some(true) => "would launch".to_owned(),
            Some(false) => format!("would not launch: {}", image.reasons.join("; ")),
            None => format!(
                "unknown: it depends on {}",
                image.unknown.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
            ),
        };
        let name = self.painted(BOLD, &name);
        self.line(&format!("{name} {}", printable(&verdict)));
        for mount in image.mounts.iter().flatten() {
            let verdict = match &mount.reason {
                None => "allowed".to_owned(),
                Some(reason) => printable(reason),
            };
            self.line(&format!("  mount {}: {verdict}", printable(&mount.mount)));
        }
        self.line("");
    }

    fn finding(&mut self, finding: &Finding) {
        let code = self.painted(colour_of(finding.severity()), finding.code.name);
        let (location, message) =
            (self.painted(BOLD, &printable(&finding.location_prefix())), printable(&finding.message));
        self.line(&format!("  {location}{message} [{code}]"));
        if let Some(excerpt) = finding.excerpt.as_ref().filter(|excerpt| !excerpt.line.is_empty()) {
            self.excerpt(excerpt, finding);
        }
        self.line(&format!("      effect: {}", finding.effect_text()));
        if let Some(fix) = &finding.fix {
            self.line(&format!("      fix:    {}", printable(&fix.text)));
        }
        self.line("");
    }

    fn excerpt(&mut self, excerpt: &Excerpt, finding: &Finding) {
        let marker = self.painted(colour_of(finding.severity()), &"^".repeat(excerpt.length));
        self.line(&format!("      | {}", excerpt.line));
        self.line(&format!("      | {}{marker}", " ".repeat(excerpt.start)));
    }
}

fn heading(severity: Severity, count: usize) -> String {
    match (severity, count) {
        (Severity::Error, 1) => "1 error".to_owned(),
        (Severity::Error, count) => format!("{count} errors"),
        (Severity::Warning, 1) => "1 warning".to_owned(),
        (Severity::Warning, count) => format!("{count} warnings"),
        (Severity::Info, 1) => "1 info".to_owned(),
        (Severity::Info, count) => format!("{count} info"),
    }
}

fn colour_of(severity: Severity) -> Style {
    match severity {
        Severity::Error => RED,
        Severity::Warning => YELLOW,
        Severity::Info => CYAN,
    }
}

/// Escapes control characters, which a terminal would obey.
pub(in crate::cli) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            // Writing to a String cannot fail.
            let _ = write!(printable, "{}", character.escape_default());
        } else {
            printable.push(character);
        }
    }
    printable
}
