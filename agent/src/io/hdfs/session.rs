//! Runs one visit to HDFS on a thread and a runtime of its own, which end with it.
//!
//! hdfs-native has no deadline against a NameNode, may panic, may block its thread in Kerberos, and
//! after a write leaves a lease-renewing task behind that never ends and keeps its connection open.
//! None of that outlives, or holds up, anything else this way.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::oneshot;

/// How much later than the deadline a visit that cannot be interrupted is abandoned.
const GRACE: Duration = Duration::from_secs(1);

/// Starts visits, one at a time.
#[derive(Debug)]
pub(super) struct Sessions {
    deadline: Duration,
    busy: Arc<AtomicBool>,
}

#[derive(Debug, Error)]
pub enum SessionError {
    #[error("no answer within {deadline:?}")]
    Deadline { deadline: Duration },
    #[error("an earlier visit is still held up")]
    Busy,
    #[error("the HDFS client failed in a way it does not report")]
    Panicked,
    #[error("cannot start a thread")]
    Thread { source: io::Error },
}

impl Sessions {
    pub(super) fn new(deadline: Duration) -> Self {
        Self { deadline, busy: Arc::default() }
    }

    /// Runs `visit` to its end or the deadline.
    pub(super) async fn run<T, F>(
        &self,
        visit: impl FnOnce() -> F + Send + 'static,
    ) -> Result<T, SessionError>
    where
        F: Future<Output = T>,
        T: Send + 'static,
    {
        let deadline = self.deadline;
        let Some(guard) = BusyGuard::take(&self.busy) else { return Err(SessionError::Busy) };
        let (sender, receiver) = oneshot::channel();
        let body = move || {
            let result = run_here(deadline, visit);
            drop(guard);
            // The receiver is gone if the visit was abandoned meanwhile.
            let _ = sender.send(result);
        };
        std::thread::Builder::new()
            .name("hdfs".to_owned())
            .spawn(body)
            .map_err(|source| SessionError::Thread { source })?;
        match tokio::time::timeout(deadline + GRACE, receiver).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(SessionError::Panicked),
            Err(_) => Err(SessionError::Deadline { deadline }),
        }
    }
}

fn run_here<T, F: Future<Output = T>>(
    deadline: Duration,
    visit: impl FnOnce() -> F,
) -> Result<T, SessionError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| SessionError::Thread { source })?;
    let result = runtime.block_on(async { tokio::time::timeout(deadline, visit()).await });
    // Name look-ups cannot be interrupted, and nobody waits for them any more.
    runtime.shutdown_background();
    result.map_err(|_| SessionError::Deadline { deadline })
}

/// Held by the visit that is under way.
struct BusyGuard(Arc<AtomicBool>);

impl BusyGuard {
    fn take(busy: &Arc<AtomicBool>) -> Option<Self> {
        let was_busy = busy.swap(true, Ordering::AcqRel);
        (!was_busy).then(|| Self(Arc::clone(busy)))
    }
}

impl Drop for BusyGuard {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{SessionError, Sessions};

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(future)
    }

    #[test]
    fn a_panic_is_a_failed_visit_and_the_next_one_starts() {
        let sessions = Sessions::new(Duration::from_secs(60));
        let failed = run(sessions.run(|| async { panic!("as the library might") }));
        assert!(matches!(failed, Err::<(), _>(SessionError::Panicked)));
        assert!(matches!(run(sessions.run(|| async { 7 })), Ok(7)));
    }

    #[test]
    fn a_visit_without_end_meets_its_deadline() {
        let sessions = Sessions::new(Duration::from_millis(10));
        let endless = run(sessions.run(std::future::pending::<()>));
        assert!(matches!(endless, Err(SessionError::Deadline { .. })));
    }

    #[test]
    fn tasks_left_by_a_visit_end_with_it() {
        let sessions = Sessions::new(Duration::from_secs(60));
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        run(async {
            let left = sessions.run(move || async {
                tokio::spawn(async move {
                    std::future::pending::<()>().await;
                    drop(sender);
                });
            });
            left.await.expect("the visit itself ends");
            assert!(receiver.await.is_err(), "the task was dropped");
        });
    }
}
