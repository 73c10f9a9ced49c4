//! Reads the messages in the body of a gRPC request, one after the other: within the limits of a body, before
//! the deadline, and decompressed.
//!
//! The memory for a message is held before it is taken; what a message announces is believed as far as the
//! length of a body is.

use std::pin::pin;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body::Body;

use super::body::{BodyLimits, Pace, discard_rest, expected, next_data, room};
use super::inflate::{self, Coding};
use crate::error::{Error, Result};
use crate::record::{Limit, Part, Size};
use crate::upstream::{Call, offload};

/// The bytes in front of a message: whether it is compressed, and its length.
const HEAD: usize = 5;

/// After so many bytes others that wait for this worker get a turn.
const STEP: usize = 128 << 10;

/// The messages of a request.
#[derive(Debug)]
pub(crate) struct Messages<B> {
    body: B,
    /// How those are compressed that are.
    coding: Option<Coding>,
    /// What has arrived and is part of no message yet.
    rest: Bytes,
}

impl<B> Messages<B>
where
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
{
    /// The messages of a body with these headers.
    ///
    /// # Errors
    ///
    /// `UNIMPLEMENTED` for a compression that nobody here knows.
    pub(crate) fn new(headers: &HeaderMap, body: B) -> Result<Self> {
        let coding = match headers.get("grpc-encoding").map(http::HeaderValue::as_bytes) {
            None | Some(b"identity") => None,
            Some(b"gzip") => Some(Coding::Gzip),
            Some(b"deflate") => Some(Coding::Deflate),
            Some(other) => {
                let other = String::from_utf8_lossy(other);
                return Err(Error::unimplemented(format!(
                    "Messages of encoding {other:?} cannot be read; gzip, deflate and identity can"
                )));
            }
        };
        Ok(Self { body, coding, rest: Bytes::new() })
    }

    /// Waits for the beginning of a message; false if there is none any more.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if the body breaks off.
    pub(crate) async fn begins(&mut self) -> Result<bool> {
        while self.rest.is_empty() {
            match next_data(&mut self.body).await? {
                Some(data) => self.rest = data,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The only message of a request.
    ///
    /// # Errors
    ///
    /// As from [`Self::next`], and `INVALID_ARGUMENT` if there is none, or another one.
    pub(crate) async fn only(&mut self, limits: BodyLimits, call: &Call) -> Result<Bytes> {
        let message = self.next(limits, call).await?;
        let more = call.deadline.limit("reading the message", pin!(self.begins())).await??;
        message.filter(|_| !more).ok_or_else(|| {
            Error::invalid_argument(format!(
                "The request has {} message; it takes one",
                if more { "more than one" } else { "no" }
            ))
        })
    }

    /// The next message, if there is one. The call holds its memory.
    ///
    /// # Errors
    ///
    /// 413 if it is too large, 408 if it arrives too slowly, `INVALID_ARGUMENT` if it breaks off or cannot be
    /// inflated, and those of deadlines and of memory.
    pub(crate) async fn next(&mut self, limits: BodyLimits, call: &Call) -> Result<Option<Bytes>> {
        let _timer = call.record.timer(Part::Read);
        let coding = self.coding;
        let collecting = pin!(self.collect(limits, call));
        let Some((is_compressed, message)) = call.deadline.limit("reading the message", collecting).await??
        else {
            return Ok(None);
        };
        call.record.note(Size::Body, HEAD + message.len());
        if !is_compressed {
            return Ok(Some(message));
        }
        let coding =
            coding.ok_or_else(|| Error::invalid_argument("A message is compressed, nobody says how"))?;
        // A little of it can be a lot.
        let size = message.len().saturating_mul(32);
        let (memory, record) = (Arc::clone(&call.memory), Arc::clone(&call.record));
        let inflate = move || {
            inflate::inflate(coding, &message, limits, &memory, &record).map_err(|error| {
                let is_broken = error.status() == StatusCode::BAD_REQUEST;
                // It would tell of a body that is no JSON.
                let broken = || Error::invalid_argument("A message cannot be inflated");
                if is_broken { broken().with_source(error) } else { error }
            })
        };
        offload::offload(size, &call.memory, inflate).await.map(Some)
    }

    /// The bytes of the next message as they are sent, and whether they are compressed.
    async fn collect(&mut self, limits: BodyLimits, call: &Call) -> Result<Option<(bool, Bytes)>> {
        let Call { memory, record, .. } = call;
        let mut pace = Pace::new(limits.pace, record);
        while self.rest.len() < HEAD {
            match pace.next(&mut self.body).await? {
                Some(data) if self.rest.is_empty() => self.rest = data,
                Some(data) => self.rest = [&self.rest[..], &data].concat().into(),
                None if self.rest.is_empty() => return Ok(None),
                None => return Err(broken_off()),
            }
        }
        let (flag, length) = (self.rest.get_u8(), self.rest.get_u32());
        if flag > 1 {
            return Err(Error::invalid_argument("The body has no gRPC messages"));
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > limits.size {
            record.hit(Limit::BodySize);
            discard_rest(&mut self.body).await;
            return Err(Error::payload_too_large(format!(
                "The message is larger than {} bytes",
                limits.size
            )));
        }
        if self.rest.len() >= length {
            memory.hold(length)?;
            return Ok(Some((flag == 1, self.rest.split_to(length))));
        }
        let (mut message, mut held) = (BytesMut::new(), 0);
        let mut data = std::mem::take(&mut self.rest);
        loop {
            let missing = data.split_to(data.len().min(length - message.len()));
            let size = message.len() + missing.len();
            let need = expected(Some(length), size);
            if need > held {
                if let Err(error) = memory.hold(need - held) {
                    drop(message);
                    discard_rest(&mut self.body).await;
                    return Err(error);
                }
                held = need;
            }
            if size > message.capacity() {
                message.reserve(room(Some(length), size) - message.len());
            }
            let step = message.len() / STEP;
            message.extend_from_slice(&missing);
            if message.len() == length {
                self.rest = data;
                return Ok(Some((flag == 1, message.freeze())));
            }
            if message.len() / STEP > step {
                tokio::task::yield_now().await;
            }
            data = pace.next(&mut self.body).await?.ok_or_else(broken_off)?;
        }
    }
}

fn broken_off() -> Error {
    Error::invalid_argument("The body ends within a message")
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::io::Write;
    use std::time::Duration;

    use flate2::Compression;
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;
    use crate::upstream::{Deadline, Memory};

    const LIMITS: BodyLimits = BodyLimits { size: 2 << 20, ratio: 20, pace: Duration::from_secs(9) };

    fn call(memory: &Memory) -> Call {
        Call::new(Deadline::after(Duration::ZERO), HeaderMap::new(), memory.account(), Arc::default(), 0)
    }

    /// The messages of a body that arrives in pieces of this size, until one fails.
    async fn all(encoding: &str, body: &[u8], piece: usize) -> Result<Vec<Bytes>> {
        let pieces: VecDeque<_> = body.chunks(piece).map(Bytes::copy_from_slice).collect();
        let pieces = pieces.into_iter().map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
        let headers = [(http::HeaderName::from_static("grpc-encoding"), encoding.parse().unwrap())];
        let body = StreamBody::new(tokio_stream::iter(pieces));
        let mut messages = Messages::new(&headers.into_iter().collect(), body)?;
        let memory = Memory::new(16 << 20, &Arc::default());
        let mut all = Vec::new();
        loop {
            let call = call(&memory);
            let Some(message) = messages.next(LIMITS, &call).await? else { return Ok(all) };
            assert!(call.memory.held() >= message.len());
            all.push(message);
        }
    }

    fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[flag][..], &length, message].concat()
    }

    fn packed(encoding: &str, message: &[u8]) -> Vec<u8> {
        if encoding == "gzip" {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(message).unwrap();
            encoder.finish().unwrap()
        } else {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(message).unwrap();
            encoder.finish().unwrap()
        }
    }

    #[tokio::test]
    async fn messages_arrive_in_pieces_of_any_size() {
        let large: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        let body = [framed(0, b"one"), framed(0, b""), framed(0, &large)].concat();
        for piece in [1 << 20, 100_000, 7, 5, 3] {
            let all = all("identity", &body, piece).await.unwrap();
            assert_eq!(all, [&b"one"[..], b"", &large], "{piece}");
        }
        assert!(all("identity", b"", 1).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn messages_are_inflated() {
        let large: Vec<u8> = (0..50_000_u32).flat_map(u32::to_le_bytes).collect();
        for encoding in ["gzip", "deflate"] {
            let body = [framed(1, &packed(encoding, &large)), framed(0, b"plain")].concat();
            assert_eq!(all(encoding, &body, 1000).await.unwrap(), [&large[..], b"plain"], "{encoding}");
        }
    }

    #[tokio::test]
    async fn what_is_no_message_is_refused() {
        let check = async |encoding: &str, body: Vec<u8>, status: u16, expected: &str| {
            let error = all(encoding, &body, 9).await.unwrap_err();
            assert_eq!(error.status(), status, "{error}");
            assert!(error.message().contains(expected), "{error}");
        };
        check("identity", vec![0, 0], 400, "ends within a message").await;
        check("identity", vec![0, 0, 0, 0, 2, 1], 400, "ends within a message").await;
        check("identity", vec![2, 0, 0, 0, 0], 400, "no gRPC messages").await;
        check("identity", vec![0, 255, 0, 0, 0], 413, "larger than 2097152 bytes").await;
        check("identity", framed(1, b"x"), 400, "nobody says how").await;
        check("gzip", framed(1, b"x"), 400, "cannot be inflated").await;
        check("snappy", Vec::new(), 501, "\"snappy\"").await;
        let zeros = packed("gzip", &vec![0; (1 << 20) + 1]);
        check("gzip", framed(1, &zeros), 413, "inflates to more than 20 times").await;
    }
}
