//! A thread of its own for stand-in servers and HTTP requests. A test may block its thread for seconds, for example while
//! it waits for the end of a server it drops; meanwhile the agent must see neither a metadata service that hangs nor a
//! client that stalls.

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
