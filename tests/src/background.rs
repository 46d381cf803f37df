//! A dedicated thread for stand-in servers and HTTP requests. A test may block its own thread for seconds, for
//! example while it waits for a dropped server to end; meanwhile the agent must not see a metadata service that
//! hangs or a client that stalls.

use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a thread can be started")
});

pub(crate) fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    RUNTIME.spawn(future)
}
