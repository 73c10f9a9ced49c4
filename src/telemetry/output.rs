//! Where the lines of the log go: to a buffer first, which a thread of its own empties.
//!
//! A line never waits for the one who reads the log. When the buffer is full, lines are dropped, and the
//! log says how many once there is room again. Lines are whole or not there at all.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// The most bytes that wait to be written.
const CAPACITY: usize = 1 << 20;

/// How long to gather lines after some have been written. Under load a system call then takes many lines,
/// and nobody has to wake the thread; the first line after a pause is written at once.
const GATHERING: Duration = Duration::from_millis(20);

/// The end that takes lines. Clones are for the same log.
#[derive(Debug, Clone)]
pub struct Output {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the thread.
    wake: Condvar,
    /// Tells that the thread has ended.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    pending: Vec<u8>,
    dropped: u64,
    /// The thread waits for a line.
    is_waiting: bool,
    is_closing: bool,
    has_ended: bool,
}

impl Output {
    /// Writes lines to the target from now on.
    ///
    /// # Errors
    ///
    /// If there can be no thread.
    pub fn start(target: impl Write + Send + 'static) -> io::Result<Self> {
        let shared =
            Arc::new(Shared { state: Mutex::default(), wake: Condvar::new(), ended: Condvar::new() });
        let writer = Arc::clone(&shared);
        thread::Builder::new().name("log".to_owned()).spawn(move || {
            writer.run(target);
            writer.lock().has_ended = true;
            writer.ended.notify_all();
        })?;
        Ok(Self { shared })
    }

    /// Writes what there is and ends. After this time, what nobody has taken is lost.
    pub fn close(&self, patience: Duration) {
        let until = Instant::now() + patience;
        let mut state = self.shared.lock();
        state.is_closing = true;
        self.shared.wake.notify_all();
        while !state.has_ended {
            let Some(rest) = until.checked_duration_since(Instant::now()) else { return };
            state = self.shared.ended.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut target: impl Write) {
        let mut lines = Vec::new();
        loop {
            let dropped = {
                let mut state = self.lock();
                while state.pending.is_empty() {
                    if state.is_closing {
                        return;
                    }
                    state.is_waiting = true;
                    state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                    state.is_waiting = false;
                }
                std::mem::swap(&mut state.pending, &mut lines);
                std::mem::take(&mut state.dropped)
            };
            // A log that has been closed is no reason to stop serving.
            let _ = target.write_all(&lines).and_then(|()| target.flush());
            lines.clear();
            if dropped > 0 {
                tracing::warn!(lines = dropped, "the log was not taken fast enough, and lines were dropped");
            }
            let state = self.lock();
            if !state.is_closing {
                // A signal would only end this earlier.
                drop(self.wake.wait_timeout(state, GATHERING));
            }
        }
    }
}

impl Write for &Output {
    /// Takes a whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.shared.lock();
        if state.pending.len() + line.len() > CAPACITY {
            state.dropped += 1;
        } else {
            state.pending.extend_from_slice(line);
            if state.is_waiting {
                state.is_waiting = false;
                self.shared.wake.notify_one();
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Output {
    type Writer = &'a Output;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    /// A target that takes nothing until it is told to.
    struct Slow {
        start: mpsc::Receiver<()>,
        written: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Nobody who could tell it any more means the same.
            let _ = self.start.recv();
            let _ = self.written.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_dropped_rather_than_waited_for_and_the_rest_is_whole() {
        let ((start, started), (written, lines)) = (mpsc::channel(), mpsc::channel());
        let output = Output::start(Slow { start: started, written }).unwrap();
        let line = [b"x".repeat(99), b"\n".to_vec()].concat();
        // Twice as many as there is room for: in the buffer, and in the hands of the thread.
        for _ in 0..4 * CAPACITY / line.len() {
            (&output).write_all(&line).unwrap();
        }
        output.close(Duration::from_millis(10));
        assert!(!output.shared.lock().has_ended);
        drop(start);
        output.close(LONG);
        let text: Vec<u8> = lines.iter().flatten().collect();
        // Half of them have been dropped at least.
        assert!(text.len() <= 2 * CAPACITY && text.len() >= CAPACITY - line.len(), "{}", text.len());
        assert!(text.chunks(line.len()).all(|chunk| chunk == line));
    }

    #[test]
    fn a_single_line_is_written_at_once() {
        let ((start, started), (written, lines)) = (mpsc::channel(), mpsc::channel());
        let output = Output::start(Slow { start: started, written }).unwrap();
        drop(start);
        for line in ["one\n", "two\n"] {
            (&output).write_all(line.as_bytes()).unwrap();
            assert_eq!(lines.recv_timeout(LONG).unwrap(), line.as_bytes());
        }
        output.close(LONG);
    }
}
