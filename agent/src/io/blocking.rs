//! Blocking calls: to files, whose disk may hang, and to the name service. They run off the main loop's thread and
//! within a deadline.

use std::sync::Arc;
use std::time::Duration;

use domain::problem::Problem;
use thiserror::Error;
use tokio::sync::{Semaphore, oneshot};

use crate::io::chain;

/// Runs blocking calls one at a time. A call that misses its deadline cannot be interrupted: until it returns, all
/// others fail immediately, so that a hanging disk costs one thread.
#[derive(Debug, Clone)]
pub(crate) struct BlockingCalls {
    deadline: Duration,
    idle: Arc<Semaphore>,
}

#[derive(Debug, Error)]
pub(crate) enum BlockingError {
    #[error("a file operation or name lookup did not finish within {deadline:?}")]
    Deadline { deadline: Duration },
    #[error("an earlier file operation or name lookup is still blocked")]
    Busy,
    #[error("a file operation or name lookup panicked")]
    Panicked,
}

impl BlockingCalls {
    pub(crate) fn new(deadline: Duration) -> Self {
        Self { deadline, idle: Arc::new(Semaphore::new(1)) }
    }

    /// Sets the deadline of later calls.
    pub(crate) fn set_deadline(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }

    pub(crate) async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, BlockingError> {
        let idle = Arc::clone(&self.idle).try_acquire_owned().map_err(|_| BlockingError::Busy)?;
        let (sender, result) = oneshot::channel();
        // Boxed, so that the task code is compiled only once.
        let body: Box<dyn FnOnce() + Send> = Box::new(move || {
            // Idle before the caller gets its result, even after a panic: it may call again immediately.
            let sender = sender;
            let idle = idle;
            let result = call();
            drop(idle);
            // The caller may have stopped waiting.
            let _ = sender.send(result);
        });
        tokio::task::spawn_blocking(body);
        match tokio::time::timeout(self.deadline, result).await {
            // A panic drops the sender.
            Ok(result) => result.map_err(|_| BlockingError::Panicked),
            Err(_) => Err(BlockingError::Deadline { deadline: self.deadline }),
        }
    }
}

impl BlockingError {
    /// The problem that the status shows for a call to `what`.
    pub(crate) fn problem(&self, what: &str) -> Problem {
        let message = format!("{what}: {}", chain(self));
        match self {
            BlockingError::Deadline { .. } | BlockingError::Busy => {
                Problem::waiting(format!("a file operation on {what}"), message)
            }
            BlockingError::Panicked => Problem::new(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::{BlockingCalls, BlockingError};

    #[test]
    fn a_call_that_hangs_costs_one_thread() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let calls = BlockingCalls::new(Duration::from_millis(1));
            let (release, blocked) = mpsc::channel::<()>();
            let (ended, end) = tokio::sync::oneshot::channel();
            let hung = calls.run(move || {
                let _ = blocked.recv();
                let _ = ended.send(());
            });
            assert!(matches!(hung.await, Err(BlockingError::Deadline { .. })));
            assert!(matches!(calls.run(|| ()).await, Err(BlockingError::Busy)));
            drop(release);
            end.await.expect("it ends");
            let free = calls.idle.acquire().await.expect("never closed");
            drop(free);
            let mut calls = calls;
            calls.set_deadline(Duration::from_secs(60));
            assert_eq!(calls.run(|| 1).await.ok(), Some(1));
            assert!(matches!(
                calls.run(|| panic!("as a bug might")).await,
                Err::<(), _>(BlockingError::Panicked)
            ));
            assert_eq!(calls.run(|| 2).await.ok(), Some(2));
        });
    }

    #[test]
    fn one_call_after_another_is_never_busy() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let calls = BlockingCalls::new(Duration::from_secs(60));
            for count in 0..2_000 {
                assert_eq!(calls.run(move || count).await.ok(), Some(count));
            }
        });
    }
}
