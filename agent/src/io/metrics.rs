//! Prometheus metrics: counters updated by passes, gauges set from the report at each scrape.

use std::time::Duration;

use domain::documents::SinkKind;
use domain::documents::plan::Drift;
use domain::findings::Severity;
use domain::status::{CheckId, StatusReport};
use jiff::Timestamp;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Encoder as _, Gauge, GaugeVec, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
    register_gauge_vec_with_registry, register_gauge_with_registry, register_histogram_vec_with_registry,
    register_int_counter_vec_with_registry, register_int_gauge_with_registry,
};

/// Histogram bounds in seconds, for calls that take milliseconds or, at worst, their whole deadline.
const DURATIONS: [f64; 9] = [0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// All metrics of the process; clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// The standard process metrics, which have no prefix.
    process: Registry,
    token_refresh: IntCounterVec,
    token_refresh_duration: HistogramVec,
    reconcile: IntCounterVec,
    reconcile_duration: HistogramVec,
    reconcile_last_success: GaugeVec,
    drift: IntCounterVec,
    adoptions: IntCounterVec,
    probes: IntCounterVec,
    passes: IntCounterVec,
    token_expiration: GaugeVec,
    token_next_refresh: GaugeVec,
    token_failures: GaugeVec,
    sink_expiration: GaugeVec,
    executor_config_valid: IntGauge,
    launches_possible: IntGauge,
    trusted_registry_ok: GaugeVec,
    findings: GaugeVec,
    settings_valid: IntGauge,
    clock_skew: Gauge,
    warm_images: GaugeVec,
    warm_pulls: IntCounterVec,
    ready: IntGauge,
    live: IntGauge,
    first_ready: Gauge,
}

impl Metrics {
    /// Registers every metric once, under the prefix `emr_ecr_agent`.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some("emr_ecr_agent".to_owned()), None)?;
        let process = Registry::new();
        process.register(Box::new(ProcessCollector::for_self()))?;
        let with = Registrar(&registry);
        let build = with.gauges(
            "build_info",
            "Always 1, labelled with the version.",
            &["version", "commit", "target"],
        )?;
        let target = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), crate::COMMIT, &target]).set(1.0);
        let metrics = Self {
            token_refresh: with.counters(
                "token_refresh_total",
                "Requests for an authorization token, by result.",
                &["registry", "result"],
            )?,
            token_refresh_duration: with.durations(
                "token_refresh_duration_seconds",
                "Duration of requests for an authorization token.",
                "registry",
            )?,
            reconcile: with.counters(
                "reconcile_total",
                "Reconciliations of a sink that changed it or failed.",
                &["sink", "result"],
            )?,
            reconcile_duration: with.durations(
                "reconcile_duration_seconds",
                "Duration of reconciliations of a sink.",
                "sink",
            )?,
            reconcile_last_success: with.gauges(
                "reconcile_last_success_timestamp_seconds",
                "Last successful reconciliation of the sink of this kind that is furthest behind, in Unix seconds.",
                &["sink"],
            )?,
            drift: with.counters(
                "drift_total",
                "Changes by others to a sink that the agent undid, by kind.",
                &["sink", "kind"],
            )?,
            adoptions: with.counters(
                "token_adopted_total",
                "Tokens adopted from the published copy instead of requested.",
                &["registry"],
            )?,
            probes: with.counters(
                "token_probe_total",
                "Probes of tokens at their registry, by result.",
                &["registry", "result"],
            )?,
            passes: with.counters("passes_total", "Passes of the main loop, by what woke it.", &["wake"])?,
            token_expiration: with.gauges(
                "token_expiration_timestamp_seconds",
                "Expiry of the current token, in Unix seconds.",
                &["registry"],
            )?,
            token_next_refresh: with.gauges(
                "token_next_refresh_timestamp_seconds",
                "Planned renewal of the current token, in Unix seconds.",
                &["registry"],
            )?,
            token_failures: with.gauges(
                "token_refresh_consecutive_failures",
                "Failed token requests since the last success.",
                &["registry"],
            )?,
            sink_expiration: with.gauges(
                "sink_expiration_timestamp_seconds",
                "Earliest credential expiry at this sink, in Unix seconds.",
                &["sink", "path"],
            )?,
            executor_config_valid: with
                .gauge("executor_config_valid", "Whether Hadoop accepts container-executor.cfg.")?,
            launches_possible: with.gauge(
                "launches_possible",
                "Whether no finding makes all launches on the node fail, or those of a served registry.",
            )?,
            trusted_registry_ok: with.gauges(
                "trusted_registry_ok",
                "Whether container-executor.cfg trusts the registry's images, by kind of container.",
                &["registry", "mode"],
            )?,
            findings: with.gauges("findings", "Findings in the node's files, by severity.", &["severity"])?,
            settings_valid: with.gauge("config_valid", "Whether the last reload of agent.toml succeeded.")?,
            clock_skew: with.real_gauge("clock_skew_seconds", "Server clock minus local clock.")?,
            warm_images: with.gauges(
                "warm_images",
                "Images of warm.images, by whether they are on the node or missing.",
                &["state"],
            )?,
            warm_pulls: with.counters(
                "warm_pulls_total",
                "Pulls of images of warm.images, by result.",
                &["result"],
            )?,
            ready: with.gauge("ready", "Whether the node is ready.")?,
            live: with.gauge("live", "Whether the main loop makes progress.")?,
            first_ready: with.real_gauge(
                "first_ready_after_boot_seconds",
                "Time from the node's boot to this process being ready for the first time; 0 until then.",
            )?,
            registry: registry.clone(),
            process,
        };
        Ok(metrics)
    }

    pub fn count_drift(&self, sink: SinkKind, drift: Drift) {
        self.drift.with_label_values(&[sink.as_str(), drift.as_str()]).inc();
    }

    pub fn count_adoption(&self, registry: &str) {
        self.adoptions.with_label_values(&[registry]).inc();
    }

    pub fn count_probe(&self, registry: &str, result: &str) {
        self.probes.with_label_values(&[registry, result]).inc();
    }

    pub fn count_pass(&self, wake: &str) {
        self.passes.with_label_values(&[wake]).inc();
    }

    pub fn count_refresh(&self, registry: &str, result: &str, took: Duration) {
        self.token_refresh.with_label_values(&[registry, result]).inc();
        self.token_refresh_duration.with_label_values(&[registry]).observe(took.as_secs_f64());
    }

    pub fn set_first_ready(&self, after_boot: Duration) {
        self.first_ready.set(after_boot.as_secs_f64());
    }

    pub fn set_warm_images(&self, on_node: usize, missing: usize) {
        for (state, count) in [("on_node", on_node), ("missing", missing)] {
            self.warm_images.with_label_values(&[state]).set(count as f64);
        }
    }

    /// `result` is `ok`, `failed` or `disk_floor`.
    pub fn count_warm_pull(&self, result: &str) {
        self.warm_pulls.with_label_values(&[result]).inc();
    }

    /// `result` is `ok`, `unchanged` or `failed`.
    pub fn count_reconcile(&self, sink: SinkKind, result: &str, took: Duration) {
        if result != "unchanged" {
            self.reconcile.with_label_values(&[sink.as_str(), result]).inc();
        }
        self.reconcile_duration.with_label_values(&[sink.as_str()]).observe(took.as_secs_f64());
    }

    /// Renders counters, and gauges from `report`, as Prometheus text.
    pub fn render(&self, report: &StatusReport) -> String {
        self.set(report);
        let mut families = self.registry.gather();
        families.extend(self.process.gather());
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&families, &mut text) {
            tracing::warn!(%error, "cannot render the metrics");
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    fn set(&self, report: &StatusReport) {
        // Registries and sinks change with the settings, so drop removed ones.
        for gone in [
            &self.token_expiration,
            &self.token_next_refresh,
            &self.token_failures,
            &self.sink_expiration,
            &self.reconcile_last_success,
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
        for sink in &report.sinks {
            let kind = sink.kind.as_str();
            set_time(&self.sink_expiration, &[kind, &sink.path], sink.expires_at);
        }
        for kind in [SinkKind::Local, SinkKind::Hdfs] {
            let sinks = report.sinks.iter().filter(|sink| sink.kind == kind);
            // `None`, which is the least, if one was never reconciled.
            let oldest = sinks.map(|sink| sink.verified_at).min().flatten();
            set_time(&self.reconcile_last_success, &[kind.as_str()], oldest);
        }
        for severity in [Severity::Error, Severity::Warning, Severity::Info] {
            let count = report.findings.iter().filter(|finding| finding.severity() == severity).count();
            self.findings.with_label_values(&[severity.as_str()]).set(count as f64);
        }
        let is_ok = |id| report.checks.iter().any(|check| check.id == id && check.ok);
        self.executor_config_valid.set(is_ok(CheckId::ExecutorConfig).into());
        self.launches_possible.set(is_ok(CheckId::Launches).into());
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

/// Creates and registers metrics.
struct Registrar<'r>(&'r Registry);

impl Registrar<'_> {
    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        register_int_counter_vec_with_registry!(Opts::new(name, help), labels, self.0)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, prometheus::Error> {
        register_gauge_vec_with_registry!(Opts::new(name, help), labels, self.0)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        register_int_gauge_with_registry!(name, help, self.0)
    }

    fn real_gauge(&self, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
        register_gauge_with_registry!(name, help, self.0)
    }

    fn durations(&self, name: &str, help: &str, label: &str) -> Result<HistogramVec, prometheus::Error> {
        register_histogram_vec_with_registry!(name, help, &[label], DURATIONS.to_vec(), self.0)
    }
}
