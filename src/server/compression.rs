//! Compressed replies: gzip, for clients that take it, from a size on, and deflate for those that take only
//! that.
//!
//! A reply is compressed whole, at a fast level, and never on the threads that small requests
//! wait for if it is large. Nothing is compressed that gets no smaller by it. There is no zstd: it
//! would need a library in C.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderValue};
use http::{HeaderMap, Response};

use super::access::add_vary;
use crate::codec::media::MediaType;
use crate::error::Error;
use crate::handler::offload;
use crate::upstream::Account;

/// By how much longer a byte takes to compress than what `offload` measures work by.
const COST: usize = 16;

/// Level 1 of zlib-rs leaves 65% of a megabyte of floats, this one 43% in little more time, and
/// level 6 42% in four times as much.
const LEVEL: Compression = Compression::new(3);

/// A way of compressing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    /// That of zlib, whatever the name says.
    Deflate,
}

impl Coding {
    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    fn encode(self, plain: &[u8]) -> std::io::Result<Vec<u8>> {
        let out = Vec::with_capacity(plain.len() / 2);
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(out, LEVEL);
                encoder.write_all(plain)?;
                encoder.finish()
            }
            Self::Deflate => {
                let mut encoder = ZlibEncoder::new(out, LEVEL);
                encoder.write_all(plain)?;
                encoder.finish()
            }
        }
    }
}

/// Compresses a response of at least this size if the client takes that, and there is memory for
/// both forms of it.
pub(super) async fn compress(
    response: Response<Bytes>,
    min_size: usize,
    coding: Option<Coding>,
    memory: &Arc<Account>,
) -> Response<Bytes> {
    let size = response.body().len();
    if size == 0 || size < min_size || is_dense(response.headers()) {
        return response;
    }
    let (mut head, plain) = response.into_parts();
    add_vary(&mut head.headers, ACCEPT_ENCODING.as_str());
    let Some(coding) = coding.filter(|_| memory.hold(size).is_ok()) else {
        return Response::from_parts(head, plain);
    };
    let input = plain.clone();
    let encode = move || {
        let failed = |error| Error::internal("The reply could not be compressed").with_source(error);
        coding.encode(&input).map_err(failed)
    };
    match offload(size.saturating_mul(COST), memory, encode).await {
        Ok(compressed) if compressed.len() < size => {
            head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
            mark_tag(&mut head.headers, coding);
            Response::from_parts(head, compressed.into())
        }
        Ok(_) => Response::from_parts(head, plain),
        Err(error) => {
            tracing::warn!(%error, "a reply could not be compressed");
            Response::from_parts(head, plain)
        }
    }
}

/// Other bytes need another tag.
fn mark_tag(headers: &mut HeaderMap, coding: Coding) {
    let tag = headers.get(ETAG).and_then(|tag| tag.to_str().ok()?.strip_suffix('"'));
    let marked = tag.and_then(|tag| HeaderValue::try_from(format!("{tag}-{}\"", coding.name())).ok());
    if let Some(marked) = marked {
        headers.insert(ETAG, marked);
    }
}

/// Whether a reply is tensors as they lie in memory: of floats gzip leaves nine parts in ten, for longer than
/// all else takes, and many a client's library asks for it without a thought.
fn is_dense(headers: &HeaderMap) -> bool {
    let dense = [MediaType::Npy, MediaType::Npz, MediaType::Protobuf, MediaType::Arrow];
    headers.get(CONTENT_TYPE).is_some_and(|name| dense.iter().any(|dense| name == dense.name()))
}

/// What a client would rather have than plain bytes, or as gladly.
pub(super) fn accepted(headers: &HeaderMap) -> Option<Coding> {
    let (mut gzip, mut deflate, mut any, mut identity) = (None, None, None, None);
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    for coding in values.flat_map(|value| value.split(',')) {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight(parameters);
        match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => gzip = Some(weight),
            "deflate" => deflate = Some(weight),
            "*" => any = Some(weight),
            "identity" => identity = Some(weight),
            _ => {}
        }
    }
    let is_good = |weight: u16| weight > 0 && weight >= identity.unwrap_or(0);
    if is_good(gzip.or(any).unwrap_or(0)) {
        return Some(Coding::Gzip);
    }
    deflate.filter(|weight| is_good(*weight)).map(|_| Coding::Deflate)
}

/// The weight of a coding, in thousandths: all of it without one, none if it cannot be read.
fn weight(parameters: &str) -> u16 {
    let parameters = parameters.trim();
    if parameters.is_empty() {
        return 1000;
    }
    let Some((name, value)) = parameters.split_once('=') else { return 0 };
    let (whole, fraction) = value.trim().split_once('.').unwrap_or((value.trim(), ""));
    let is_fraction = fraction.len() <= 3 && fraction.bytes().all(|digit| digit.is_ascii_digit());
    if !name.trim().eq_ignore_ascii_case("q") || !is_fraction {
        return 0;
    }
    let thousandths = format!("{fraction:0<3}").parse().unwrap_or(0);
    match whole {
        "0" => thousandths,
        "1" if thousandths == 0 => 1000,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::Instant;

    use super::*;
    use crate::upstream::Memory;

    fn account(limit: usize) -> Arc<Account> {
        Arc::new(Memory::new(limit, &Arc::default()).account())
    }

    #[test]
    fn encodings_are_weighed() {
        let check = |text: &str, expected: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, text.parse().unwrap());
            assert_eq!(accepted(&headers) == Some(Coding::Gzip), expected, "{text}");
        };
        assert_eq!(accepted(&HeaderMap::new()), None);
        check("gzip", true);
        check("GZip", true);
        check("x-gzip", true);
        check("gzip, deflate, br", true);
        check("deflate, br;q=1.0, gzip;q=0.5", true);
        check("*", true);
        check("*;q=0.1", true);
        check("gzip;q=0.001", true);
        check("gzip ; Q=1.000", true);
        check("identity;q=0.5, gzip;q=0.5", true);
        check("identity;q=0, *", true);
        check("", false);
        check("identity", false);
        check("br", false);
        check("gzip;q=0", false);
        check("gzip;q=0.000", false);
        check("gzip;q=0, *", false);
        check("*;q=0", false);
        check("identity, gzip;q=0.5", false);
        check("gzip;q=2", false);
        check("gzip;q=1.5", false);
        check("gzip;q=0.1234", false);
        check("gzip;q=-1", false);
        check("gzip;q=x", false);
        check("gzip;level=9", false);
        check("gzipped", false);
    }

    #[test]
    fn deflate_is_for_those_who_take_no_gzip() {
        let check = |text: &str, expected: Option<Coding>| {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, text.parse().unwrap())]);
            assert_eq!(accepted(&headers), expected, "{text}");
        };
        check("deflate", Some(Coding::Deflate));
        check("br, Deflate;q=0.5", Some(Coding::Deflate));
        check("deflate, gzip", Some(Coding::Gzip));
        check("deflate, gzip;q=0", Some(Coding::Deflate));
        check("deflate;q=0", None);
        check("deflate;q=0.5, identity", None);
    }

    #[test]
    fn weights_come_from_several_headers() {
        let mut headers = HeaderMap::new();
        headers.append(ACCEPT_ENCODING, "br".parse().unwrap());
        headers.append(ACCEPT_ENCODING, "gzip".parse().unwrap());
        assert_eq!(accepted(&headers), Some(Coding::Gzip));
    }

    fn response(body: impl Into<Bytes>) -> Response<Bytes> {
        Response::new(body.into())
    }

    #[tokio::test]
    async fn what_gets_no_smaller_is_sent_plain() {
        let plain: Vec<u8> = (0..1 << 12).map(|_| fastrand::u8(..)).collect();
        let reply = compress(response(plain.clone()), 1, Some(Coding::Gzip), &account(1 << 30)).await;
        assert!(!reply.headers().contains_key(CONTENT_ENCODING));
        assert_eq!(reply.headers()["vary"], "accept-encoding");
        assert_eq!(reply.into_body(), plain);
    }

    #[tokio::test]
    async fn what_there_is_no_memory_for_is_sent_plain() {
        let check = async |limit, is_compressed| {
            let reply = compress(response(vec![b'1'; 1000]), 1, Some(Coding::Gzip), &account(limit)).await;
            assert_eq!(reply.headers().contains_key(CONTENT_ENCODING), is_compressed, "{limit}");
            assert_eq!(reply.headers()["vary"], "accept-encoding");
        };
        check(999, false).await;
        check(1000, true).await;
    }

    #[tokio::test]
    async fn the_size_decides() {
        let check = async |size: usize, min_size, is_compressed| {
            let plain = vec![b'1'; size];
            let reply =
                compress(response(plain.clone()), min_size, Some(Coding::Gzip), &account(1 << 30)).await;
            assert_eq!(reply.headers().contains_key(CONTENT_ENCODING), is_compressed, "{size} {min_size}");
            assert_eq!(reply.headers().contains_key("vary"), is_compressed);
            let mut body = reply.into_body().to_vec();
            if is_compressed {
                let mut inflated = Vec::new();
                flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut inflated).unwrap();
                body = inflated;
            }
            assert_eq!(body, plain);
        };
        check(999, 1000, false).await;
        check(1000, 1000, true).await;
        check(0, 0, false).await;
        check(3 << 20, 1000, true).await;
    }

    /// `cargo test --release -- --ignored --nocapture cost_of_a_float_reply`
    #[test]
    #[ignore = "a measurement"]
    fn cost_of_a_float_reply() {
        let mut text = "{\"predictions\":[".to_owned();
        while text.len() < 1 << 20 {
            text = text + &fastrand::f32().to_string() + ",";
        }
        let start = Instant::now();
        let rounds = 20;
        let mut length = 0;
        for _ in 0..rounds {
            length = Coding::Gzip.encode(text.as_bytes()).unwrap().len();
        }
        eprintln!("{} bytes to {length} in {:?}", text.len(), start.elapsed() / rounds);
        assert!(length < text.len());
    }
}
