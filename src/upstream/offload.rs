//! Work that takes long, kept away from the threads that small requests wait for.
//!
//! It runs on threads of its own, which have a lower priority: a huge request takes what the
//! small ones leave of the machine. They still get their share when it is busy all the time.

use std::sync::{Arc, LazyLock};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::Account;
use crate::error::{Error, Result};

/// Work on less than this is done at once: moving it would take longer.
const SMALL: usize = 256 << 10;

/// By how much the priority is lower, in the units of `nice`: a tenth of a thread's usual share
/// where both compete for a core.
const NICE: i32 = 10;

/// The threads: those of a runtime that has nothing else to do. They start when they are needed.
static THREADS: LazyLock<Option<Runtime>> = LazyLock::new(|| {
    Builder::new_current_thread().thread_name("large-request").on_thread_start(lower_priority).build().ok()
});

/// As many pieces of work run at once as there are cores: more would only take more of the small requests'
/// share of them.
static CORES: LazyLock<Arc<Semaphore>> =
    LazyLock::new(|| Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from))));

/// Runs work on something of this many bytes where it disturbs nobody: here if it is little,
/// else on another thread.
///
/// A thread does not stop when the request is given up. What the request holds of the memory is held
/// until the work is done, for that long it is in use.
pub(crate) async fn offload<T: Send + 'static>(
    size: usize,
    memory: &Arc<Account>,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    if size < SMALL {
        return work();
    }
    // Nobody closes the semaphore. The work keeps its permit, even if nobody waits for it any more.
    let permit = Arc::clone(&CORES).acquire_owned().await.ok();
    let work = move || {
        let _permit = permit;
        work()
    };
    spawn(memory, work).await.unwrap_or_else(|error| Err(Error::internal(LOST).with_source(error)))
}

/// What a client is told if the work on its request has panicked.
pub(crate) const LOST: &str = "The request met a bug in tfbridge";

/// Starts work on another thread, which holds the memory until it is done.
pub(crate) fn spawn<T: Send + 'static>(
    memory: &Arc<Account>,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let held = Arc::clone(memory);
    let work = move || {
        let _held = held;
        work()
    };
    match &*THREADS {
        Some(threads) => threads.spawn_blocking(work),
        None => Handle::current().spawn_blocking(work),
    }
}

/// Lowers the priority of this thread, where the system has priorities for threads.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    {
        let thread = rustix::thread::gettid();
        let nice = rustix::process::getpriority_process(Some(thread)).unwrap_or_default();
        // Without it, the thread is as urgent as the others: slower for them, but right.
        let _ = rustix::process::setpriority_process(Some(thread), nice + NICE);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::upstream::Memory;

    #[tokio::test]
    async fn memory_is_held_until_the_work_is_done() {
        let memory = Memory::new(1 << 20, &Arc::default());
        let account = Arc::new(memory.account());
        account.hold(1000).unwrap();
        let (finish, finished) = mpsc::channel::<()>();
        let work = offload(SMALL, &account, move || finished.recv().map_err(|_| Error::internal("")));
        assert!(tokio::time::timeout(Duration::from_millis(1), work).await.is_err());
        // The request has gone, the thread has not.
        drop(account);
        assert_eq!(memory.held(), 1000);
        finish.send(()).unwrap();
        while memory.held() > 0 {
            tokio::task::yield_now().await;
        }
    }
}
