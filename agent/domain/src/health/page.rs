//! The status page for humans: the status at a glance, in one file without scripts.

use jiff::{SignedDuration, Timestamp};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::findings::Finding;
use crate::status::{RegistryReport, SinkReport, StatusReport};
use crate::time::friendly;

/// How often a browser reloads the page, in seconds.
const RELOAD: u32 = 15;
/// Readable at a width of 400 pixels, and in dark mode.
const STYLE: &str = "body{font:16px/1.4 sans-serif;max-width:60em;margin:1em auto;padding:0 .6em}\
h1{font-size:1.3em}h2{font-size:1.05em;margin:1.2em 0 .3em;border-bottom:1px solid #8888}\
td,th,li,p{overflow-wrap:anywhere;text-align:left;vertical-align:top}table{border-collapse:collapse;width:100%}\
td,th{padding:.15em .5em .15em 0}.good,.bad{font-weight:bold}.good::before{content:'\\2714\\a0'}\
.bad::before{content:'\\2718\\a0'}.bad{color:#c00}.good{color:#070}time{white-space:nowrap}\
@media(max-width:40em){td{display:block;padding:0}tr{display:block;margin:.5em 0}}\
@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}a{color:#8bf}.bad{color:#f77}.good{color:#7d7}}";
/// A content security policy that allows this style and nothing else, and loads nothing.
pub const POLICY: &str = "default-src 'none'; style-src 'sha256-Vt9p7HD492tyARGv2t69OTo56nHZznUh1IIO9Y/GD2s='; \
base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page as HTML.
pub fn render(report: &StatusReport) -> String {
    let state = if report.ready { "ready" } else { "not ready" };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                meta http-equiv="refresh" content=(RELOAD);
                title { (report.node) ": " (state) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (report.node) ": " span class=(class(report.ready)) { (state) } }
                p { "emr-ecr-agent " (report.version) ", " (time(report.now)) }
                (readiness(report))
                h2 { "Registries" }
                @if report.registries.is_empty() { p { "None." } }
                table { @for registry in &report.registries { (registry_row(registry, report)) } }
                h2 { "Sinks" }
                table { @for sink in &report.sinks { (sink_row(sink, report)) } }
                @if !report.findings.is_empty() {
                    h2 { "Findings" }
                    ul { @for finding in &report.findings { (finding_item(finding)) } }
                }
                @if !report.recent_events.is_empty() {
                    h2 { "Last changes" }
                    table {
                        @for event in &report.recent_events {
                            tr { td { (time(event.at)) } td { (event.event) " " (event.text) } }
                        }
                    }
                }
                p { @for path in ["/readyz?verbose", "/status", "/metrics"] { a href=(path) { (path) } " " } }
            }
        }
    };
    page.into_string()
}

/// Why the node is not ready, and what it waits for.
fn readiness(report: &StatusReport) -> Markup {
    let failing = report.checks.iter().filter(|check| !check.ok);
    html! {
        @if !report.live { p class="bad" { "The main loop is stuck." } }
        ul {
            @for check in failing {
                li { b { (check.name) } ": " (check.why.as_deref().unwrap_or_default()) }
            }
            @for thing in &report.waiting_for { li { "waiting for " (thing) } }
            @if let Some(error) = &report.settings_error { li { "agent.toml was refused: " (error) } }
        }
    }
}

fn registry_row(registry: &RegistryReport, report: &StatusReport) -> Markup {
    let token = registry.check_name();
    let ok = report.checks.iter().any(|check| check.ok && check.name == token);
    html! {
        tr {
            td class=(class(ok)) { (registry.host) @for alias in &registry.aliases { ", " (alias) } }
            td { (left(registry.expires_at, report, "no token yet")) }
            td { @if let Some(error) = &registry.last_error { (error) } }
        }
    }
}

fn sink_row(sink: &SinkReport, report: &StatusReport) -> Markup {
    let publisher = sink.published.as_ref().and_then(|published| published.publisher.as_ref());
    html! {
        tr {
            td class=(class(sink.fresh)) { (sink.kind.as_str()) " " (sink.path) }
            td { (left(sink.expires_at, report, "no credential")) }
            td {
                @if let Some(publisher) = publisher { "published by " (publisher) " " }
                @if let Some(error) = &sink.error { (error) }
            }
        }
    }
}

fn finding_item(finding: &Finding) -> Markup {
    html! {
        li {
            b { (finding.code.name) } " (" (finding.severity().as_str()) "): " (finding.location_prefix()) (finding.message)
            br;
            "Effect: " (finding.effect_text()) "."
            @if let Some(fix) = &finding.fix { br; "Fix: " (fix.text) }
        }
    }
}

/// The time until a credential expires, by the server's clock.
fn left(expires_at: Option<Timestamp>, report: &StatusReport, none: &str) -> Markup {
    let Some(at) = expires_at else { return html! { (none) } };
    let server_now = report.now + SignedDuration::from_secs_f64(report.clock_skew_seconds);
    let left = at.duration_since(server_now);
    html! {
        @if left.is_positive() { (friendly(left)) " left" } @else { span class="bad" { "expired" } }
        ", " (time(at))
    }
}

fn time(at: Timestamp) -> Markup {
    html! { time { (at.strftime("%F %T UTC")) } }
}

fn class(good: bool) -> &'static str {
    if good { "good" } else { "bad" }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use sha2::{Digest as _, Sha256};

    use super::{POLICY, STYLE, render};
    use crate::status::tests::{HOST, at, sound};
    use crate::status::{RecentEvent, StatusReport};

    #[test]
    fn the_policy_allows_this_style_and_no_other() {
        let hash = STANDARD.encode(Sha256::digest(STYLE));
        assert!(POLICY.contains(&format!("'sha256-{hash}'")), "{hash}");
    }

    #[test]
    fn it_shows_readiness_and_time_left() {
        let html = render(&StatusReport::new(&sound(), at(0)));
        for shown in ["node: ready", HOST, "12h left", "hdfs /h"] {
            assert!(html.contains(shown), "{shown}: {html}");
        }
        let stale = render(&StatusReport::new(&sound(), at(200)));
        assert!(stale.contains("node: not ready") && stale.contains("not verified since"), "{stale}");
    }

    #[test]
    fn what_others_wrote_is_text() {
        let mut status = sound();
        let text = "<script>alert(1)</script>".to_owned();
        status.recent_events = vec![RecentEvent { at: at(0).wall, event: "finding".to_owned(), text }];
        let html = render(&StatusReport::new(&status, at(0)));
        assert!(!html.contains("<script>") && html.contains("&lt;script&gt;"), "{html}");
    }
}
