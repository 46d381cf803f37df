//! The published copy on HDFS, and the refresh lock that lets one node at a time renew it.

mod access;
mod connection;
mod directory;
mod error;
mod file;
mod login;
mod notes;
mod refresh_lock;
mod worker;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::check::Access;
use domain::cluster::{NodeNote, Word};
use domain::documents::SinkKind;
use domain::problem::Problem;
use domain::refresh::LockState;
use domain::settings::{Deadlines, PublishedSettings};

use tokio::sync::oneshot;

use crate::io::chain;
use crate::io::log::detail;
use crate::sink::{
    Intent, Planner, ReconcileError, Reconciled, RefreshLock, SharedSink, Sink, StoreError as _, converge,
};
use connection::{ClientSpec, Connection, Patience, Session};
pub use error::HdfsError;
use file::{PublishedFile, Remembered};
pub use worker::AbandonedThreads;
use worker::{Worker, WorkerError};

/// A call that returns whether it succeeded. Boxed, so that the code around it is compiled only once.
type Call = Box<dyn FnOnce(Connection, PublishedSettings) -> Pin<Box<dyn Future<Output = bool>>> + Send>;

/// The published copy.
#[derive(Debug)]
pub struct PublishedSink {
    settings: PublishedSettings,
    conf_dir: PathBuf,
    node: String,
    worker: Worker<Session>,
    patience: Patience,
    remembered: Option<Remembered>,
    is_denied_to_node_manager: Option<bool>,
    unreadable_since: Option<Instant>,
    block_report: Duration,
    lock: LockState,
    started: Instant,
    /// The file system of the last call whose configuration could be read.
    file_system: Arc<Mutex<Option<String>>>,
}

impl PublishedSink {
    /// `abandoned` outlives the sink if another one with new settings replaces it.
    pub fn new(
        settings: PublishedSettings,
        conf_dir: PathBuf,
        node: String,
        deadlines: &Deadlines,
        abandoned: AbandonedThreads,
    ) -> Self {
        let lock = LockState::new(deadlines.refresh_lock());
        Self {
            settings,
            conf_dir,
            node,
            worker: Worker::new(deadlines.hdfs, abandoned),
            patience: Patience { deadline: deadlines.hdfs, misses: 0 },
            remembered: None,
            is_denied_to_node_manager: None,
            unreadable_since: None,
            block_report: deadlines.block_report,
            lock,
            started: Instant::now(),
            file_system: Arc::default(),
        }
    }

    /// Reads the notes that these nodes have left.
    pub(crate) async fn notes(&mut self, hosts: Vec<String>) -> Result<Vec<(String, Word)>, HdfsError> {
        notes::read(self, hosts).await
    }

    async fn converge(
        &mut self,
        planner: Planner,
        intent: Intent,
    ) -> Result<Reconciled, ReconcileError<HdfsError>> {
        let remembered = self.remembered.take();
        let before = remembered.clone();
        let node = self.node.clone();
        let is_lost = self.unreadable_since.is_some_and(|since| since.elapsed() >= self.block_report);
        let reconciled = self.with_connection(move |hdfs, settings| async move {
            let mut file = PublishedFile::new(hdfs, settings, node, remembered, is_lost);
            let reconciled = converge(&mut file, &planner, intent).await?;
            Ok::<_, ReconcileError<HdfsError>>((reconciled, file.into_observed()))
        });
        match reconciled.await {
            Ok((reconciled, (remembered, is_denied))) => {
                self.remembered = remembered;
                self.is_denied_to_node_manager = is_denied;
                self.unreadable_since = None;
                Ok(reconciled)
            }
            Err(error) => {
                // It may be the only copy of other writers' entries.
                self.remembered = before.map(Remembered::unreadable);
                if matches!(&error, ReconcileError::Store(error) if error.may_pass()) {
                    self.unreadable_since.get_or_insert_with(Instant::now);
                } else {
                    self.unreadable_since = None;
                }
                Err(error)
            }
        }
    }

    /// Runs `call` within the deadline, reusing the previous call's client if it still fits.
    async fn with_connection<T, E, F>(
        &mut self,
        call: impl FnOnce(Connection, PublishedSettings) -> F + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<HdfsError> + Send + 'static,
        F: Future<Output = Result<T, E>> + 'static,
    {
        let (sender, mut result) = oneshot::channel();
        let call: Call = Box::new(move |connection, settings| {
            let call = call(connection, settings);
            Box::pin(async move {
                let result = call.await;
                let succeeded = result.is_ok();
                let _ = sender.send(result);
                succeeded
            })
        });
        self.run_call(call).await?;
        // Sent before the call ended.
        result.try_recv().expect("the result of a call that has ended")
    }

    /// The non-generic part of `with_connection`.
    async fn run_call(&mut self, call: Call) -> Result<(), HdfsError> {
        let (settings, conf_dir) = (self.settings.clone(), self.conf_dir.clone());
        let threads = self.worker.threads().clone();
        let file_system = Arc::clone(&self.file_system);
        let patience = self.patience;
        let result = self.worker.run(move |kept| async move {
            let session = ClientSpec::current(&settings, &conf_dir, patience).and_then(|spec| {
                *file_system.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(spec.file_system().to_owned());
                Session::resumed(kept, Arc::new(spec))
            });
            let session = match session {
                Ok(session) => session,
                Err(error) => return (Err(error), None),
            };
            let succeeded = call(session.connection(threads), settings).await;
            // After a failure, the state of the client's connections is unknown.
            (Ok(()), succeeded.then_some(session))
        });
        result.await.map_err(|source| {
            if matches!(source, WorkerError::Deadline { .. }) {
                self.patience.misses = self.patience.misses.wrapping_add(1);
            }
            let known = self.file_system.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let file_system = known.unwrap_or_else(|| "HDFS".to_owned());
            HdfsError::Worker { file_system, source }
        })?
    }
}

impl Sink for PublishedSink {
    fn kind(&self) -> SinkKind {
        SinkKind::Hdfs
    }

    fn path(&self) -> String {
        self.settings.path.to_string()
    }

    fn reconcile(
        &mut self,
        planner: Planner,
        intent: Intent,
    ) -> Pin<Box<dyn Future<Output = Result<Reconciled, Problem>> + '_>> {
        Box::pin(async move {
            let reconciled = self.converge(planner, intent).await;
            reconciled.map_err(|error| error.problem(&self.path(), chain(&error)))
        })
    }
}

impl SharedSink for PublishedSink {
    fn try_acquire(&mut self) -> Pin<Box<dyn Future<Output = Result<RefreshLock, Problem>> + '_>> {
        Box::pin(async move {
            let problem = |error: HdfsError| Problem {
                waits_for: error.waits_for(),
                fatal: error.is_fatal(),
                ..Problem::new(chain(&error))
            };
            refresh_lock::try_acquire(self).await.map_err(problem)
        })
    }

    fn is_denied_to_node_manager(&self) -> Option<bool> {
        self.is_denied_to_node_manager
    }

    fn access(&mut self) -> Pin<Box<dyn Future<Output = Result<Option<Access>, Problem>> + '_>> {
        Box::pin(async move { self.read_access().await.map_err(|error| Problem::new(chain(&error))) })
    }

    fn leave_note(&mut self, note: NodeNote) -> Pin<Box<dyn Future<Output = Result<(), Problem>> + '_>> {
        Box::pin(async move { notes::write(self, &note).await.map_err(|error| Problem::new(chain(&error))) })
    }

    fn remove_note(&mut self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(async move {
            if let Err(error) = notes::remove(self).await {
                detail!(error = %chain(&error), "cannot remove this node's note");
            }
        })
    }

    fn release(&mut self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(async move {
            if let Err(error) = refresh_lock::release(self).await {
                detail!(error = %chain(&error), "refresh lock not released; it will expire");
            }
        })
    }
}
