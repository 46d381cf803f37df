//! Sinks, the files that credentials are written to, as the main loop sees them, and the only way to write them:
//! observe, plan, apply, until the plan is to keep everything.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use domain::check::Access;
use domain::cluster::NodeNote;
use domain::documents::Document;
use domain::documents::SinkKind;
use domain::documents::plan::{Found, Plan};
use domain::problem::Problem;
use domain::refresh::LockHolder;

/// Decides what to change, given what was found.
pub type Planner = Box<dyn Fn(&Found) -> Plan + Send + Sync>;

/// A file on the node or in the cluster that credentials are written to.
pub trait Sink {
    fn kind(&self) -> SinkKind;

    /// The path as an operator knows it.
    fn path(&self) -> String;

    /// Applies the plans of `planner`, within the sink's own deadline.
    fn reconcile(
        &mut self,
        planner: Planner,
        intent: Intent,
    ) -> Pin<Box<dyn Future<Output = Result<Reconciled, Problem>> + '_>>;
}

/// A sink that the nodes of a cluster share, with the refresh lock that lets one node at a time renew it.
pub trait SharedSink: Sink {
    /// Acquires the refresh lock unless another node holds it; a lock left behind by this node counts as its own.
    /// [`SharedSink::release`] ends it; otherwise it expires.
    fn try_acquire(&mut self) -> Pin<Box<dyn Future<Output = Result<RefreshLock, Problem>> + '_>>;

    fn release(&mut self) -> Pin<Box<dyn Future<Output = ()> + '_>>;

    /// Writes this node's note for `cluster`.
    fn leave_note(&mut self, note: NodeNote) -> Pin<Box<dyn Future<Output = Result<(), Problem>> + '_>>;

    fn remove_note(&mut self) -> Pin<Box<dyn Future<Output = ()> + '_>>;

    /// Whether the NodeManager's user was denied the file at the last reconciliation; `None` if the agent did not act
    /// as that user.
    fn is_denied_to_node_manager(&self) -> Option<bool>;

    /// Owners and modes of the file and of all directories above it; `None` if the file does not exist.
    fn access(&mut self) -> Pin<Box<dyn Future<Output = Result<Option<Access>, Problem>> + '_>>;
}

/// The outcome of trying to acquire the refresh lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefreshLock {
    Acquired,
    HeldElsewhere(LockHolder),
}

/// Whether plans are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    Apply,
    /// Only preview what would change.
    DryRun,
}

/// The outcome of a successful reconciliation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciled {
    /// What was found first.
    pub at_first: Found,
    /// What the sink contains now, as read back.
    pub found: Found,
    /// The changes, in order.
    pub changes: Vec<Change>,
}

/// One change, made or, with [`Intent::DryRun`], previewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Replaced,
    AttributesSet,
    /// A broken document was kept, under this path unless it is a preview.
    SetAside(Option<String>),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Replaced => f.write_str("replaced"),
            Change::AttributesSet => f.write_str("mode and owner set"),
            Change::SetAside(None) => f.write_str("set aside"),
            Change::SetAside(Some(path)) => write!(f, "set aside as {path}"),
        }
    }
}

/// Access to one file, for one reconciliation.
#[expect(async_fn_in_trait, reason = "used with static types inside this crate only")]
pub trait Store {
    type Error;

    /// With [`Intent::DryRun`], changes nothing.
    async fn observe(&mut self, intent: Intent) -> Result<Found, Self::Error>;

    /// Replaces the last observed file with `document`, atomically, with the configured mode and owner.
    async fn replace(&mut self, document: &Document) -> Result<Replacement, Self::Error>;

    /// Corrects mode and owner without touching the content.
    async fn set_attributes(&mut self) -> Result<(), Self::Error>;

    /// Writes a copy of `document` next to the file, readable only by its owner, and returns its path.
    async fn set_aside(&mut self, document: &Document) -> Result<String, Self::Error>;
}

/// Whether a document replaced the one it was derived from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replacement {
    Done,
    /// Another writer was first; nothing was changed.
    Overtaken,
}

/// Why a sink could not be reconciled.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError<E: std::error::Error + 'static> {
    #[error(transparent)]
    Store(#[from] E),
    /// The same, if there was no readable content before.
    #[error(transparent)]
    Missing(E),
    #[error("left untouched, since no entry can be merged into it")]
    Unusable(#[source] domain::documents::NotDockerConfig),
    #[error("gave up after repeated conflicts with another writer")]
    Contended,
}

/// What a store's error means for readers of the sink.
pub trait StoreError: std::error::Error + 'static {
    /// What must appear or end before the sink can be reconciled.
    fn waits_for(&self) -> Option<String>;

    /// Whether the error proves that readers find nothing in the sink.
    fn leaves_nothing(&self) -> bool {
        false
    }

    /// Whether only a new process can succeed.
    fn is_fatal(&self) -> bool {
        false
    }
}

impl<E: StoreError> ReconcileError<E> {
    /// The problem that the status shows; `message` is the error with its causes, `path` the sink's path.
    pub fn problem(&self, path: &str, message: String) -> Problem {
        let (store, was_missing) = match self {
            ReconcileError::Store(store) => (store, false),
            ReconcileError::Missing(store) => (store, true),
            ReconcileError::Unusable(_) | ReconcileError::Contended => {
                return Problem::new(format!("{path}: {message}"));
            }
        };
        let leaves_nothing = was_missing || store.leaves_nothing();
        Problem { waits_for: store.waits_for(), leaves_nothing, fatal: store.is_fatal(), message }
    }
}

/// Attempts: one to change, one to confirm, and the rest for lost races.
const ATTEMPTS: usize = 6;

/// Observes, plans and applies until the plan is to keep what is there.
pub async fn converge<S: Store>(
    store: &mut S,
    planner: &Planner,
    intent: Intent,
) -> Result<Reconciled, ReconcileError<S::Error>>
where
    S::Error: std::error::Error + 'static,
{
    let mut changes = Vec::new();
    let mut first = None;
    for _ in 0..ATTEMPTS {
        let found = store.observe(intent).await?;
        let at_first = first.get_or_insert_with(|| found.clone()).clone();
        let plan = planner(&found);
        if let (Intent::DryRun, Some(changes)) = (intent, preview(&plan)) {
            return Ok(Reconciled { at_first, found, changes });
        }
        match plan {
            Plan::Keep => return Ok(Reconciled { at_first, found, changes }),
            Plan::Leave(why) => return Err(ReconcileError::Unusable(why)),
            Plan::SetAttributes => {
                store.set_attributes().await?;
                changes.push(Change::AttributesSet);
            }
            Plan::Replace { document, set_aside } => {
                if let (true, Found::File { document: broken, .. }) = (set_aside, &found) {
                    changes.push(Change::SetAside(Some(store.set_aside(broken).await?)));
                }
                let replaced = store.replace(&document).await.map_err(|error| match &found {
                    Found::File { .. } => ReconcileError::Store(error),
                    Found::Absent { .. } | Found::Unreadable { .. } => ReconcileError::Missing(error),
                });
                if replaced? == Replacement::Done {
                    changes.push(Change::Replaced);
                }
            }
        }
    }
    Err(ReconcileError::Contended)
}

/// What applying `plan` would change; `None` if it cannot be applied.
fn preview(plan: &Plan) -> Option<Vec<Change>> {
    match plan {
        Plan::Keep => Some(Vec::new()),
        Plan::SetAttributes => Some(vec![Change::AttributesSet]),
        Plan::Replace { set_aside: true, .. } => Some(vec![Change::SetAside(None), Change::Replaced]),
        Plan::Replace { set_aside: false, .. } => Some(vec![Change::Replaced]),
        Plan::Leave(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use domain::documents::Document;
    use domain::documents::plan::{Attributes, Found, Plan};

    use super::{Change, Intent, Planner, ReconcileError, Reconciled, Replacement, Store, converge};

    /// An in-memory file that another writer may disturb.
    struct Memory {
        found: Found,
        disturbed_by: Option<Found>,
    }

    impl Store for Memory {
        type Error = Infallible;

        async fn observe(&mut self, _: Intent) -> Result<Found, Infallible> {
            Ok(self.disturbed_by.clone().unwrap_or_else(|| self.found.clone()))
        }

        async fn replace(&mut self, document: &Document) -> Result<Replacement, Infallible> {
            self.found = file(document.bytes(), Attributes::AS_SET);
            Ok(Replacement::Done)
        }

        async fn set_attributes(&mut self) -> Result<(), Infallible> {
            if let Found::File { attributes, .. } = &mut self.found {
                *attributes = Attributes::AS_SET;
            }
            Ok(())
        }

        async fn set_aside(&mut self, document: &Document) -> Result<String, Infallible> {
            Ok(format!("aside-{}", document.bytes().len()))
        }
    }

    fn file(bytes: &[u8], attributes: Attributes) -> Found {
        Found::File { document: Document::new(bytes.to_vec()), attributes }
    }

    /// Wants the content `good`; sets anything else aside.
    fn planner() -> Planner {
        Box::new(|found| match found {
            Found::File { document, attributes: Attributes::AS_SET } if document.bytes() == b"good" => {
                Plan::Keep
            }
            Found::File { document, .. } if document.bytes() == b"good" => Plan::SetAttributes,
            found => Plan::Replace {
                document: Document::new(b"good".to_vec()),
                set_aside: matches!(found, Found::File { .. }),
            },
        })
    }

    fn reconcile(memory: &mut Memory, intent: Intent) -> Result<Reconciled, ReconcileError<Infallible>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(converge(memory, &planner(), intent))
    }

    #[test]
    fn ends_when_nothing_is_left_to_do() {
        let check = |found: Found, expected: &[Change]| {
            let mut memory = Memory { found: found.clone(), disturbed_by: None };
            let preview = reconcile(&mut memory, Intent::DryRun).expect("a preview");
            assert_eq!(
                (preview.changes.len(), &memory.found),
                (expected.len(), &found),
                "a preview changes nothing"
            );
            let reconciled = reconcile(&mut memory, Intent::Apply).expect("it converges");
            assert_eq!(reconciled.changes, expected);
            assert_eq!(reconciled.found, file(b"good", Attributes::AS_SET));
        };
        check(file(b"good", Attributes::AS_SET), &[]);
        check(file(b"good", Attributes { mode: false, owner: true }), &[Change::AttributesSet]);
        check(Found::NOTHING, &[Change::Replaced]);
        check(
            file(b"bad", Attributes { mode: false, owner: true }),
            &[Change::SetAside(Some("aside-3".to_owned())), Change::Replaced],
        );
    }

    #[test]
    fn gives_up_when_disturbed_each_time() {
        let mut memory = Memory { found: Found::NOTHING, disturbed_by: Some(Found::NOTHING) };
        let reconciled = reconcile(&mut memory, Intent::Apply);
        assert!(matches!(reconciled, Err(ReconcileError::Contended)));
    }
}
