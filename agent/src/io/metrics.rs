//! Prometheus metrics: counters kept as passes go by, gauges set from the report when asked.

mod process;

use std::time::Duration;

use domain::documents::plan::Drift;
use domain::findings::Severity;
use domain::status::{PlaceKind, Report};
use jiff::Timestamp;
use prometheus::{
    Encoder as _, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};

/// Bounds in seconds for calls that take milliseconds on a good day and a deadline on a bad one.
const DURATIONS: [f64; 9] = [0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// All metrics of the process; clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    token_refresh: IntCounterVec,
    token_refresh_duration: HistogramVec,
    publish: IntCounterVec,
    publish_duration: HistogramVec,
    publish_last_success: GaugeVec,
    drift: IntCounterVec,
    adoptions: IntCounterVec,
    trials: IntCounterVec,
    passes: IntCounterVec,
    token_expiration: GaugeVec,
    token_next_refresh: GaugeVec,
    token_failures: GaugeVec,
    published_expiration: GaugeVec,
    executor_config_valid: IntGauge,
    trusted_registry_ok: GaugeVec,
    findings: GaugeVec,
    settings_valid: IntGauge,
    clock_skew: Gauge,
    ready: IntGauge,
    live: IntGauge,
}

impl Metrics {
    /// Registers every metric once, under the prefix `emr_ecr_agent`.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some("emr_ecr_agent".to_owned()), None)?;
        let with = Registrar(&registry);
        let build = with.gauges(
            "build_info",
            "Always 1, labelled with the version.",
            &["version", "commit", "target"],
        )?;
        let target = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
        // Set when a package is built.
        let commit = option_env!("EMR_ECR_AGENT_COMMIT").unwrap_or("unknown");
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), commit, &target]).set(1.0);
        let metrics = Self {
            token_refresh: with.counters(
                "token_refresh_total",
                "Calls to ECR by outcome.",
                &["registry", "result"],
            )?,
            token_refresh_duration: with.durations(
                "token_refresh_duration_seconds",
                "Time a call to ECR took.",
                "registry",
            )?,
            publish: with.counters(
                "publish_total",
                "Visits that changed a place or failed.",
                &["sink", "result"],
            )?,
            publish_duration: with.durations(
                "publish_duration_seconds",
                "Time a visit to a place took.",
                "sink",
            )?,
            publish_last_success: with.gauges(
                "publish_last_success_timestamp_seconds",
                "When a place was last in order.",
                &["sink"],
            )?,
            drift: with.counters(
                "drift_total",
                "Places that others changed and that were mended.",
                &["sink", "kind"],
            )?,
            adoptions: with.counters(
                "token_adopted_total",
                "Tokens taken over from the published copy instead of a call to ECR.",
                &["registry"],
            )?,
            trials: with.counters(
                "token_verify_total",
                "Tokens tried at their registry by what it said.",
                &["registry", "result"],
            )?,
            passes: with.counters("passes_total", "Passes by what woke them.", &["wake"])?,
            token_expiration: with.gauges(
                "token_expiration_timestamp_seconds",
                "When the token in hand ends.",
                &["registry"],
            )?,
            token_next_refresh: with.gauges(
                "token_next_refresh_timestamp_seconds",
                "When the token in hand is renewed.",
                &["registry"],
            )?,
            token_failures: with.gauges(
                "token_refresh_consecutive_failures",
                "Failed calls since the last success.",
                &["registry"],
            )?,
            published_expiration: with.gauges(
                "published_expiration_timestamp_seconds",
                "When the soonest credential ends that a reader of the place finds.",
                &["sink", "path"],
            )?,
            executor_config_valid: with
                .gauge("executor_config_valid", "Whether Hadoop would take container-executor.cfg.")?,
            trusted_registry_ok: with.gauges(
                "trusted_registry_ok",
                "Whether container-executor.cfg trusts the registry's images, by kind of container.",
                &["registry", "mode"],
            )?,
            findings: with.gauges("findings", "Findings about the node's files.", &["severity"])?,
            settings_valid: with.gauge("config_valid", "Whether the last reload of agent.toml was taken.")?,
            clock_skew: with.real_gauge("clock_skew_seconds", "Server clock minus local clock.")?,
            ready: with.gauge("ready", "Whether submissions can rely on this node.")?,
            live: with.gauge("live", "Whether the loop goes round.")?,
            registry: registry.clone(),
        };
        Ok(metrics)
    }

    pub fn count_drift(&self, sink: PlaceKind, drift: Drift) {
        self.drift.with_label_values(&[sink.as_str(), drift.as_str()]).inc();
    }

    pub fn count_adoption(&self, registry: &str) {
        self.adoptions.with_label_values(&[registry]).inc();
    }

    pub fn count_trial(&self, registry: &str, result: &str) {
        self.trials.with_label_values(&[registry, result]).inc();
    }

    pub fn count_pass(&self, wake: &str) {
        self.passes.with_label_values(&[wake]).inc();
    }

    pub fn count_refresh(&self, registry: &str, result: &str, took: Duration) {
        self.token_refresh.with_label_values(&[registry, result]).inc();
        self.token_refresh_duration.with_label_values(&[registry]).observe(took.as_secs_f64());
    }

    /// `result` is `ok`, `unchanged` or `failed`.
    pub fn count_visit(&self, sink: PlaceKind, result: &str, took: Duration) {
        if result != "unchanged" {
            self.publish.with_label_values(&[sink.as_str(), result]).inc();
        }
        self.publish_duration.with_label_values(&[sink.as_str()]).observe(took.as_secs_f64());
    }

    /// Prometheus text of the counters and of what `report` says.
    pub fn render(&self, report: &Report) -> String {
        self.set(report);
        let mut families = self.registry.gather();
        families.extend(process::families());
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&families, &mut text) {
            tracing::warn!(%error, "cannot render the metrics");
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    fn set(&self, report: &Report) {
        // Registries and places come and go with the settings: what is gone must not be shown for ever.
        for gone in [
            &self.token_expiration,
            &self.token_next_refresh,
            &self.token_failures,
            &self.published_expiration,
            &self.trusted_registry_ok,
        ] {
            gone.reset();
        }
        for registry in &report.registries {
            let host = &[registry.host.as_str()];
            set_time(&self.token_expiration, host, registry.expires_at);
            set_time(&self.token_next_refresh, host, registry.refresh_at);
            self.token_failures.with_label_values(host).set(registry.consecutive_failures.into());
            if let Some(trust) = registry.trusted {
                for (mode, ok) in [("normal", trust.normal), ("privileged", trust.privileged)] {
                    let labels = &[host[0], mode];
                    self.trusted_registry_ok.with_label_values(labels).set(f64::from(u8::from(ok)));
                }
            }
        }
        for place in &report.places {
            let sink = place.kind.as_str();
            set_time(&self.published_expiration, &[sink, &place.path], place.expires_at);
            set_time(&self.publish_last_success, &[sink], place.verified_at);
        }
        for severity in [Severity::Error, Severity::Warning, Severity::Info] {
            let count = report.findings.iter().filter(|finding| finding.severity() == severity).count();
            self.findings.with_label_values(&[severity.as_str()]).set(count as f64);
        }
        let executor_cfg =
            report.checks.iter().any(|check| check.name == "container-executor.cfg" && check.ok);
        self.executor_config_valid.set(executor_cfg.into());
        self.settings_valid.set(report.settings_error.is_none().into());
        self.clock_skew.set(report.clock_skew_seconds);
        self.ready.set(report.ready.into());
        self.live.set(report.live.into());
    }
}

fn set_time(gauge: &GaugeVec, labels: &[&str], at: Option<Timestamp>) {
    if let Some(at) = at {
        gauge.with_label_values(labels).set(at.as_duration().as_secs_f64());
    }
}

/// Makes a metric and registers it.
struct Registrar<'r>(&'r Registry);

impl Registrar<'_> {
    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.add(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, prometheus::Error> {
        self.add(GaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.add(IntGauge::new(name, help)?)
    }

    fn real_gauge(&self, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
        self.add(Gauge::new(name, help)?)
    }

    fn durations(&self, name: &str, help: &str, label: &str) -> Result<HistogramVec, prometheus::Error> {
        self.add(HistogramVec::new(HistogramOpts::new(name, help).buckets(DURATIONS.to_vec()), &[label])?)
    }

    fn add<C: prometheus::core::Collector + Clone + 'static>(
        &self,
        collector: C,
    ) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }
}
