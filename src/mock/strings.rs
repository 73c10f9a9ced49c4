//! Strings between `string_val` and the packed form of `tensor_content`: the lengths of all as
//! varints, then the bytes of all.
//!
//! Strings that are read share the memory of the request.

use bytes::{Bytes, BytesMut};

use super::tensor::{MOST_BYTES, Unreadable};
use crate::proto::tensorflow::TensorProto;

/// The strings of a tensor, out of whichever form it has.
pub(super) fn read(proto: &TensorProto, count: usize) -> Result<Vec<Bytes>, Unreadable> {
    if count.saturating_mul(size_of::<Bytes>()) > MOST_BYTES {
        return Err(Unreadable::TooLarge);
    }
    if count > 0 && !proto.tensor_content.is_empty() {
        return unpack(proto.tensor_content.clone(), count).ok_or(Unreadable::Malformed);
    }
    let given = &proto.string_val;
    let last = given.last().cloned().unwrap_or_default();
    // Here the copies share their bytes, but in a reply they do not.
    let repeated = count.saturating_sub(given.len());
    if repeated.saturating_mul(last.len()) > MOST_BYTES {
        return Err(Unreadable::TooLarge);
    }
    let mut strings: Vec<Bytes> = given.iter().take(count).cloned().collect();
    strings.resize(count, last);
    Ok(strings)
}

fn unpack(mut content: Bytes, count: usize) -> Option<Vec<Bytes>> {
    // Each length takes a byte at least, so this also bounds what the loop may allocate.
    if count > content.len() {
        return None;
    }
    let mut lengths = Vec::with_capacity(count);
    for _ in 0..count {
        lengths.push(prost::decode_length_delimiter(&mut content).ok()?);
    }
    let mut strings = Vec::with_capacity(count);
    for length in lengths {
        if length > content.len() {
            return None;
        }
        strings.push(content.split_to(length));
    }
    content.is_empty().then_some(strings)
}

/// The packed form.
pub(super) fn pack(strings: &[Bytes]) -> Bytes {
    let length = |string: &Bytes| prost::length_delimiter_len(string.len()) + string.len();
    let mut packed = BytesMut::with_capacity(strings.iter().map(length).sum());
    for string in strings {
        // Never fails: the buffer grows.
        let _ = prost::encode_length_delimiter(string.len(), &mut packed);
    }
    for string in strings {
        packed.extend_from_slice(string);
    }
    packed.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proto(strings: &[&'static [u8]], content: &'static [u8]) -> TensorProto {
        TensorProto {
            string_val: strings.iter().copied().map(Bytes::from_static).collect(),
            tensor_content: Bytes::from_static(content),
            ..TensorProto::default()
        }
    }

    #[test]
    fn strings_are_read_from_both_forms() {
        let cases: [(&[&[u8]], &[u8], usize, Option<&[&[u8]]>); 10] = [
            (&[b"a", b"b"], b"", 2, Some(&[b"a", b"b"])),
            (&[b"a", b"b"], b"", 1, Some(&[b"a"])),
            (&[b"a", b"b"], b"", 3, Some(&[b"a", b"b", b"b"])),
            (&[], b"", 2, Some(&[b"", b""])),
            (&[b"q"], b"\x02\0\x01abc", 3, Some(&[b"ab", b"", b"c"])),
            (&[], b"\x02ab", 0, Some(&[])),
            (&[], b"\x02a", 1, None),
            (&[], b"\x02abc", 1, None),
            (&[], b"\x01", 2, None),
            (&[], b"\xff\xff", 1, None),
        ];
        for (strings, content, count, expected) in cases {
            let result = read(&proto(strings, content), count).ok();
            let result: Option<Vec<&[u8]>> =
                result.as_ref().map(|strings| strings.iter().map(AsRef::as_ref).collect());
            assert_eq!(result.as_deref(), expected, "{strings:?} {content:?} {count}");
        }
    }

    #[test]
    fn repetition_is_bounded() {
        let long = proto(&[&[0; 4096]], b"");
        assert_eq!(read(&long, 1 << 20), Err(Unreadable::TooLarge));
        assert_eq!(read(&proto(&[b"a"], b""), 1 << 25), Err(Unreadable::TooLarge));
    }

    #[test]
    fn strings_are_packed_lengths_first() {
        let strings = proto(&[b"ab", b"", &[b'c'; 200]], b"").string_val;
        let expected = [&b"\x02\0\xc8\x01ab"[..], &[b'c'; 200]].concat();
        assert_eq!(pack(&strings), expected);
    }
}
