//! Files that are looked at all the time, so that a change of them takes effect.
//!
//! It is their stamps that are looked at, on a thread where that disturbs nobody. A file system
//! tells of changes sooner, but not through every kind of mount.

use std::path::PathBuf;
use std::time::Duration;

use tokio::task::AbortHandle;

use crate::upstream::stamp::stamp;

/// Looks at files until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    task: AbortHandle,
}

/// Calls a function whenever one of the files has changed, within about the interval.
pub(super) fn spawn(
    paths: Vec<PathBuf>,
    interval: Duration,
    on_change: impl FnMut() + Send + 'static,
) -> Watch {
    let look = move || -> Vec<_> { paths.iter().map(|path| stamp(path)).collect() };
    // Here and now, so that no change goes unseen.
    let known = look();
    let task = async move {
        let (mut look, mut known, mut on_change) = (look, known, on_change);
        loop {
            tokio::time::sleep(interval).await;
            let turn = move || {
                let stamps = look();
                if stamps != known {
                    on_change();
                }
                (look, stamps, on_change)
            };
            // It fails only if the runtime ends.
            let Ok(next) = tokio::task::spawn_blocking(turn).await else { return };
            (look, known, on_change) = next;
        }
    };
    Watch { task: tokio::spawn(task).abort_handle() }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}
