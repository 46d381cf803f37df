//! The sinks: when each is reconciled, and its state between passes.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::credentials::{Credentials, EntryName, Secret, StaticCredentials};
use domain::documents::SinkKind;
use domain::documents::plan::{self, Found, Plan};
use domain::documents::{Contents, Keep, MergeContext, PublishedDocument};
use domain::problem::Problem;
use domain::refresh::Audience;
use domain::settings::RegistrySettings;
use domain::status::SinkStatus;
use domain::time::Moment;

use super::{Agent, PassContext, PassReport, Wake};
use crate::sink::{Intent, Planner, Reconciled, Sink};

/// A timer that fires this much early still ends the interval.
const INTERVAL_SLACK: Duration = Duration::from_millis(50);

/// The state of every sink.
pub(super) struct SinkStates {
    pub local: Vec<SinkState>,
    pub published: SinkState,
}

/// The state of a sink, kept between passes.
pub(super) struct SinkState {
    pub status: SinkStatus,
    /// Uptime at the last reconciliation, successful or not.
    pub reconciled_at: Option<Duration>,
    /// The credentials it was last reconciled with.
    wanted: Credentials,
    /// The file as the last reconciliation left it.
    left: Found,
    /// The entry names that were looked up in it.
    names: Vec<EntryName>,
    /// The published copy as it was left, parsed.
    pub document: PublishedDocument,
    /// The credentials last found in it, under `names`.
    pub auths: BTreeMap<EntryName, Secret>,
}

/// Identifies a sink.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which {
    Local(usize),
    Published,
}

impl SinkStates {
    pub(super) fn of(parts: &super::Parts) -> Self {
        let local = parts.local.iter().map(|sink| SinkState::new(sink.as_ref())).collect();
        Self { local, published: SinkState::new(&*parts.published) }
    }

    /// Takes over the state of the sinks that existed before a reload; of the published one unless its path is now
    /// another cluster's (`moves`).
    pub(super) fn carry_over(&mut self, before: Self, moves: bool) {
        let published = Some(before.published).filter(|_| !moves);
        let mut known: Vec<SinkState> = before.local.into_iter().chain(published).collect();
        for sink in self.local.iter_mut().chain([&mut self.published]) {
            let (kind, path) = (sink.status.kind, &sink.status.path);
            let is_same = |known: &SinkState| known.status.kind == kind && known.status.path == *path;
            if let Some(found) = known.iter().position(is_same) {
                *sink = known.swap_remove(found);
            }
        }
        // Its mode, owner or entries to keep may have changed.
        self.published.reconciled_at = None;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &SinkState> {
        self.local.iter().chain([&self.published])
    }

    /// Time from `now` until the first sink is due.
    pub(super) fn quiet_for(&self, now: Moment, interval: Duration) -> Duration {
        self.iter().map(|sink| sink.quiet_for(now, interval)).fold(interval, Duration::min)
    }

    /// A problem that only a new process can fix.
    pub(super) fn fatal(&self) -> Option<&Problem> {
        self.iter().filter_map(|sink| sink.status.error.as_ref()).find(|problem| problem.fatal)
    }
}

impl SinkState {
    fn new(sink: &dyn Sink) -> Self {
        let status = SinkStatus {
            kind: sink.kind(),
            path: sink.path(),
            verified_at: None,
            error: None,
            closed: None,
            held: BTreeMap::new(),
            publication: None,
            probes: BTreeMap::new(),
            strangers: Vec::new(),
        };
        Self {
            status,
            reconciled_at: None,
            wanted: Credentials::new(),
            left: Found::NOTHING,
            names: Vec::new(),
            document: PublishedDocument::default(),
            auths: BTreeMap::new(),
        }
    }

    /// Whether the last reconciliation succeeded.
    pub(super) fn is_in_order(&self) -> bool {
        self.status.verified_at.is_some() && self.status.error.is_none()
    }

    /// HDFS is queried at most once per interval while nothing changes on this node.
    fn is_due(&self, wake: Wake, wanted: &Credentials, now: Moment, interval: Duration) -> bool {
        let rested =
            self.reconciled_at.is_none_or(|at| now.uptime.saturating_sub(at) + INTERVAL_SLACK >= interval);
        let may_be_fixed = wake == Wake::Changed && self.status.error.is_some();
        self.status.kind == SinkKind::Local || rested || may_be_fixed || self.wanted != *wanted
    }

    fn quiet_for(&self, now: Moment, interval: Duration) -> Duration {
        self.reconciled_at.map_or(Duration::ZERO, |at| (at + interval).saturating_sub(now.uptime))
    }

    fn note_success(
        &mut self,
        reconciled: Reconciled,
        wanted: &Credentials,
        registries: &[RegistrySettings],
        now: Moment,
    ) {
        let served = registries.iter().flat_map(RegistrySettings::names).map(EntryName::from);
        let names: Vec<EntryName> = served.chain(wanted.keys().cloned()).collect();
        let is_known = self.left == reconciled.found && self.names == names && self.wanted == *wanted;
        if !is_known || self.status.verified_at.is_none() || self.status.error.is_some() {
            let contents = Contents::read(&reconciled.found, self.status.kind);
            self.status.held = contents.held(&names, wanted);
            self.status.strangers = contents.strangers(&names);
            self.status.publication = contents.publication().cloned();
            self.auths = contents.auths(&names);
            self.document = contents.into_published();
            self.left = reconciled.found;
            self.names = names;
        }
        self.status.verified_at = Some(now);
        self.status.error = None;
    }

    pub(super) fn note_failure(&mut self, problem: Problem, report: &mut PassReport) {
        report.errors.push(problem.message.clone());
        if problem.leaves_nothing {
            self.status.held.clear();
            self.auths.clear();
            self.status.strangers.clear();
        }
        self.status.error = Some(problem);
    }
}

impl Agent {
    /// Reconciles the sink if it is due, by time or because the credentials have changed.
    pub(super) async fn reconcile_if_due(
        &mut self,
        which: Which,
        context: PassContext<'_>,
        report: &mut PassReport,
    ) {
        let now = self.world.now();
        let wanted = self.living_credentials(which);
        let interval = self.settings.refresh.pass_interval;
        let sink = self.sink_state(which);
        let first_of_kind = matches!(context.wake, Wake::Start | Wake::Reload)
            && sink.reconciled_at.is_none_or(|at| at < context.began);
        if first_of_kind || sink.is_due(context.wake, &wanted, now, interval) {
            self.reconcile(which, context, report).await;
        }
    }

    pub(super) async fn reconcile(
        &mut self,
        which: Which,
        context: PassContext<'_>,
        report: &mut PassReport,
    ) {
        self.beat();
        let started = self.world.now();
        let wanted = self.living_credentials(which);
        let planner = self.planner(which, wanted.clone());
        let reconciled = self.sink(which).reconcile(planner, context.intent).await;

        let now = self.world.now();
        let metrics = self.metrics.clone();
        let sink = self.sink_state(which);
        let (name, kind) = (sink.status.name(), sink.status.kind);
        let result = match reconciled {
            Ok(reconciled) => {
                let result = if reconciled.changes.is_empty() { "unchanged" } else { "ok" };
                if !reconciled.changes.is_empty() {
                    for drift in plan::drifts(&sink.left, &reconciled.at_first) {
                        metrics.count_drift(kind, drift);
                    }
                }
                if context.intent == Intent::DryRun {
                    // A dry run changes nothing, so this pass lists the same changes again.
                    report.changes.retain(|(sink, _)| *sink != name);
                }
                report.changes.extend(reconciled.changes.iter().map(|change| (name.clone(), change.clone())));
                sink.note_success(reconciled, &wanted, context.registries, now);
                result
            }
            Err(problem) => {
                sink.note_failure(problem, report);
                "failed"
            }
        };
        sink.reconciled_at = Some(started.uptime);
        sink.wanted = wanted;
        metrics.count_reconcile(kind, result, now.uptime.saturating_sub(started.uptime));
        self.publish_status();
    }

    fn sink(&mut self, which: Which) -> &mut dyn Sink {
        match which {
            Which::Local(index) => self.parts.local[index].as_mut(),
            Which::Published => &mut *self.parts.published,
        }
    }

    fn sink_state(&mut self, which: Which) -> &mut SinkState {
        match which {
            Which::Local(index) => &mut self.state.sinks.local[index],
            Which::Published => &mut self.state.sinks.published,
        }
    }

    fn planner(&self, which: Which, wanted: Credentials) -> Planner {
        match which {
            Which::Local(_) => Box::new(move |found: &Found| -> Plan { plan::local(found, &wanted) }),
            Which::Published => {
                let node = self.state.node.clone();
                let by = MergeContext {
                    renewal: self.renewal(),
                    now: self.server_now(),
                    rejections: self.state.knowledge().rejections(),
                    keep: self.keep(&wanted),
                };
                Box::new(move |found: &Found| -> Plan { plan::published(found, &wanted, &node, &by) })
            }
        }
    }

    /// Entries to keep in the published copy: served, wanted and configured ones, even while they have no token.
    fn keep(&self, wanted: &Credentials) -> Keep {
        let Some(named) = &self.settings.published.keep_entries else { return Keep::All };
        let served = self.state.registries.iter().flat_map(RegistrySettings::names).map(EntryName::from);
        Keep::Only(served.chain(wanted.keys().cloned()).chain(named.iter().cloned()).collect())
    }

    /// The credentials that the document must contain: the static ones and the tokens.
    pub(super) fn living_credentials(&self, which: Which) -> Credentials {
        let file = self.state.static_credentials.as_ref();
        let mut credentials = file.map_or_else(Credentials::new, StaticCredentials::credentials);
        let audience = match which {
            Which::Local(_) => Audience::ThisNode,
            Which::Published => Audience::AllNodes,
        };
        credentials.extend(self.state.knowledge().credentials(audience, self.server_now()));
        credentials
    }
}
