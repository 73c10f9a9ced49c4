//! Reads a request's body: within its limit, before the deadline, decompressed, and decoded
//! along the way where that helps.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, EXPECT, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, Request, Version};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::inflate;
use crate::codec::Limits;
use crate::codec::signature::Signatures;
use crate::codec::stream::Stream;
use crate::config::ApiConfig;
use crate::error::{Error, Result};
use crate::record::{Limit, Part, Record, Size};
use crate::signature::Known;
use crate::upstream::{Account, Call, offload};

/// Until this much of a body is there, no more than this is set aside for it, whatever length it
/// announces.
const INITIAL_BUFFER: usize = 1 << 20;

/// From this size on a body is decoded while it arrives, in steps of about this size: a step
/// takes less than a tenth of a millisecond.
const STREAM_STEP: usize = 128 << 10;

/// What comes of a body after this much is put together and decoded on a thread of its own, so that
/// all that the async workers do for it is to read the socket.
const HUGE: usize = 4 << 20;

/// How many pieces of a huge body may wait for that thread.
const WAITING: usize = 4;

/// A client must send this much of its body, or the rest of it, within the body timeout.
const PIECE: usize = 256 << 10;

/// The limits of a body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimits {
    /// The most bytes, as sent and inflated.
    pub(super) size: usize,
    /// How many times larger inflating may make it.
    pub(super) ratio: usize,
    /// How long the client may take for each piece.
    pub(super) pace: Duration,
}

impl From<&ApiConfig> for BodyLimits {
    fn from(config: &ApiConfig) -> Self {
        Self { size: config.max_body_size, ratio: config.max_inflate_ratio, pace: config.body_timeout }
    }
}

/// What it takes to decode a body while it arrives.
#[derive(Clone)]
pub(super) struct Decoding {
    known: Arc<Known>,
    limits: Limits,
}

impl Decoding {
    /// Decoding with these signatures, within limits.
    pub(super) fn new(known: &Arc<Known>, limits: Limits) -> Self {
        Self { known: Arc::clone(known), limits }
    }
}

/// Reads the body. With signatures, numbers in large bodies are decoded as they arrive.
///
/// The call holds the memory for it, and for what is decoded.
pub(super) async fn read<B>(
    request: Request<B>,
    limits: BodyLimits,
    call: &Call,
    decoding: Option<Decoding>,
) -> Result<(Bytes, Option<Stream>)>
where
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
{
    let _timer = call.record.timer(Part::Read);
    let coding = inflate::Coding::of(request.headers());
    let decoding = decoding.filter(|_| coding.is_none());
    let collecting = pin!(collect(request, limits, call, decoding));
    let (body, stream) = call.deadline.limit("reading the body", collecting).await??;
    call.record.note(Size::Body, body.len());
    if let Some(coding) = coding {
        // A little gzip can be a lot of text.
        let size = body.len().saturating_mul(32);
        let (memory, record) = (Arc::clone(&call.memory), Arc::clone(&call.record));
        let inflate = move || inflate::inflate(coding, &body, limits, &memory, &record);
        let inflated = offload::offload(size, &call.memory, inflate).await?;
        return Ok((inflated, None));
    }
    Ok((body, stream))
}

async fn collect<B>(
    request: Request<B>,
    limits: BodyLimits,
    call: &Call,
    decoding: Option<Decoding>,
) -> Result<(Bytes, Option<Stream>)>
where
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
{
    let Call { memory, record, .. } = call;
    if !is_plainly_sent(request.headers()) {
        discard(request).await;
        return Err(Error::unimplemented("The only transfer coding is chunked, once"));
    }
    let announced =
        request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let too_large = || {
        record.hit(Limit::BodySize);
        Error::payload_too_large(format!("The body is larger than {} bytes", limits.size))
    };
    if announced.is_some_and(|length| length > limits.size) {
        discard(request).await;
        return Err(too_large());
    }
    let mut body = request.into_body();
    let mut pace = Pace::new(limits.pace, record);
    let Some(first) = pace.next(&mut body).await? else { return Ok((Bytes::new(), None)) };
    if announced == Some(first.len()) {
        memory.hold(first.len())?;
        return Ok((first, None));
    }
    let mut collector = Collector::new(announced, decoding);
    let mut next = Some(first);
    while let Some(data) = next {
        let length = collector.length + data.len();
        let held = if length > limits.size { Err(too_large()) } else { collector.hold(length, memory) };
        if let Err(error) = held {
            drop(collector);
            discard_rest(&mut body).await;
            return Err(error);
        }
        collector.push(data, memory).await?;
        next = pace.next(&mut body).await?;
    }
    collector.finish().await
}

/// Sees that a body does not arrive too slowly.
pub(super) struct Pace<'a> {
    record: &'a Record,
    limit: Duration,
    received: usize,
    /// By when the next piece must be there; `None` for a time beyond all clocks.
    until: Option<Instant>,
}

impl<'a> Pace<'a> {
    pub(super) fn new(limit: Duration, record: &'a Record) -> Self {
        Self { record, limit, received: 0, until: Instant::now().checked_add(limit) }
    }

    /// The same pace from now on.
    pub(super) fn again(&self) -> Self {
        Self::new(self.limit, self.record)
    }

    /// The next data of the body. None is lost if this is given up.
    pub(super) async fn next<B>(&mut self, body: &mut B) -> Result<Option<Bytes>>
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
    {
        let data = match self.until {
            Some(until) => tokio::time::timeout_at(until, next_data(body)).await.map_err(|_| {
                self.record.hit(Limit::BodyTimeout);
                let limit = humantime::format_duration(self.limit);
                Error::request_timeout(format!(
                    "The body arrives too slowly: {PIECE} bytes took over {limit}"
                ))
            })??,
            None => next_data(body).await?,
        };
        self.received += data.as_ref().map_or(0, Bytes::len);
        if self.received >= PIECE {
            *self = self.again();
        }
        Ok(data)
    }
}

/// Puts a body together as it arrives.
struct Collector {
    length: usize,
    announced: Option<usize>,
    /// How many bytes a tensor may take for two bytes of the body.
    width: usize,
    /// How many bytes of memory it holds.
    held: usize,
    place: Place,
}

/// Where that happens.
enum Place {
    Here(Buffer),
    /// On a thread of its own, which this leads to.
    Thread(mpsc::Sender<Bytes>, JoinHandle<Buffer>),
}

impl Collector {
    fn new(announced: Option<usize>, decoding: Option<Decoding>) -> Self {
        let signatures = decoding.as_ref().and_then(|decoding| decoding.known.signatures.as_ref());
        let width = signatures.map_or(0, Signatures::widest_number);
        let buffer = Buffer { announced, decoding, bytes: BytesMut::new(), stream: None, decoded: 0 };
        Self { length: 0, announced, width, held: 0, place: Place::Here(buffer) }
    }

    /// Holds the memory for a body of which so many bytes are there, and for the numbers that may be
    /// decoded along the way: each takes a digit and a comma at least.
    fn hold(&mut self, length: usize, memory: &Account) -> Result<()> {
        let size = expected(self.announced, length);
        let need = if length > STREAM_STEP {
            size.saturating_add((size / 2).saturating_mul(self.width))
        } else {
            size
        };
        if need > self.held {
            memory.hold(need - self.held)?;
            self.held = need;
        }
        Ok(())
    }

    async fn push(&mut self, data: Bytes, memory: &Arc<Account>) -> Result<()> {
        let step = self.length / STREAM_STEP;
        self.length += data.len();
        if self.length / STREAM_STEP > step {
            // Others that wait for this worker get a turn, however fast this body arrives.
            tokio::task::yield_now().await;
        }
        match &mut self.place {
            Place::Here(buffer) => {
                buffer.push(&data);
                if self.length > HUGE {
                    let mut buffer = std::mem::take(buffer);
                    let (sender, mut pieces) = mpsc::channel::<Bytes>(WAITING);
                    let task = offload::spawn(memory, move || {
                        while let Some(data) = pieces.blocking_recv() {
                            buffer.push(&data);
                        }
                        buffer
                    });
                    self.place = Place::Thread(sender, task);
                }
                Ok(())
            }
            Place::Thread(sender, _) => sender.send(data).await.map_err(lost),
        }
    }

    async fn finish(self) -> Result<(Bytes, Option<Stream>)> {
        let buffer = match self.place {
            Place::Here(buffer) => buffer,
            Place::Thread(sender, task) => {
                drop(sender);
                task.await.map_err(lost)?
            }
        };
        Ok((buffer.bytes.freeze(), buffer.stream))
    }
}

/// The thread that put a body together has panicked.
fn lost(cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal(offload::LOST).with_source(cause)
}

/// The part of a body that has arrived, and what has been decoded of it.
#[derive(Default)]
struct Buffer {
    announced: Option<usize>,
    decoding: Option<Decoding>,
    bytes: BytesMut,
    stream: Option<Stream>,
    decoded: usize,
}

/// How many bytes a body is believed to have, of which so many are there. Who wants to be believed
/// must have sent a part of it: an announcement alone takes no memory away from others.
pub(super) fn expected(announced: Option<usize>, length: usize) -> usize {
    let most = if length > INITIAL_BUFFER { length.saturating_mul(4) } else { INITIAL_BUFFER };
    announced.unwrap_or_default().min(most).max(length)
}

/// For how many bytes there is to be room in one place. Beyond a beginning it is all that is announced: what
/// is not written to is no memory yet, and a buffer that grew would leave smaller ones behind.
pub(super) fn room(announced: Option<usize>, length: usize) -> usize {
    if length > INITIAL_BUFFER {
        announced.unwrap_or_default().max(length)
    } else {
        expected(announced, length)
    }
}

impl Buffer {
    /// Takes the next bytes, and decodes when there are enough of them.
    fn push(&mut self, data: &[u8]) {
        let length = self.bytes.len() + data.len();
        if length > self.bytes.capacity() {
            self.bytes.reserve(room(self.announced, length) - self.bytes.len());
        }
        self.bytes.extend_from_slice(data);
        if let Some(Decoding { known, limits }) = &self.decoding
            && let Some(signatures) = &known.signatures
            && self.bytes.len() - self.decoded >= STREAM_STEP
        {
            let room = room(self.announced, self.bytes.len());
            self.stream.get_or_insert_with(|| Stream::new(*limits)).feed(&self.bytes, room, signatures);
            self.decoded = self.bytes.len();
        }
    }
}

/// Reads the body of a request that is refused, within reason: a client that is answered while it
/// still sends sees a broken connection in place of the answer.
pub(crate) async fn discard<B>(request: Request<B>)
where
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
{
    // Reading would mean to ask for it.
    if !waits(&request) {
        discard_rest(&mut request.into_body()).await;
    }
}

/// A request whose body means nothing, once that has come: one that is still on its way when the answer has gone
/// would end the connection, and with it the next request of a client that was told nothing of that.
pub(super) async fn without<B>(request: Request<B>) -> Request<B>
where
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
{
    if waits(&request) {
        return request;
    }
    let (head, mut body) = request.into_parts();
    discard_rest(&mut body).await;
    Request::from_parts(head, body)
}

/// Whether the client waits to be asked for its body. With HTTP/2 it does not wait here.
pub(crate) fn waits<B>(request: &Request<B>) -> bool {
    let expects = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    request.version() < Version::HTTP_2 && request.headers().get(EXPECT).is_some_and(expects)
}

/// Reads what is left of a body that nobody wants.
pub(super) async fn discard_rest<B>(body: &mut B)
where
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
{
    const MOST: usize = 512 << 20;
    const LONGEST: Duration = Duration::from_secs(5);
    let read = async {
        let mut discarded = 0;
        while let Ok(Some(data)) = next_data(body).await {
            discarded += data.len();
            if discarded > MOST {
                break;
            }
        }
    };
    // However it ends, the answer follows.
    let _ = tokio::time::timeout(LONGEST, read).await;
}

pub(super) async fn next_data<B>(body: &mut B) -> Result<Option<Bytes>>
where
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
{
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Error::invalid_argument("The body could not be read to its end").with_source(error)
        })?;
        // Trailers mean nothing here.
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// Whether what arrives is the body: sent whole, or in chunks and nothing else. The server undoes
/// chunks once, whatever else the header names.
pub(super) fn is_plainly_sent(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    codings.next().is_none_or(|coding| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"))
        && codings.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_the_only_coding() {
        let check = |codings: &[&str], expected| {
            let headers = codings.iter().map(|coding| (TRANSFER_ENCODING, coding.parse().unwrap()));
            assert_eq!(is_plainly_sent(&headers.collect()), expected, "{codings:?}");
        };
        check(&[], true);
        check(&["Chunked "], true);
        check(&["chunked, chunked"], false);
        check(&["chunked", "chunked"], false);
        check(&["gzip, chunked"], false);
    }
}
