//! The one loop that a stream is: it reads, sends batches off and puts answers out, in the order of the lines.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::Body;
use tokio::time::Instant;

use super::batch::{Answer, Job};
use super::inbox::{self, Inbox};
use super::outbox::{Outbox, Task};
use crate::error::{Error, Result};

/// How long lines wait for others to make a full batch.
const LINGER: Duration = Duration::from_millis(5);

/// So much is read for batches that have no place yet: only who reads learns that the client has gone.
const READ_AHEAD: usize = 256 << 10;

impl Job {
    /// Answers the lines of a request until there are no more.
    pub(super) async fn run<B>(self: Arc<Self>, request: Request<B>, outbox: Outbox)
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
    {
        let checked = inbox::check(&request);
        let config = &self.bridge.api.streams;
        let sizes = (config.batch, config.max_line.min(self.bridge.api.max_body_size));
        let mut inbox =
            Inbox::new(request, (&self.bridge.api).into(), sizes, &self.record, &self.base.memory);
        let result = match checked {
            Ok(()) => self.drive(&mut inbox, &outbox).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(()) => outbox.end(),
            Err(error) => {
                // From now on the head of the response waits for this.
                outbox.may_fail();
                // A client that is answered while it still sends sees a broken connection.
                if error.status() != StatusCode::REQUEST_TIMEOUT {
                    inbox.discard().await;
                }
                outbox.fail(error);
            }
        }
    }

    async fn drive<B>(self: &Arc<Self>, inbox: &mut Inbox<'_, B>, outbox: &Outbox) -> Result<()>
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
    {
        let most = self.bridge.api.streams.window;
        let mut window: VecDeque<Task<Answer>> = VecDeque::with_capacity(most);
        // Since when there are lines that could go.
        let mut waits: Option<Instant> = None;
        let mut failure = None;
        loop {
            while window.len() < most {
                let is_due = waits.is_some_and(|since| since.elapsed() >= LINGER);
                let Some(batch) = inbox.next(is_due) else { break };
                waits = None;
                window.push_back(Task::spawn(Arc::clone(self).answer(batch)));
            }
            let has_place = window.len() < most;
            if has_place && inbox.has_lines() && waits.is_none() {
                waits = Some(Instant::now());
            }
            if window.is_empty() && inbox.has_ended() {
                return failure.map_or(Ok(()), Err);
            }
            let has_room = outbox.has_room();
            let may_read = has_room && !inbox.has_ended() && (has_place || inbox.held() < READ_AHEAD);
            if !may_read {
                inbox.pause();
            }
            let due = waits.map_or_else(Instant::now, |since| since + LINGER);
            tokio::select! {
                biased;
                answer = next(&mut window) => {
                    window.pop_front();
                    let Answer { text, memory, failure } = answer?;
                    match failure {
                        // It is not about lines, and there is still time to say so as any other reply does.
                        Some(error) if outbox.may_fail() => return Err(error),
                        _ => outbox.put(text, memory),
                    }
                }
                () = outbox.has_gone(), if !has_room => {}
                () = tokio::time::sleep_until(due), if has_place && waits.is_some() => {}
                read = inbox.read(), if may_read => if let Err(error) = read {
                    let error = about_rest(&error, inbox.line());
                    if inbox.is_broken() {
                        // The client has gone, and with it whoever wants answers.
                        return Err(error);
                    }
                    failure = Some(error);
                    inbox.give_up();
                },
            }
        }
    }
}

/// The next answer of those that are under way.
async fn next(window: &mut VecDeque<Task<Answer>>) -> Result<Answer> {
    match window.front_mut() {
        Some(task) => task.join().await,
        None => std::future::pending().await,
    }
}

/// The error of all lines from this one on.
fn about_rest(error: &Error, line: u64) -> Error {
    error.clone().about(&format!("line {line} and all that follow"))
}
