//! Bodies that are sent as gzip, and the limits of what they may inflate to.
//!
//! Nothing is allocated that has not been held, and nothing at all for a body that is refused.

use std::io::Read;

use bytes::Bytes;
use flate2::bufread::GzDecoder;

use super::body::BodyLimits;
use crate::error::{Error, Result};
use crate::record::{Limit, Record};
use crate::upstream::Account;

/// What a gzip body may inflate to whatever the ratio.
pub(super) const FREE_INFLATION: usize = 1 << 20;

/// Inflates a body of one gzip member, like the original: what is no such thing is an error
/// with the status that its empty document has.
///
/// Its end says how long the text is. A body that says so rightly, within the limits, takes exactly
/// that much memory; all others are only measured, to find out what is wrong with them.
pub(super) fn inflate(body: &[u8], limits: BodyLimits, memory: &Account, record: &Record) -> Result<Bytes> {
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
    let mut decoder = GzDecoder::new(body);
    let mut part = vec![0; 64 << 10];
    let mut length = 0_usize;
    loop {
        match decoder.read(&mut part) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return broken(&error.to_string()).with_source(error),
        }
        if length > limits.size.min(by_ratio) {
            record.hit(Limit::BodySize);
        }
        if length > limits.size {
            return Error::payload_too_large(format!("The body inflates to more than {} bytes", limits.size));
        }
        if length > by_ratio {
            let ratio = limits.ratio;
            return Error::payload_too_large(format!(
                "The body inflates to more than {ratio} times its size"
            ));
        }
    }
    broken("has bytes behind its end")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::upstream::Memory;

    fn inflate(body: &[u8], size: usize) -> Result<Bytes> {
        let limits = BodyLimits { size, ratio: 100, pace: Duration::ZERO };
        super::inflate(body, limits, &Memory::new(1 << 30, &Arc::default()).account(), &Record::new())
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
            let error = super::inflate(&body, limits, &account, &record).unwrap_err();
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
    fn inflated_bytes_are_limited() {
        let bomb = gzip(&vec![b' '; 1 << 20]);
        assert_eq!(inflate(&bomb, 1 << 19).unwrap_err().status(), 413);
        assert_eq!(inflate(&bomb, 1 << 20).unwrap().len(), 1 << 20);
        let larger = gzip(&vec![b' '; (1 << 20) + 1]);
        let error = inflate(&larger, 1 << 30).unwrap_err();
        assert_eq!((error.status().as_u16(), error.message().contains("100 times")), (413, true));
    }
}
