//! Calls that nobody waits for any more: they are cancelled, but not many at once.
//!
//! A cancelled call is a reset stream, and servers end connections on which too many streams are
//! reset: a client that breaks off all of its requests would end those of others. A call that may
//! not be cancelled yet goes on until it is answered, or its turn has come.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::time::Instant;

/// How far apart cancellations are.
const INTERVAL: Duration = Duration::from_millis(20);

/// How many may come at once after a time without any.
const BURST: u32 = 10;

/// The longest that a call goes on without anybody who waits for it.
const LONGEST: Duration = Duration::from_secs(60);

/// When calls to one backend may be cancelled.
#[derive(Debug, Default)]
pub(super) struct Cancellations {
    /// When the last one that has been granted a time is due, were they all evenly spaced.
    last: Mutex<Option<Instant>>,
}

impl Cancellations {
    /// How long the next one has to wait, which is granted this time with it.
    fn reserve(&self, now: Instant) -> Duration {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let next = last.map_or(now, |last| (last + INTERVAL).max(now));
        let delay = next.saturating_duration_since(now).saturating_sub(INTERVAL * (BURST - 1));
        if delay <= LONGEST {
            *last = Some(next);
        }
        delay.min(LONGEST)
    }
}

/// The answer to a request while it is waited for.
type Answer = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

/// A call under way; dropping it cancels the call.
pub(super) struct Pending {
    stage: Stage,
    cancellations: Arc<Cancellations>,
}

enum Stage {
    Answer(Answer),
    Body(Incoming),
    Done,
}

impl Pending {
    /// A request that has been sent.
    pub(super) fn new(
        answer: impl Future<Output = hyper::Result<Response<Incoming>>> + Send + 'static,
        cancellations: &Arc<Cancellations>,
    ) -> Self {
        Self { stage: Stage::Answer(Box::pin(answer)), cancellations: Arc::clone(cancellations) }
    }

    /// Waits for the head of the answer.
    pub(super) async fn head(&mut self) -> hyper::Result<Option<http::response::Parts>> {
        let Stage::Answer(answer) = &mut self.stage else { return Ok(None) };
        match answer.await {
            Ok(response) => {
                let (head, body) = response.into_parts();
                self.stage = Stage::Body(body);
                Ok(Some(head))
            }
            Err(error) => {
                self.stage = Stage::Done;
                Err(error)
            }
        }
    }

    /// Waits for the next frame of the answer's body.
    pub(super) async fn frame(&mut self) -> Option<hyper::Result<http_body::Frame<bytes::Bytes>>> {
        let Stage::Body(body) = &mut self.stage else { return None };
        let frame = body.frame().await;
        if !matches!(frame, Some(Ok(_))) {
            self.stage = Stage::Done;
        }
        frame
    }
}

impl Stage {
    /// Waits for the end of the answer, which nobody wants.
    async fn finish(self) {
        let mut body = match self {
            Self::Answer(answer) => match answer.await {
                Ok(response) => response.into_body(),
                Err(_) => return,
            },
            Self::Body(body) => body,
            Self::Done => return,
        };
        while let Some(Ok(_)) = body.frame().await {}
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let stage = std::mem::replace(&mut self.stage, Stage::Done);
        if matches!(stage, Stage::Done) {
            return;
        }
        let delay = self.cancellations.reserve(Instant::now());
        if let (false, Ok(runtime)) = (delay.is_zero(), Handle::try_current()) {
            runtime.spawn(async move {
                // Whichever comes first.
                let _ = tokio::time::timeout(delay, stage.finish()).await;
            });
        }
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pending").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_few_are_cancelled_at_once_and_the_rest_evenly() {
        let cancellations = Cancellations::default();
        let now = Instant::now();
        for _ in 0..BURST {
            assert_eq!(cancellations.reserve(now), Duration::ZERO);
        }
        assert_eq!(cancellations.reserve(now), INTERVAL);
        assert_eq!(cancellations.reserve(now), 2 * INTERVAL);
        let later = now + Duration::from_secs(10);
        for _ in 0..BURST {
            assert_eq!(cancellations.reserve(later), Duration::ZERO);
        }
        for _ in 0..10_000 {
            assert!(cancellations.reserve(later) <= LONGEST);
        }
    }
}
