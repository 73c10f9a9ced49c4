//! The lines of a request as they arrive: read, inflated and cut into batches no faster than asked for.

use std::io::Write;
use std::time::Duration;

use bytes::{Buf, Bytes};
use flate2::write::MultiGzDecoder;
use http::{Request, StatusCode};
use http_body::Body;
use tokio::time::Instant;

use super::super::body::{BodyLimits, Pace, discard_rest, is_plainly_sent};
use super::super::inflate::{Coding, FREE_INFLATION};
use crate::codec::lines::{Batch, Splitter};
use crate::error::{Error, Result};
use crate::record::{Limit, Part, Record, Size};
use crate::upstream::Account;

/// So much of a body is inflated at once: a thousand times as much at most comes of it.
const STEP: usize = 4 << 10;

/// How often to look whether there is memory again.
const MEMORY_INTERVAL: Duration = Duration::from_millis(10);

/// The lines that arrive.
pub(super) struct Inbox<'a, B> {
    body: B,
    pace: Pace<'a>,
    is_paused: bool,
    record: &'a Record,
    memory: &'a Account,
    /// How long to wait for memory.
    patience: Duration,
    /// What has arrived and is in no line yet.
    data: Bytes,
    gzip: Option<Inflation>,
    splitter: Splitter,
    has_ended: bool,
    is_broken: bool,
}

/// A gzip body on its way.
struct Inflation {
    decoder: MultiGzDecoder<Vec<u8>>,
    ratio: usize,
    read: usize,
    inflated: usize,
}

impl<'a, B> Inbox<'a, B>
where
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
{
    /// The lines of a request, for batches of so many lines of so many bytes.
    pub(super) fn new(
        request: Request<B>,
        limits: BodyLimits,
        (lines, longest): (usize, usize),
        record: &'a Record,
        memory: &'a Account,
    ) -> Self {
        let ratio = limits.ratio;
        let gzip = (Coding::of(request.headers()) == Some(Coding::Gzip)).then(|| Inflation {
            decoder: MultiGzDecoder::new(Vec::new()),
            ratio,
            read: 0,
            inflated: 0,
        });
        Self {
            pace: Pace::new(limits.pace, record),
            is_paused: false,
            record,
            memory,
            patience: limits.pace,
            data: Bytes::new(),
            gzip,
            splitter: Splitter::new(lines, longest),
            has_ended: false,
            is_broken: false,
            body: request.into_body(),
        }
    }

    /// Whether there is nothing more to read.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Whether the body has ended where it should not have.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Nobody waits for the client for a while.
    pub(super) fn pause(&mut self) {
        self.is_paused = true;
    }

    /// Reads more. What has been read stays if this is given up.
    pub(super) async fn read(&mut self) -> Result<()> {
        if std::mem::take(&mut self.is_paused) {
            self.pace = self.pace.again();
        }
        if self.data.is_empty() {
            let _timer = self.record.timer(Part::Read);
            let next = self.pace.next(&mut self.body).await;
            self.is_broken =
                next.as_ref().err().is_some_and(|error| error.status() != StatusCode::REQUEST_TIMEOUT);
            match next? {
                Some(data) => {
                    self.record.add(Size::Body, data.len());
                    self.data = data;
                }
                None => return self.finish(),
            }
        }
        let Some(gzip) = &mut self.gzip else {
            hold(self.memory, self.splitter.held() + self.data.len(), self.patience).await?;
            self.splitter.push(&self.data);
            self.data = Bytes::new();
            return Ok(());
        };
        let step = self.data.len().min(STEP);
        hold(self.memory, self.splitter.held() + (step << 10), self.patience).await?;
        gzip.push(&self.data[..step], self.record)?;
        self.data.advance(step);
        self.splitter.push(gzip.decoder.get_ref());
        gzip.decoder.get_mut().clear();
        self.settle();
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.has_ended = true;
        if let Some(gzip) = &mut self.gzip {
            gzip.decoder.try_finish().map_err(broken)?;
            self.splitter.push(gzip.decoder.get_ref());
            gzip.decoder.get_mut().clear();
        }
        self.splitter.finish();
        Ok(())
    }

    /// No more is read: something has gone wrong. The lines that have ended are still there.
    pub(super) fn give_up(&mut self) {
        self.has_ended = true;
    }

    /// The next batch, a full one unless there will be no more.
    pub(super) fn next(&mut self, is_due: bool) -> Option<Batch> {
        let batch = if is_due || self.has_ended { self.splitter.take() } else { self.splitter.next_full() };
        if batch.is_some() {
            self.settle();
        }
        batch
    }

    /// Whether there are lines that wait for more to make a full batch.
    pub(super) fn has_lines(&self) -> bool {
        self.splitter.has_lines()
    }

    /// How many bytes wait to be sent off.
    pub(super) fn held(&self) -> usize {
        self.splitter.held()
    }

    /// The number of the line that has not ended.
    pub(super) fn line(&self) -> u64 {
        self.splitter.line()
    }

    fn settle(&self) {
        self.memory.settle(self.splitter.held());
    }

    /// Reads the rest, which nobody wants, within reason.
    pub(super) async fn discard(mut self) {
        discard_rest(&mut self.body).await;
    }
}

/// Checks that a request has a body that can be read.
pub(super) fn check<B>(request: &Request<B>) -> Result<()> {
    if is_plainly_sent(request.headers()) {
        return Ok(());
    }
    Err(Error::unimplemented("The only transfer coding is chunked, once"))
}

/// Holds so many bytes in all, as soon as there are so many, and if that is before too long.
pub(super) async fn hold(memory: &Account, bytes: usize, patience: Duration) -> Result<()> {
    let start = Instant::now();
    loop {
        match memory.hold(bytes.saturating_sub(memory.held())) {
            Err(error) if error.retry_after() && start.elapsed() < patience => {
                tokio::time::sleep(MEMORY_INTERVAL).await;
            }
            result => return result,
        }
    }
}

impl Inflation {
    fn push(&mut self, bytes: &[u8], record: &Record) -> Result<()> {
        self.decoder.write_all(bytes).map_err(broken)?;
        // What has been written is in the output once it is flushed.
        self.decoder.flush().map_err(broken)?;
        self.read += bytes.len();
        self.inflated += self.decoder.get_ref().len();
        if self.inflated > self.read.saturating_mul(self.ratio).max(FREE_INFLATION) {
            record.hit(Limit::BodySize);
            let ratio = self.ratio;
            return Err(Error::payload_too_large(format!(
                "The body inflates to more than {ratio} times its size"
            )));
        }
        Ok(())
    }
}

fn broken(error: std::io::Error) -> Error {
    Error::invalid_argument(format!("The gzip body cannot be read: {error}")).with_source(error)
}
