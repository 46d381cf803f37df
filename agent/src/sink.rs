//! What the loop needs from a place where a document is kept, and the one way a document gets there:
//! look, plan, carry out, and look again until the plan is to keep everything.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use domain::documents::Document;
use domain::documents::plan::{Found, Plan};
use domain::problem::Problem;
use domain::status::PlaceKind;

/// Decides what to change, given what was found.
pub type Planner = Box<dyn Fn(&Found) -> Plan + Send + Sync>;

/// A place of the node or the cluster where credentials are kept.
pub trait Place {
    fn kind(&self) -> PlaceKind;

    /// The path as an operator knows it.
    fn path(&self) -> String;

    /// Brings the place in order by `planner`, within the place's own deadline.
    fn visit(
        &mut self,
        planner: Planner,
        intent: Intent,
    ) -> Pin<Box<dyn Future<Output = Result<Visit, Problem>> + '_>>;
}

/// A place that the nodes of a cluster share. One of them at a time renews what lies there.
pub trait SharedPlace: Place {
    /// Asks for the turn to renew. It ends by [`SharedPlace::end_turn`], or by itself after a while.
    fn take_turn(&mut self) -> Pin<Box<dyn Future<Output = Result<Turn, Problem>> + '_>>;

    fn end_turn(&mut self) -> Pin<Box<dyn Future<Output = ()> + '_>>;
}

/// Whose turn it is to renew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    Ours,
    Others,
}

/// Whether a plan is carried out or only told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    CarryOut,
    Tell,
}

/// What a visit that ended in order found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// What was there when the visit began.
    pub at_first: Found,
    /// What is in place now, as read back.
    pub found: Found,
    /// What was done, in order.
    pub changes: Vec<Change>,
}

/// One thing that was done in a place, or with [`Intent::Tell`] would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Replaced,
    AttributesSet,
    /// A broken document was kept, under this path once it was done.
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

/// Access to one file, for as long as a visit lasts.
#[expect(async_fn_in_trait, reason = "used with static types inside this crate only")]
pub trait Store {
    type Error;

    async fn observe(&mut self) -> Result<Found, Self::Error>;

    /// Puts `document` in the stead of what was observed last, whole or not at all, with mode and
    /// owner as set.
    async fn replace(&mut self, document: &Document) -> Result<Replacement, Self::Error>;

    /// Mends mode and owner without touching the content.
    async fn set_attributes(&mut self) -> Result<(), Self::Error>;

    /// Keeps a copy of `document` beside the file, readable for the owner alone; returns its path.
    async fn set_aside(&mut self, document: &Document) -> Result<String, Self::Error>;
}

/// Whether a document took the place of the one that it was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replacement {
    Done,
    /// Another writer was first; nothing was changed.
    Overtaken,
}

/// Why a visit did not end in order.
#[derive(Debug, thiserror::Error)]
pub enum VisitError<E: std::error::Error + 'static> {
    #[error(transparent)]
    Store(#[from] E),
    /// The same, where there was no content to be read before.
    #[error(transparent)]
    Missing(E),
    #[error("left untouched, since no entry can be merged into it")]
    Unusable(#[source] domain::documents::NotDockerConfig),
    #[error("another writer changed it again each time it was put in order")]
    Contended,
}

/// What a store's error means to those who wait for the place.
pub trait StoreError: std::error::Error + 'static {
    /// What has to appear, or to end, before a visit can succeed.
    fn waits_for(&self) -> Option<String>;

    /// Whether it says by itself that readers find nothing there.
    fn leaves_nothing(&self) -> bool {
        false
    }

    /// Whether only another process can succeed.
    fn is_fatal(&self) -> bool {
        false
    }
}

impl<E: StoreError> VisitError<E> {
    /// As status has it; `told` is the error with its causes, and `path` that of the place.
    pub fn problem(&self, path: &str, told: String) -> Problem {
        let (store, was_missing) = match self {
            VisitError::Store(store) => (store, false),
            VisitError::Missing(store) => (store, true),
            VisitError::Unusable(_) | VisitError::Contended => {
                return Problem::new(format!("{path}: {told}"));
            }
        };
        let leaves_nothing = was_missing || store.leaves_nothing();
        Problem { waits_for: store.waits_for(), leaves_nothing, fatal: store.is_fatal(), message: told }
    }
}

/// Rounds of a visit: one to change, one to see it kept, and the others for lost races.
const ROUNDS: usize = 6;

/// Looks, plans and carries out until the plan is to keep what is there.
pub async fn converge<S: Store>(
    store: &mut S,
    planner: &Planner,
    intent: Intent,
) -> Result<Visit, VisitError<S::Error>>
where
    S::Error: std::error::Error + 'static,
{
    let mut changes = Vec::new();
    let mut first = None;
    for _ in 0..ROUNDS {
        let found = store.observe().await?;
        let at_first = first.get_or_insert_with(|| found.clone()).clone();
        let plan = planner(&found);
        if let (Intent::Tell, Some(changes)) = (intent, told(&plan)) {
            return Ok(Visit { at_first, found, changes });
        }
        match plan {
            Plan::Keep => return Ok(Visit { at_first, found, changes }),
            Plan::Leave(why) => return Err(VisitError::Unusable(why)),
            Plan::SetAttributes => {
                store.set_attributes().await?;
                changes.push(Change::AttributesSet);
            }
            Plan::Replace { document, set_aside } => {
                if let (true, Found::File { document: broken, .. }) = (set_aside, &found) {
                    changes.push(Change::SetAside(Some(store.set_aside(broken).await?)));
                }
                let replaced = store.replace(&document).await.map_err(|error| match &found {
                    Found::File { .. } => VisitError::Store(error),
                    Found::Absent | Found::Unreadable { .. } => VisitError::Missing(error),
                });
                if replaced? == Replacement::Done {
                    changes.push(Change::Replaced);
                }
            }
        }
    }
    Err(VisitError::Contended)
}

/// What carrying out `plan` would change; `None` if it cannot be carried out.
fn told(plan: &Plan) -> Option<Vec<Change>> {
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

    use super::{Change, Intent, Planner, Replacement, Store, Visit, VisitError, converge};

    /// A file in memory that another writer may disturb.
    struct Memory {
        found: Found,
        disturbed_by: Option<Found>,
    }

    impl Store for Memory {
        type Error = Infallible;

        async fn observe(&mut self) -> Result<Found, Infallible> {
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

    fn visit(memory: &mut Memory, intent: Intent) -> Result<Visit, VisitError<Infallible>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(converge(memory, &planner(), intent))
    }

    #[test]
    fn ends_when_nothing_is_left_to_do() {
        let check = |found: Found, expected: &[Change]| {
            let mut memory = Memory { found: found.clone(), disturbed_by: None };
            let told = visit(&mut memory, Intent::Tell).expect("it can be told");
            assert_eq!(
                (told.changes.len(), &memory.found),
                (expected.len(), &found),
                "nothing is changed by telling"
            );
            let visit = visit(&mut memory, Intent::CarryOut).expect("it converges");
            assert_eq!(visit.changes, expected);
            assert_eq!(visit.found, file(b"good", Attributes::AS_SET));
        };
        check(file(b"good", Attributes::AS_SET), &[]);
        check(file(b"good", Attributes { mode: false, owner: true }), &[Change::AttributesSet]);
        check(Found::Absent, &[Change::Replaced]);
        check(
            file(b"bad", Attributes { mode: false, owner: true }),
            &[Change::SetAside(Some("aside-3".to_owned())), Change::Replaced],
        );
    }

    #[test]
    fn gives_up_the_visit_when_disturbed_each_time() {
        let mut memory = Memory { found: Found::Absent, disturbed_by: Some(Found::Absent) };
        let visit = visit(&mut memory, Intent::CarryOut);
        assert!(matches!(visit, Err(VisitError::Contended)));
    }
}
