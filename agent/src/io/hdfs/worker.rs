//! Runs calls to HDFS off the agent's own thread.
//!
//! hdfs-native has no deadline against a NameNode, may panic, and may block its thread in Kerberos. Reads share one
//! long-lived thread, runtime and client, which keeps connections and the NameNode's defaults; a thread that misses
//! its deadline or panics is abandoned, and the next call starts a new one. Each write gets its own thread, because
//! it leaves a lease-renewing task behind that ends only with its runtime.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

const GRACE: Duration = Duration::from_secs(1);
/// Limit on abandoned threads that still run; at the limit, no thread is started.
const MOST_STUCK: usize = 3;
/// A call that blocks this long past its deadline never returns: Kerberos gives up on a silent KDC sooner.
const STUCK_FOR_GOOD: Duration = Duration::from_secs(5 * 60);

/// One call: takes the client that the previous call kept, and returns the one to keep.
type Job<C> = Box<dyn FnOnce(Option<C>) -> Pin<Box<dyn Future<Output = Outcome<C>>>> + Send>;
/// `None` if the call missed its deadline: its runtime ends, with all tasks the call left in it.
type Outcome<C> = Option<Option<C>>;

/// The thread for reads, replaced when it fails.
#[derive(Debug)]
pub(super) struct Worker<C> {
    current: Option<Current<C>>,
    threads: Threads,
}

/// Time limits of a call.
#[derive(Debug, Clone, Copy)]
struct Limits {
    deadline: Duration,
    /// How long after the deadline an uninterruptible thread is abandoned.
    grace: Duration,
    stuck_for_good: Duration,
}

#[derive(Debug)]
struct Current<C> {
    jobs: mpsc::UnboundedSender<Job<C>>,
    thread: JoinHandle<()>,
}

/// Starts threads, and tracks the abandoned ones.
#[derive(Debug, Clone)]
pub(super) struct Threads {
    limits: Limits,
    abandoned: AbandonedThreads,
}

/// Threads that missed their deadline and may still run.
#[derive(Debug, Clone, Default)]
pub struct AbandonedThreads(Arc<Mutex<Vec<Abandoned>>>);

#[derive(Debug)]
struct Abandoned {
    thread: JoinHandle<()>,
    since: Instant,
}

#[derive(Debug, Error)]
pub enum WorkerError {
    #[error("no answer within {deadline:?}")]
    Deadline { deadline: Duration },
    #[error("{MOST_STUCK} earlier calls still block their threads")]
    Busy,
    #[error("{MOST_STUCK} earlier calls have blocked their threads for more than {STUCK_FOR_GOOD:?}")]
    Stuck,
    #[error("the thread of the HDFS client died")]
    Died,
    #[error("cannot start a thread")]
    Thread { source: io::Error },
}

impl<C: 'static> Worker<C> {
    pub(super) fn new(deadline: Duration, abandoned: AbandonedThreads) -> Self {
        Self::with(Limits { deadline, grace: GRACE, stuck_for_good: STUCK_FOR_GOOD }, abandoned)
    }

    fn with(limits: Limits, abandoned: AbandonedThreads) -> Self {
        Self { current: None, threads: Threads { limits, abandoned } }
    }

    /// Starts threads that run a single call.
    pub(super) fn threads(&self) -> &Threads {
        &self.threads
    }

    /// Runs `call` to completion or the deadline.
    pub(super) async fn run<T, F>(
        &mut self,
        call: impl FnOnce(Option<C>) -> F + Send + 'static,
    ) -> Result<T, WorkerError>
    where
        F: Future<Output = (T, Option<C>)> + 'static,
        T: Send + 'static,
    {
        let limits = self.threads.limits;
        let (sender, receiver) = oneshot::channel();
        let job: Job<C> = Box::new(move |kept| {
            let call = call(kept);
            Box::pin(async move {
                let outcome = tokio::time::timeout(limits.deadline, call).await.ok();
                let (result, keep) =
                    outcome.map_or((None, None), |(result, keep)| (Some(result), Some(keep)));
                // The receiver is gone if this thread was abandoned meanwhile.
                let _ = sender.send(result);
                keep
            })
        });
        self.send(job)?;
        let result = answer(limits, receiver).await;
        if result.is_err() {
            self.abandon();
        }
        result
    }

    fn send(&mut self, job: Job<C>) -> Result<(), WorkerError> {
        let job = match &self.current {
            Some(current) => match current.jobs.send(job) {
                Ok(()) => return Ok(()),
                // The thread panicked in a task after its last call ended.
                Err(mpsc::error::SendError(job)) => job,
            },
            None => job,
        };
        self.abandon();
        let (jobs, receiver) = mpsc::unbounded_channel();
        let thread = self.threads.start("hdfs", move || work(receiver))?;
        // The receiver lives until this sender is dropped.
        let _ = jobs.send(job);
        self.current = Some(Current { jobs, thread });
        Ok(())
    }

    /// Drops the sender, so that the thread ends as soon as it can.
    fn abandon(&mut self) {
        if let Some(Current { thread, .. }) = self.current.take() {
            self.threads.abandon(thread);
        }
    }
}

impl Threads {
    /// Runs `call` on its own thread and runtime until it ends, its deadline passes, or the caller stops waiting.
    pub(super) async fn run_once<T, F>(
        &self,
        call: impl FnOnce() -> F + Send + 'static,
    ) -> Result<T, WorkerError>
    where
        F: Future<Output = T>,
        T: Send + 'static,
    {
        let limits = self.limits;
        let (mut sender, receiver) = oneshot::channel();
        let body = move || {
            in_runtime(async {
                let result = tokio::select! {
                    result = tokio::time::timeout(limits.deadline, call()) => result.ok(),
                    () = sender.closed() => None,
                };
                let _ = sender.send(result);
            });
        };
        let mut guard = AbandonOnDrop { threads: self, thread: Some(self.start("hdfs-write", body)?) };
        let result = answer(limits, receiver).await;
        if result.is_ok() {
            guard.thread = None;
        }
        result
    }

    fn start(&self, name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, WorkerError> {
        self.check()?;
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(body)
            .map_err(|source| WorkerError::Thread { source })
    }

    fn check(&self) -> Result<(), WorkerError> {
        let mut abandoned = self.abandoned.0.lock().unwrap_or_else(PoisonError::into_inner);
        abandoned.retain(|abandoned| !abandoned.thread.is_finished());
        let stuck_for_good =
            abandoned.iter().filter(|abandoned| abandoned.since.elapsed() > self.limits.stuck_for_good);
        match (abandoned.len(), stuck_for_good.count()) {
            (_, MOST_STUCK..) => Err(WorkerError::Stuck),
            (MOST_STUCK.., _) => Err(WorkerError::Busy),
            _ => Ok(()),
        }
    }

    fn abandon(&self, thread: JoinHandle<()>) {
        let mut abandoned = self.abandoned.0.lock().unwrap_or_else(PoisonError::into_inner);
        abandoned.push(Abandoned { thread, since: Instant::now() });
    }
}

/// Counts a thread as abandoned if the caller stops waiting for its answer.
struct AbandonOnDrop<'t> {
    threads: &'t Threads,
    thread: Option<JoinHandle<()>>,
}

impl Drop for AbandonOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.threads.abandon(thread);
        }
    }
}

/// Waits for a thread's answer.
async fn answer<T>(limits: Limits, receiver: oneshot::Receiver<Option<T>>) -> Result<T, WorkerError> {
    match tokio::time::timeout(limits.deadline + limits.grace, receiver).await {
        Ok(Ok(Some(result))) => Ok(result),
        Ok(Ok(None)) | Err(_) => Err(WorkerError::Deadline { deadline: limits.deadline }),
        Ok(Err(_)) => Err(WorkerError::Died),
    }
}

/// Runs one job after another until the sender is dropped or a job misses its deadline.
fn work<C>(mut jobs: mpsc::UnboundedReceiver<Job<C>>) {
    in_runtime(async {
        let mut kept = None;
        while let Some(job) = jobs.recv().await {
            let Some(keep) = job(kept.take()).await else { break };
            kept = keep;
        }
    });
}

/// Runs `future` on this thread. A failure to build the runtime shows in the channels that it drops.
fn in_runtime(future: impl Future<Output = ()>) {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            runtime.block_on(future);
            // Name lookups cannot be interrupted, and no caller waits for them any more.
            runtime.shutdown_background();
        }
        Err(error) => tracing::error!(%error, "cannot make a runtime for HDFS"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::{AbandonedThreads, Limits, MOST_STUCK, Worker, WorkerError};

    const PATIENT: Duration = Duration::from_secs(60);
    const AT_ONCE: Duration = Duration::from_millis(1);

    fn worker(deadline: Duration, stuck_for_good: Duration) -> Worker<u32> {
        Worker::with(Limits { deadline, grace: AT_ONCE, stuck_for_good }, AbandonedThreads::default())
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(future)
    }

    #[test]
    fn a_call_gets_what_the_one_before_kept() {
        let mut worker = worker(PATIENT, PATIENT);
        let kept: Vec<Option<u32>> = (1..=3)
            .map(|count| {
                block_on(worker.run(move |kept| async move { (kept, Some(count)) })).expect("an answer")
            })
            .collect();
        assert_eq!(kept, [None, Some(1), Some(2)]);
    }

    #[test]
    fn a_panic_is_a_failed_call_and_the_next_starts_afresh() {
        let mut worker = worker(PATIENT, PATIENT);
        block_on(worker.run(|_| async { ((), Some(1)) })).expect("an answer");
        let failed = block_on(worker.run(|_| async { panic!("as the library might") }));
        assert!(matches!(failed, Err::<(), _>(WorkerError::Died)));
        assert!(matches!(block_on(worker.run(|kept| async move { (kept, None) })), Ok(None)));
    }

    #[test]
    fn an_endless_call_meets_its_deadline() {
        let mut worker = worker(AT_ONCE, PATIENT);
        let endless = block_on(worker.run(|_| std::future::pending::<((), _)>()));
        assert!(matches!(endless, Err(WorkerError::Deadline { .. })));
    }

    #[test]
    fn tasks_left_by_a_write_end_with_it() {
        let worker = worker(PATIENT, PATIENT);
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        block_on(async {
            let left = worker.threads().run_once(move || async {
                tokio::spawn(async move {
                    std::future::pending::<()>().await;
                    drop(sender);
                });
            });
            left.await.expect("the write itself ends");
            assert!(receiver.await.is_err(), "the task was dropped");
        });
    }

    #[test]
    fn blocked_threads_are_few_and_at_last_fatal() {
        for for_good in [false, true] {
            let mut worker = worker(AT_ONCE, if for_good { Duration::ZERO } else { PATIENT });
            let mut releases = Vec::new();
            for _ in 0..MOST_STUCK {
                let (release, blocked) = mpsc::channel::<()>();
                releases.push(release);
                let call = worker.run(move |_| async move {
                    // As Kerberos might.
                    let _ = blocked.recv();
                    ((), None)
                });
                assert!(matches!(block_on(call), Err(WorkerError::Deadline { .. })));
            }
            let refused = block_on(worker.run(|_| async { ((), None) }));
            assert_eq!(matches!(refused, Err(WorkerError::Stuck)), for_good, "{refused:?}");
            assert_eq!(matches!(refused, Err(WorkerError::Busy)), !for_good, "{refused:?}");
        }
    }
}
