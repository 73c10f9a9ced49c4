//! Lines to a bridge and answers back, over as many requests as it takes.
//!
//! Lines wait here until they are answered, those that are sent at the front, so that a request that breaks is
//! followed by one that begins with the first line without an answer. How much may wait is bounded.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use super::Stops;
use super::output::Output;
use super::progress::Progress;
use super::reply::{self, Answer};
use super::rows::{Content, Row};
use crate::cli::client::Client;
use crate::error::{Error, Result};

/// The most lines, and the most bytes of them, that wait for answers.
const MOST_LINES: usize = 1 << 16;
const MOST_BYTES: usize = 64 << 20;

/// The most lines that are sent and have no answer: more than a bridge works on at once, and few enough to wait for
/// when it is time to stop.
const MOST_SENT: usize = 1 << 13;

/// How much is sent at once.
const PIECE: usize = 64 << 10;

/// The most bytes of an answer.
const LONGEST: usize = 1 << 30;

/// How often to look at the time.
const TICK: Duration = Duration::from_millis(100);

/// A request ends when there has been nothing to send for so long: a bridge takes no slower one.
const IDLE: Duration = Duration::from_secs(2);

/// How long to wait for what is under way when it is time to stop.
const GRACE: Duration = Duration::from_secs(5);

/// How long to wait before the first further attempt, and at most before a later one.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Lines that go to a bridge, and their answers.
#[derive(Debug)]
pub(super) struct Exchange {
    client: Client,
    path: String,
    rows: mpsc::Receiver<Result<VecDeque<Row>>>,
    has_ended: bool,
    /// Lines without an answer.
    pending: VecDeque<Row>,
    /// How many bytes they have.
    held: usize,
    /// How many of them are sent.
    sent: usize,
    /// How many bytes of the input are answered.
    position: u64,
    has_begun: bool,
    /// Until when to wait for what is under way, if it is to stop.
    stop_by: Option<Instant>,
    output: Output,
    progress: Progress,
}

/// How a stream ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum End {
    Done,
    /// Somebody has stopped it.
    Stopped,
}

/// How a request ends.
enum Outcome {
    End(End),
    /// Something is wrong that may pass, or not.
    Broken(Error),
}

/// What the loop of a request knows of it.
struct Request {
    /// Where lines are put to be sent; `None` when there are no more.
    sender: Option<mpsc::Sender<Bytes>>,
    /// The beginning of an answer.
    text: BytesMut,
    /// How many answers there have been.
    answers: u64,
    /// When something came, or could come.
    heard: Instant,
}

impl Exchange {
    /// The exchange of these lines, over requests with this path.
    pub(super) fn new(
        client: Client,
        path: String,
        rows: mpsc::Receiver<Result<VecDeque<Row>>>,
        output: Output,
        progress: Progress,
    ) -> Self {
        Self {
            client,
            path,
            rows,
            has_ended: false,
            pending: VecDeque::new(),
            held: 0,
            sent: 0,
            position: 0,
            has_begun: false,
            stop_by: None,
            output,
            progress,
        }
    }

    /// What has been written, and how far it is.
    pub(super) fn finish(mut self) -> (Output, Progress) {
        self.tell();
        self.progress.finish();
        (self.output, self.progress)
    }

    /// Has every line answered, with so many further attempts without an answer in between.
    ///
    /// # Errors
    ///
    /// What cannot be helped: an input or output that fails, a request that is refused, too many attempts.
    pub(super) async fn run(&mut self, stops: &mut Stops, retries: u32) -> Result<End> {
        let mut failed = 0;
        loop {
            while self.pending.is_empty() && !self.has_ended {
                tokio::select! {
                    batch = self.rows.recv() => self.take(batch)?,
                    () = stops.next() => return Ok(End::Stopped),
                }
            }
            if self.pending.is_empty() {
                return Ok(End::Done);
            }
            let written = self.output.written();
            let error = match self.request(stops).await? {
                Outcome::End(End::Stopped) => return Ok(End::Stopped),
                Outcome::End(End::Done) => {
                    failed = 0;
                    continue;
                }
                // Whoever wants it to end wants no further attempt.
                Outcome::Broken(_) if self.stop_by.is_some() => return Ok(End::Stopped),
                Outcome::Broken(error) => error,
            };
            failed = if self.output.written() > written { 1 } else { failed + 1 };
            if !reply::may_pass(&error) || failed > retries {
                return Err(error);
            }
            let pause = LONGEST_PAUSE.min(PAUSE * (1 << failed.min(8)) / 2);
            let wait = humantime::format_duration(pause);
            self.progress.say(&format!("{}; trying again in {wait}", error.message()));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stops.next() => return Ok(End::Stopped),
            }
        }
    }

    /// Sends lines in one request, from the first one without an answer on.
    async fn request(&mut self, stops: &mut Stops) -> Result<Outcome> {
        self.sent = 0;
        let (sender, receiver) = mpsc::channel(4);
        let body = ReceiverStream::new(receiver).map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
        let lines = HeaderValue::from_static("application/x-ndjson");
        let headers = [(CONTENT_TYPE, lines.clone()), (ACCEPT, lines)];
        let (client, path) = (self.client.clone(), self.path.clone());
        let mut response = pin!(client.send(Method::POST, &path, &headers, StreamBody::new(body)));
        let mut answer: Option<Incoming> = None;
        let mut request =
            Request { sender: Some(sender), text: BytesMut::new(), answers: 0, heard: Instant::now() };
        let mut tick = tokio::time::interval(TICK);
        loop {
            let unsent = self.pending.len() - self.sent;
            if self.stop_by.is_some() || (self.has_ended && unsent == 0) {
                request.sender = None;
            }
            let is_stopping = self.stop_by.is_some();
            let may_send = unsent > 0 && self.sent < MOST_SENT;
            let has_room = !self.has_ended && self.pending.len() < MOST_LINES && self.held < MOST_BYTES;
            tokio::select! {
                () = stops.next() => {
                    if is_stopping {
                        return Ok(Outcome::End(End::Stopped));
                    }
                    self.stop_by = Some(Instant::now() + GRACE);
                    let sent = self.sent;
                    self.progress.say(&format!("Stopping: waiting for {sent} lines that are under way, but not after another Ctrl-C"));
                }
                () = room(request.sender.as_ref()), if may_send && request.sender.is_some() => {
                    self.send(&mut request);
                }
                result = &mut response, if answer.is_none() => match result {
                    Ok(response) if response.status().is_success() => {
                        answer = Some(reply::lines(self.client.name(), response)?);
                    }
                    Ok(response) => return Ok(self.refused(response, stops).await),
                    Err(error) => return Ok(Outcome::Broken(error)),
                },
                frame = frame(&mut answer), if answer.is_some() => match frame {
                    Some(Ok(frame)) => if let Some(error) = self.answers(&mut request, frame)? {
                        return Ok(Outcome::Broken(error));
                    },
                    Some(Err(error)) => {
                        let name = self.client.name();
                        return Ok(Outcome::Broken(Error::unavailable(format!("The answer of {name} broke off: {error}"))));
                    }
                    None => return Ok(self.outcome(&request)),
                },
                batch = self.rows.recv(), if has_room && !is_stopping => self.take(batch)?,
                _ = tick.tick() => if let Some(outcome) = self.look(&mut request)? {
                    return Ok(outcome);
                },
            }
        }
    }

    /// Takes lines over.
    fn take(&mut self, batch: Option<Result<VecDeque<Row>>>) -> Result<()> {
        let Some(batch) = batch.transpose()? else {
            self.has_ended = true;
            return Ok(());
        };
        if let (false, Some(row)) = (self.has_begun, batch.front()) {
            self.has_begun = true;
            self.position = row.end.saturating_sub(row.text.len() as u64 + 1);
            self.progress.begin(self.output.written(), self.position);
        }
        self.held += batch.iter().map(size).sum::<usize>();
        self.pending.extend(batch);
        self.settle()
    }

    /// Answers the lines at the front that nobody has to be asked about.
    fn settle(&mut self) -> Result<()> {
        let is_asked = |row: &Row| matches!(row.content, Content::Instance(_));
        while self.pending.front().is_some_and(|row| !is_asked(row)) {
            let Some(row) = self.pending.pop_front() else { break };
            self.held -= size(&row);
            self.position = row.end;
            self.sent = self.sent.saturating_sub(1);
            match &row.content {
                Content::Faulty(error) => self.output.fail(error, &row.text)?,
                Content::Blank | Content::Instance(_) => self.output.put(b"")?,
            }
        }
        Ok(())
    }

    /// Sends the next lines.
    fn send(&mut self, request: &mut Request) {
        let mut piece = Vec::with_capacity(PIECE);
        if self.sent == 0 {
            request.heard = Instant::now();
        }
        while piece.len() < PIECE && self.sent < MOST_SENT {
            let Some(row) = self.pending.get(self.sent) else { break };
            if let Content::Instance(line) = &row.content {
                piece.extend_from_slice(line);
                piece.push(b'\n');
            }
            self.sent += 1;
        }
        // If nobody takes it, the answer says why.
        if let Some(sender) = &request.sender
            && !piece.is_empty()
            && sender.try_send(piece.into()).is_err()
        {
            request.sender = None;
        }
    }

    /// Takes answers over; an error is that of the request.
    fn answers(&mut self, request: &mut Request, frame: Frame<Bytes>) -> Result<Option<Error>> {
        let Ok(data) = frame.into_data() else { return Ok(None) };
        request.heard = Instant::now();
        let mut searched = request.text.len();
        request.text.extend_from_slice(&data);
        while let Some(length) = memchr::memchr(b'\n', &request.text[searched..]) {
            let line = request.text.split_to(searched + length + 1);
            searched = 0;
            let line = &line[..line.len() - 1];
            if self.sent == 0 && reply::is_error(line) {
                // It is about lines that have not come: they go in another request.
                request.sender = None;
                continue;
            }
            request.answers += 1;
            if let Some(error) = self.answer(line, request.answers)? {
                return Ok(Some(error));
            }
        }
        if request.text.len() > LONGEST {
            return Err(Error::internal(format!("The answer to a line is longer than {LONGEST} bytes")));
        }
        Ok(None)
    }

    /// Takes the answer to the first line over; an error is that of the request, and leaves the line without an
    /// answer.
    fn answer(&mut self, line: &[u8], number: u64) -> Result<Option<Error>> {
        if self.sent == 0 {
            let name = self.client.name();
            return Ok(Some(Error::unavailable(format!("{name} gives answers to lines that are not sent"))));
        }
        let failure = match Answer::of(line, number) {
            Answer::Prediction => None,
            Answer::Failure(error) => Some(error),
            Answer::Broken(error) => return Ok(Some(error)),
        };
        let Some(row) = self.pending.pop_front() else { return Ok(None) };
        self.sent -= 1;
        self.held -= size(&row);
        self.position = row.end;
        match failure {
            Some(error) => self.output.fail(&error, &row.text)?,
            None => self.output.put(line)?,
        }
        self.settle()?;
        Ok(None)
    }

    /// What a request was that the server refuses, whatever time it takes to say why.
    async fn refused(&self, response: Response<Incoming>, stops: &mut Stops) -> Outcome {
        let limit = Instant::now() + self.client.timeout();
        let limit = self.stop_by.map_or(limit, |stop_by| stop_by.min(limit));
        tokio::select! {
            error = reply::refusal(response, limit) => Outcome::Broken(error),
            () = stops.next() => Outcome::End(End::Stopped),
        }
    }

    /// What a request was whose answer has ended.
    fn outcome(&self, request: &Request) -> Outcome {
        if self.stop_by.is_some() {
            return Outcome::End(End::Stopped);
        }
        if self.sent > 0 || (request.answers == 0 && !self.pending.is_empty()) {
            let name = self.client.name();
            return Outcome::Broken(Error::unavailable(format!(
                "The answer of {name} ended before its time"
            )));
        }
        Outcome::End(End::Done)
    }

    /// Looks at what the time has brought.
    fn look(&mut self, request: &mut Request) -> Result<Option<Outcome>> {
        self.output.flush()?;
        self.tell();
        let now = Instant::now();
        if self.stop_by.is_some_and(|stop_by| stop_by <= now) {
            return Ok(Some(Outcome::End(End::Stopped)));
        }
        let silence = now - request.heard;
        let is_awaited = self.sent > 0 || request.sender.is_none();
        if is_awaited && silence > self.client.timeout() {
            if self.pending.is_empty() {
                // Nothing is missing but the end.
                return Ok(Some(Outcome::End(End::Done)));
            }
            let limit = humantime::format_duration(self.client.timeout());
            let name = self.client.name();
            let message = format!("{name} has not answered within {limit}");
            return Ok(Some(Outcome::Broken(Error::deadline_exceeded(message))));
        }
        if self.pending.is_empty() && silence > IDLE {
            request.sender = None;
        }
        Ok(None)
    }

    fn tell(&mut self) {
        self.progress.set(self.output.written(), self.output.failed(), self.position);
    }
}

/// What a line takes while it waits.
fn size(row: &Row) -> usize {
    let content = match &row.content {
        Content::Instance(line) => line.len(),
        Content::Blank | Content::Faulty(_) => 0,
    };
    row.text.len() + content
}

/// Waits until something more can be sent, or nothing ever.
async fn room(sender: Option<&mpsc::Sender<Bytes>>) {
    match sender {
        // There is one who sends, so that there will still be room.
        Some(sender) => drop(sender.reserve().await),
        None => std::future::pending().await,
    }
}

async fn frame(answer: &mut Option<Incoming>) -> Option<Result<Frame<Bytes>, hyper::Error>> {
    match answer {
        Some(answer) => answer.frame().await,
        None => std::future::pending().await,
    }
}
