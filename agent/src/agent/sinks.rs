//! The places where credentials are kept: when each is visited, and what is remembered of it.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::credentials::{Credential, Credentials, EntryName, StaticCredentials};
use domain::documents::plan::{self, Found, Plan};
use domain::documents::{Document, Publication, PublishedDocument};
use domain::problem::Problem;
use domain::settings::RegistrySettings;
use domain::status::{PlaceKind, PlaceStatus};
use domain::time::Moment;

use super::{Agent, PassReport, Round, Wake};
use crate::place::{Intent, Place, Planner, Visit};

/// A timer that fires this much early still ends the interval.
const INTERVAL_SLACK: Duration = Duration::from_millis(50);

/// What is remembered of every place.
pub(super) struct Memories {
    pub local: Vec<PlaceMemory>,
    pub published: PlaceMemory,
}

/// What is remembered of a place from pass to pass.
pub(super) struct PlaceMemory {
    pub status: PlaceStatus,
    pub visited_at: Option<Duration>,
    /// The credentials it was last visited with.
    wanted: Credentials,
    /// As the last visit left it.
    pub left: Found,
}

/// One of the places.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which {
    Local(usize),
    Published,
}

impl Memories {
    pub fn of(parts: &super::Parts) -> Self {
        let local = parts.local.iter().map(|place| PlaceMemory::new(place.as_ref())).collect();
        Self { local, published: PlaceMemory::new(&*parts.published) }
    }

    /// What was known of the same places before a reload.
    pub fn carried_over(parts: &super::Parts, before: Self) -> Self {
        let mut known: Vec<_> = before.local.into_iter().chain([before.published]).collect();
        let mut carry = |place: &dyn Place| {
            let is_same =
                |known: &PlaceMemory| known.status.kind == place.kind() && known.status.path == place.path();
            let found = known.iter().position(is_same);
            found.map_or_else(|| PlaceMemory::new(place), |found| known.swap_remove(found))
        };
        let local = parts.local.iter().map(|place| carry(place.as_ref())).collect();
        Self { local, published: carry(&*parts.published) }
    }

    /// How long every place may be left alone from `now` on.
    pub fn quiet_for(&self, now: Moment, interval: Duration) -> Duration {
        let all = self.local.iter().chain([&self.published]);
        all.map(|memory| memory.quiet_for(now, interval)).fold(interval, Duration::min)
    }

    /// What only another process can repair.
    pub fn fatal(&self) -> Option<&Problem> {
        let mut errors =
            self.local.iter().chain([&self.published]).filter_map(|memory| memory.status.error.as_ref());
        errors.find(|problem| problem.fatal)
    }

    fn statuses(&self) -> Vec<PlaceStatus> {
        self.local.iter().chain([&self.published]).map(|memory| memory.status.clone()).collect()
    }
}

impl PlaceMemory {
    fn new(place: &dyn Place) -> Self {
        let status = PlaceStatus {
            kind: place.kind(),
            path: place.path(),
            verified_at: None,
            error: None,
            held: BTreeMap::new(),
            publication: None,
        };
        Self { status, visited_at: None, wanted: Credentials::new(), left: Found::Absent }
    }

    /// Whether the last visit ended in order.
    pub fn is_in_order(&self) -> bool {
        self.status.verified_at.is_some() && self.status.error.is_none()
    }

    /// Others are not asked more often than the interval while nothing changes here.
    fn is_due(&self, wake: Wake, wanted: &Credentials, now: Moment, interval: Duration) -> bool {
        let rested =
            self.visited_at.is_none_or(|at| now.uptime.saturating_sub(at) + INTERVAL_SLACK >= interval);
        let may_be_mended = wake == Wake::Changed && self.status.error.is_some();
        self.status.kind == PlaceKind::Local || rested || may_be_mended || self.wanted != *wanted
    }

    fn quiet_for(&self, now: Moment, interval: Duration) -> Duration {
        self.visited_at.map_or(Duration::ZERO, |at| (at + interval).saturating_sub(now.uptime))
    }

    fn note_success(
        &mut self,
        visit: Visit,
        wanted: &Credentials,
        registries: &[RegistrySettings],
        now: Moment,
    ) {
        let served = registries.iter().flat_map(RegistrySettings::names).map(EntryName::from);
        let names: Vec<EntryName> = served.chain(wanted.keys().cloned()).collect();
        self.status.held = match self.status.kind {
            PlaceKind::Local => plan::held_locally(&visit.found, &names, wanted),
            PlaceKind::Hdfs => plan::held_published(&visit.found, &names, wanted),
        };
        self.status.publication = match (&visit.found, self.status.kind) {
            (Found::File { document, .. }, PlaceKind::Hdfs) => publication(document),
            _ => None,
        };
        self.status.verified_at = Some(now);
        self.status.error = None;
        self.left = visit.found;
    }

    pub fn note_failure(&mut self, problem: Problem, report: &mut PassReport) {
        report.errors.push(problem.message.clone());
        if problem.leaves_nothing {
            self.status.held.clear();
        }
        self.status.error = Some(problem);
    }
}

impl Agent {
    /// Visits the place if it is due, which it is by time or by credentials that it was not visited
    /// with.
    pub(super) async fn visit_if_due(&mut self, which: Which, round: Round<'_>, report: &mut PassReport) {
        let now = self.world.now();
        let wanted = self.living_credentials(round.registries);
        let interval = self.settings.refresh.pass_interval;
        let first_of_kind = matches!(round.wake, Wake::Start | Wake::Reload)
            && self.memory(which).visited_at.is_none_or(|at| at < round.began);
        if first_of_kind || self.memory(which).is_due(round.wake, &wanted, now, interval) {
            self.visit(which, round, report).await;
        }
    }

    pub(super) async fn visit(&mut self, which: Which, round: Round<'_>, report: &mut PassReport) {
        self.beat();
        let started = self.world.now();
        let wanted = self.living_credentials(round.registries);
        let planner = self.planner(which, wanted.clone());
        let visit = self.place(which).visit(planner, round.intent).await;

        let now = self.world.now();
        let metrics = self.metrics.clone();
        let memory = self.memory(which);
        let name = format!("{}:{}", memory.status.kind.as_str(), memory.status.path);
        let kind = memory.status.kind;
        let result = match visit {
            Ok(visit) => {
                let result = if visit.changes.is_empty() { "unchanged" } else { "ok" };
                if !visit.changes.is_empty() {
                    for drift in plan::drifts(&memory.left, &visit.at_first) {
                        metrics.count_drift(kind, drift);
                    }
                }
                if round.intent == Intent::Tell {
                    // Nothing was done at the last visit, so this one tells it again.
                    report.changes.retain(|(place, _)| *place != name);
                }
                report.changes.extend(visit.changes.iter().map(|change| (name.clone(), change.clone())));
                memory.note_success(visit, &wanted, round.registries, now);
                result
            }
            Err(problem) => {
                memory.note_failure(problem, report);
                "failed"
            }
        };
        memory.visited_at = Some(started.uptime);
        memory.wanted = wanted;
        metrics.count_visit(kind, result, now.uptime.saturating_sub(started.uptime));
        let places = self.memories.statuses();
        self.status.send_modify(|status| status.places = places);
    }

    fn place(&mut self, which: Which) -> &mut dyn Place {
        match which {
            Which::Local(index) => self.parts.local[index].as_mut(),
            Which::Published => &mut *self.parts.published,
        }
    }

    fn memory(&mut self, which: Which) -> &mut PlaceMemory {
        match which {
            Which::Local(index) => &mut self.memories.local[index],
            Which::Published => &mut self.memories.published,
        }
    }

    fn planner(&self, which: Which, wanted: Credentials) -> Planner {
        match which {
            Which::Local(_) => Box::new(move |found: &Found| -> Plan { plan::local(found, &wanted) }),
            Which::Published => {
                let node = self.status.borrow().node.clone();
                let (renewal, now) = (self.renewal(), self.server_now());
                Box::new(move |found: &Found| -> Plan {
                    plan::published(found, &wanted, &node, renewal, now)
                })
            }
        }
    }

    /// What every document is to hold: the static credentials, and the tokens that live and are not
    /// refused, under each of their registries' names.
    fn living_credentials(&self, registries: &[RegistrySettings]) -> Credentials {
        let now = self.server_now();
        let mut credentials =
            self.statics.as_ref().map_or_else(Credentials::new, StaticCredentials::credentials);
        for wanted in registries {
            let token = self.tokens.get(&wanted.issuer).and_then(|attempts| attempts.token.as_ref());
            if let Some(token) = token.filter(|token| token.expires_at > now) {
                let names = wanted.names().filter(|name| !self.trials.refuses(name, token));
                credentials
                    .extend(names.map(|name| (EntryName::from(name), Credential::Token(token.clone()))));
            }
        }
        credentials
    }
}

fn publication(document: &Document) -> Option<Publication> {
    PublishedDocument::read(document).0.publication().cloned()
}
