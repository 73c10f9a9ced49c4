//! The lines of a request as they arrive: read, inflated and cut into batches no faster than asked for.

use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{Request, StatusCode};
use http_body::Body;
use tokio::time::Instant;

use super::super::body::{BodyLimits, Pace, discard_rest, is_plainly_sent};
use super::super::inflate::Coding;
use super::inflation::Inflation;
use crate::codec::lines::{Batch, Splitter};
use crate::error::{Error, Result};
use crate::record::{Part, Record, Size};
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
    inflation: Option<Inflation>,
    splitter: Splitter,
    has_ended: bool,
    is_broken: bool,
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
        let coding = Coding::of(request.headers());
        Self {
            pace: Pace::new(limits.pace, record),
            is_paused: false,
            record,
            memory,
            patience: limits.pace,
            data: Bytes::new(),
            inflation: coding.map(|coding| Inflation::new(coding, limits.ratio)),
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
        let Some(inflation) = &mut self.inflation else {
            hold(self.memory, self.splitter.memory() + 2 * self.data.len(), self.patience).await?;
            self.splitter.push(std::mem::take(&mut self.data));
            return Ok(());
        };
        let step = self.data.len().min(STEP);
        hold(self.memory, self.splitter.memory() + (step << 10), self.patience).await?;
        inflation.push(&self.data[..step], self.record)?;
        self.data.advance(step);
        self.splitter.push_copy(inflation.text());
        inflation.clear();
        self.settle();
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.has_ended = true;
        if let Some(inflation) = &mut self.inflation {
            inflation.finish()?;
            self.splitter.push_copy(inflation.text());
            inflation.clear();
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
        self.memory.settle(self.splitter.memory());
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
