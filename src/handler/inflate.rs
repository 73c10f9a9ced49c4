//! Bodies that are sent as gzip or deflate, and the limits of what they may inflate to.
//!
//! Nothing is allocated that has not been held, and nothing at all for a body that is refused.

use std::io::Read;

use bytes::Bytes;
use flate2::bufread::{GzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

use super::body::BodyLimits;
use crate::error::{Error, Result};
use crate::record::{Limit, Record};
use crate::upstream::Account;

/// What a gzip body may inflate to whatever the ratio.
pub(super) const FREE_INFLATION: usize = 1 << 20;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    /// That of zlib, whatever the name says.
    Deflate,
}

impl Coding {
    /// What the headers say. Any content encoding with `gzip` in its name is gzip, as in the original.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let encoding = headers.get(CONTENT_ENCODING)?.to_str().ok()?.trim().to_ascii_lowercase();
        match encoding.as_str() {
            "deflate" => Some(Self::Deflate),
            _ if encoding.contains("gzip") => Some(Self::Gzip),
            _ => None,
        }
    }
}

/// Inflates a body.
pub(super) fn inflate(
    coding: Coding,
    body: &[u8],
    limits: BodyLimits,
    memory: &Account,
    record: &Record,
) -> Result<Bytes> {
    match coding {
        Coding::Gzip => gzip(body, limits, memory, record),
        Coding::Deflate => deflate(body, limits, memory, record),
    }
}

/// Inflates a body of zlib. Nothing says how long its text is, so that it is measured first.
fn deflate(body: &[u8], limits: BodyLimits, memory: &Account, record: &Record) -> Result<Bytes> {
    let by_ratio = by_ratio(body.len(), limits.ratio);
    let broken = |reason: &str| Error::invalid_argument(format!("The deflate body {reason}"));
    let failed = |error: std::io::Error| broken("cannot be inflated").with_source(error);
    let mut decoder = ZlibDecoder::new(body);
    let length = measure(&mut decoder, limits, by_ratio, record)?.map_err(failed)?;
    if !decoder.into_inner().is_empty() {
        return Err(broken("has bytes behind its end"));
    }
    memory.hold(length)?;
    let mut inflated = Vec::with_capacity(length.saturating_add(1));
    ZlibDecoder::new(body).read_to_end(&mut inflated).map_err(failed)?;
    Ok(inflated.into())
}

/// Inflates a body of one gzip member, like the original: what is no such thing is an error
/// with the status that its empty document has.
///
/// Its end says how long the text is. A body that says so rightly, within the limits, takes exactly
/// that much memory; all others are only measured, to find out what is wrong with them.
fn gzip(body: &[u8], limits: BodyLimits, memory: &Account, record: &Record) -> Result<Bytes> {
    let by_ratio = by_ratio(body.len(), limits.ratio);
    let announced = body.last_chunk().map_or(0, |end| u32::from_le_bytes(*end));
    let announced = usize::try_from(announced).unwrap_or(usize::MAX);
    if announced <= limits.size.min(by_ratio) {
        memory.hold(announced)?;
        let mut inflated = Vec::with_capacity(announced.saturating_add(1));
        let mut decoder = GzDecoder::new(body);
        let most = (announced as u64).saturating_add(1);
        let is_whole = decoder.by_ref().take(most).read_to_end(&mut inflated).is_ok();
        if is_whole && inflated.len() == announced && decoder.into_inner().is_empty() {
            return Ok(inflated.into());
        }
        memory.release(announced);
    }
    Err(fault_of_gzip(body, limits, by_ratio, record))
}

/// What this many bytes may inflate to.
pub(super) fn by_ratio(size: usize, ratio: usize) -> usize {
    size.saturating_mul(ratio).max(FREE_INFLATION)
}

/// What is wrong with a gzip body. Nothing of its text is kept.
fn fault_of_gzip(body: &[u8], limits: BodyLimits, by_ratio: usize, record: &Record) -> Error {
    let broken = |reason: &str| {
        Error::invalid_argument(format!("JSON Parse error: The document is empty (the gzip body {reason})"))
    };
    match measure(&mut GzDecoder::new(body), limits, by_ratio, record) {
        Err(error) => error,
        Ok(Err(error)) => broken(&error.to_string()).with_source(error),
        Ok(Ok(_)) => broken("has bytes behind its end"),
    }
}

/// How long the text of a decoder is, or that it cannot be read. Nothing of it is kept.
///
/// # Errors
///
/// 413 if it is longer than the limits allow.
fn measure(
    decoder: &mut impl Read,
    limits: BodyLimits,
    by_ratio: usize,
    record: &Record,
) -> Result<std::io::Result<usize>> {
    let mut part = vec![0; 64 << 10];
    let mut length = 0_usize;
    loop {
        match decoder.read(&mut part) {
            Ok(0) => return Ok(Ok(length)),
            Ok(read) => length += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Ok(Err(error)),
        }
        if length > limits.size.min(by_ratio) {
            record.hit(Limit::BodySize);
        }
        if length > limits.size {
            return Err(Error::payload_too_large(format!(
                "The body inflates to more than {} bytes",
                limits.size
            )));
        }
        if length > by_ratio {
            let ratio = limits.ratio;
            return Err(Error::payload_too_large(format!(
                "The body inflates to more than {ratio} times its size"
            )));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::upstream::Memory;

    fn inflate(body: &[u8], size: usize) -> Result<Bytes> {
        let limits = BodyLimits { size, ratio: 100, pace: Duration::ZERO };
        super::gzip(body, limits, &Memory::new(1 << 30, &Arc::default()).account(), &Record::new())
    }

    const PLAIN: &[u8] = b"{\"instances\":[1.0]}";

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut encoder, plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn one_member_inflates() {
        assert_eq!(inflate(&gzip(PLAIN), 100).unwrap(), PLAIN);
    }

    #[test]
    fn broken_gzip_is_a_bad_request() {
        let whole = gzip(PLAIN);
        let mut wrong_sum = whole.clone();
        wrong_sum[whole.len() - 6] ^= 1;
        let two_members = [whole.clone(), whole.clone()].concat();
        for body in [PLAIN, &whole[..whole.len() - 1], &wrong_sum, &two_members, b""] {
            let error = inflate(body, 100).unwrap_err();
            assert_eq!(error.status(), 400, "{error}");
            assert!(error.message().contains("The document is empty"), "{error}");
        }
    }

    #[test]
    fn a_length_that_lies_takes_no_memory() {
        let memory = Memory::new(1 << 20, &Arc::default());
        let check = |plain: usize, said: u32, status: u16| {
            let mut body = gzip(&vec![b' '; plain]);
            let end = body.len() - 4;
            body[end..].copy_from_slice(&said.to_le_bytes());
            let limits = BodyLimits { size: 8 << 20, ratio: 100, pace: Duration::ZERO };
            let account = memory.account();
            let record = Record::new();
            let error = super::gzip(&body, limits, &account, &record).unwrap_err();
            assert_eq!(record.has_hit(Limit::BodySize), status == 413);
            assert_eq!((error.status().as_u16(), account.held()), (status, 0), "{plain} {said}");
        };
        check(1000, 999, 400);
        check(1000, 1001, 400);
        check(1000, 0, 400);
        check(1000, u32::MAX, 400);
        check(16 << 20, 0, 413);
        check(16 << 20, 1 << 20, 413);
    }

    #[test]
    fn zlib_inflates_within_the_same_limits() {
        let zlib = |plain: &[u8]| {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
            std::io::Write::write_all(&mut encoder, plain).unwrap();
            encoder.finish().unwrap()
        };
        let memory = Memory::new(3 << 20, &Arc::default());
        let deflate = |body: &[u8], size| {
            let limits = BodyLimits { size, ratio: 100, pace: Duration::ZERO };
            let account = memory.account();
            let inflated = super::deflate(body, limits, &account, &Record::new());
            assert_eq!(account.held(), inflated.as_ref().map_or(0, Bytes::len));
            inflated.map_err(|error| error.status().as_u16())
        };
        let whole = zlib(PLAIN);
        assert_eq!(deflate(&whole, 100).unwrap(), PLAIN);
        assert!(deflate(&zlib(b""), 100).unwrap().is_empty());
        let behind = [&whole[..], b"x"].concat();
        for broken in [&whole[..whole.len() - 1], &behind, PLAIN, b""] {
            assert_eq!(deflate(broken, 100), Err(400));
        }
        assert_eq!(deflate(&whole, PLAIN.len() - 1), Err(413));
        let bomb = zlib(&vec![b' '; (1 << 20) + 1]);
        assert_eq!(deflate(&bomb, 1 << 30), Err(413));
        let incompressible: Vec<u8> = (0..4 << 20).map(|_| fastrand::u8(..)).collect();
        assert_eq!(deflate(&zlib(&incompressible), 1 << 30), Err(413), "there is no memory for it");
    }

    #[test]
    fn inflated_bytes_are_limited() {
        let bomb = gzip(&vec![b' '; 1 << 20]);
        assert_eq!(inflate(&bomb, 1 << 19).unwrap_err().status(), 413);
        assert_eq!(inflate(&bomb, 1 << 20).unwrap().len(), 1 << 20);
        let larger = gzip(&vec![b' '; (1 << 20) + 1]);
        let error = inflate(&larger, 1 << 30).unwrap_err();
        assert_eq!((error.status().as_u16(), error.message().contains("100 times")), (413, true));
    }
}
