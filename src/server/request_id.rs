//! The id of a request: the client's `x-request-id`, or one that is made for it.
//!
//! It goes to the backend where `--pass-header` lets it, back to the client, and into the log.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The most characters of an id from outside.
const MAX_LENGTH: usize = 128;

/// The id of a request with these headers, which have it from then on.
pub(super) fn take(headers: &mut HeaderMap) -> HeaderValue {
    if let Some(id) = given(headers) {
        return id.clone();
    }
    let id = new(fastrand::u128(..));
    headers.insert(REQUEST_ID, id.clone());
    id
}

/// The id that there is to be at the end: that of the backend's answer, if it came back with one of its own,
/// else the request's.
pub(super) fn put(id: &HeaderValue, headers: &mut HeaderMap) -> HeaderValue {
    if let Some(other) = given(headers) {
        return other.clone();
    }
    headers.insert(REQUEST_ID, id.clone());
    id.clone()
}

/// The one id in these headers, if it can be one.
fn given(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut ids = headers.get_all(REQUEST_ID).iter();
    let id = ids.next().filter(|_| ids.next().is_none())?;
    let is_id = (1..=MAX_LENGTH).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic);
    is_id.then_some(id)
}

/// A UUID of version 4 from random bits.
fn new(random: u128) -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let bits = random & !(0xf << 76 | 0b11 << 62) | 4 << 76 | 0b10 << 62;
    let mut text = [b'-'; 36];
    let mut rest = bits;
    for at in (0..text.len()).rev().filter(|at| !matches!(at, 8 | 13 | 18 | 23)) {
        text[at] = DIGITS[(rest & 0xf) as usize];
        rest >>= 4;
    }
    // It is made of digits and hyphens, which a header may have.
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_kept_if_they_can_be_ids() {
        let check = |given: &[&[u8]], is_kept: bool| {
            let mut headers = HeaderMap::new();
            for id in given {
                headers.append(REQUEST_ID, HeaderValue::from_bytes(id).unwrap());
            }
            let id = take(&mut headers);
            assert_eq!(given.contains(&id.as_bytes()), is_kept, "{given:?}");
            assert_eq!(headers.get_all(REQUEST_ID).iter().collect::<Vec<_>>(), [&id]);
        };
        check(&[b"a"], true);
        check(&["x".repeat(128).as_bytes()], true);
        check(&[b"a/b:\"c\\"], true);
        check(&[], false);
        check(&[b""], false);
        check(&[b"a b"], false);
        check(&["é".as_bytes()], false);
        check(&["x".repeat(129).as_bytes()], false);
        check(&[b"a", b"a1"], false);
    }

    #[test]
    fn new_ids_are_uuids() {
        assert_eq!(new(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(new(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(new(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef), "01234567-89ab-4def-8123-456789abcdef");
        assert_ne!(new(fastrand::u128(..)), new(fastrand::u128(..)));
    }
}
