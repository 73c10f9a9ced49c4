//! Looks at files from time to time and tells when they have changed.
//!
//! It compares their times, sizes and identities and never reads them; what is to be done about a
//! change is the caller's. Files are looked at, and the caller's function is called, on a thread
//! that may wait, never on one that serves.

use std::path::PathBuf;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::upstream::stamp::{Stamp, stamp};

/// A task that watches files, until this is dropped.
#[derive(Debug)]
pub(crate) struct Watch(JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How files were at one time. Whoever notes them, reads them and has them watched then misses no
/// change.
#[derive(Debug)]
pub(crate) struct Noted {
    paths: Vec<PathBuf>,
    stamps: Vec<Option<Stamp>>,
}

impl Noted {
    /// These files as they are now.
    pub(crate) fn now(paths: Vec<PathBuf>) -> Self {
        Self { stamps: stamps(&paths), paths }
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Option<Stamp>> {
    paths.iter().map(|path| stamp(path)).collect()
}

/// Calls a function after any of these files has changed, appeared or gone since they were noted,
/// looking at them at this interval.
pub(crate) fn spawn(noted: Noted, interval: Duration, mut on_change: impl FnMut() + Send + 'static) -> Watch {
    let Noted { mut paths, stamps: mut before } = noted;
    Watch(tokio::spawn(async move {
        loop {
            tokio::time::sleep(interval).await;
            let look = move || {
                let now = stamps(&paths);
                if now != before {
                    on_change();
                }
                (paths, now, on_change)
            };
            match tokio::task::spawn_blocking(look).await {
                Ok(state) => (paths, before, on_change) = state,
                Err(error) => {
                    tracing::error!(%error, "files are no longer watched");
                    return;
                }
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::*;

    const INTERVAL: Duration = Duration::from_millis(5);
    const LONG: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn changes_are_told_until_the_watch_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("one"), "1").unwrap();
        let (sender, mut changes) = mpsc::unbounded_channel();
        let noted = Noted::now(vec![path("one"), path("two")]);
        // What is changed right after that counts, whether they are watched yet or not.
        fs::write(path("one"), "11").unwrap();
        let watch = spawn(noted, INTERVAL, move || {
            let _ = sender.send(());
        });
        timeout(LONG, changes.recv()).await.unwrap().unwrap();
        fs::write(path("two"), "2").unwrap();
        timeout(LONG, changes.recv()).await.unwrap().unwrap();
        fs::remove_file(path("one")).unwrap();
        timeout(LONG, changes.recv()).await.unwrap().unwrap();
        drop(watch);
        // The sender goes with the task.
        assert_eq!(timeout(LONG, changes.recv()).await.unwrap(), None);
    }
}
