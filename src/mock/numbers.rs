//! Numbers between the typed fields of a tensor and the packed form of `tensor_content`.
//!
//! The integers narrower than 32 bits share a field of 32-bit integers and keep their low bits,
//! as in TensorFlow. Halves travel as their bit patterns; no value is ever converted.

use bytes::Bytes;

use super::tensor::{MOST_BYTES, Unreadable};
use crate::codec::dtype::width;
use crate::proto::tensorflow::{DataType, TensorProto};

/// The packed elements of a tensor, out of whichever form it has.
pub(super) fn read(proto: &TensorProto, dtype: DataType, count: usize) -> Result<Bytes, Unreadable> {
    let width = width(dtype).ok_or(Unreadable::Malformed)?;
    let length = count.saturating_mul(width);
    if length > MOST_BYTES {
        return Err(Unreadable::TooLarge);
    }
    if length == 0 || proto.tensor_content.is_empty() {
        return Ok(pack(proto, dtype, count).into());
    }
    if proto.tensor_content.len() == length {
        Ok(proto.tensor_content.clone())
    } else {
        Err(Unreadable::Malformed)
    }
}

/// Packs the typed field of a dtype that has a [`width`].
fn pack(proto: &TensorProto, dtype: DataType, count: usize) -> Vec<u8> {
    match dtype {
        DataType::DtFloat => spread(&proto.float_val, count, f32::to_le_bytes),
        DataType::DtDouble => spread(&proto.double_val, count, f64::to_le_bytes),
        DataType::DtHalf | DataType::DtBfloat16 => spread(&proto.half_val, count, low_two),
        DataType::DtInt8 | DataType::DtUint8 => spread(&proto.int_val, count, low_one),
        DataType::DtInt16 | DataType::DtUint16 => spread(&proto.int_val, count, low_two),
        DataType::DtInt32 => spread(&proto.int_val, count, i32::to_le_bytes),
        DataType::DtInt64 => spread(&proto.int64_val, count, i64::to_le_bytes),
        DataType::DtUint32 => spread(&proto.uint32_val, count, u32::to_le_bytes),
        DataType::DtUint64 => spread(&proto.uint64_val, count, u64::to_le_bytes),
        DataType::DtBool => spread(&proto.bool_val, count, |value| [u8::from(value)]),
        DataType::DtComplex64 => spread(pairs(&proto.scomplex_val), count, |[real, imaginary]| {
            let mut bytes = [0; 8];
            bytes[..4].copy_from_slice(&real.to_le_bytes());
            bytes[4..].copy_from_slice(&imaginary.to_le_bytes());
            bytes
        }),
        DataType::DtComplex128 => spread(pairs(&proto.dcomplex_val), count, |[real, imaginary]| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&real.to_le_bytes());
            bytes[8..].copy_from_slice(&imaginary.to_le_bytes());
            bytes
        }),
        _ => Vec::new(),
    }
}

/// Packs as many elements as there are to be: the last one repeats, and zero stands in for none.
fn spread<T: Copy + Default, const WIDTH: usize>(
    given: &[T],
    count: usize,
    to_bytes: impl Fn(T) -> [u8; WIDTH],
) -> Vec<u8> {
    let mut packed = Vec::with_capacity(count * WIDTH);
    for &value in given.iter().take(count) {
        packed.extend_from_slice(&to_bytes(value));
    }
    let last = to_bytes(given.last().copied().unwrap_or_default());
    for _ in given.len()..count {
        packed.extend_from_slice(&last);
    }
    packed
}

fn low_one(value: i32) -> [u8; 1] {
    let [low, ..] = value.to_le_bytes();
    [low]
}

fn low_two(value: i32) -> [u8; 2] {
    let [low, high, ..] = value.to_le_bytes();
    [low, high]
}

fn pairs<T>(flat: &[T]) -> &[[T; 2]] {
    flat.as_chunks().0
}

/// Fills the typed field of a dtype that has a [`width`] with packed elements.
pub(super) fn unpack(dtype: DataType, packed: &[u8], proto: &mut TensorProto) {
    match dtype {
        DataType::DtFloat => proto.float_val = each(packed, f32::from_le_bytes),
        DataType::DtDouble => proto.double_val = each(packed, f64::from_le_bytes),
        DataType::DtHalf | DataType::DtBfloat16 => {
            proto.half_val = each(packed, |bytes| u16::from_le_bytes(bytes).into());
        }
        DataType::DtInt8 => proto.int_val = each(packed, |bytes| i8::from_le_bytes(bytes).into()),
        DataType::DtUint8 => proto.int_val = each(packed, |bytes| u8::from_le_bytes(bytes).into()),
        DataType::DtInt16 => proto.int_val = each(packed, |bytes| i16::from_le_bytes(bytes).into()),
        DataType::DtUint16 => proto.int_val = each(packed, |bytes| u16::from_le_bytes(bytes).into()),
        DataType::DtInt32 => proto.int_val = each(packed, i32::from_le_bytes),
        DataType::DtInt64 => proto.int64_val = each(packed, i64::from_le_bytes),
        DataType::DtUint32 => proto.uint32_val = each(packed, u32::from_le_bytes),
        DataType::DtUint64 => proto.uint64_val = each(packed, u64::from_le_bytes),
        DataType::DtBool => proto.bool_val = each(packed, |[byte]| byte != 0),
        // The parts of complex numbers follow each other in both forms.
        DataType::DtComplex64 => proto.scomplex_val = each(packed, f32::from_le_bytes),
        DataType::DtComplex128 => proto.dcomplex_val = each(packed, f64::from_le_bytes),
        _ => {}
    }
}

fn each<T, const WIDTH: usize>(packed: &[u8], from_bytes: impl Fn([u8; WIDTH]) -> T) -> Vec<T> {
    packed.as_chunks().0.iter().copied().map(from_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(dtype: DataType, typed: &TensorProto, packed: &[u8]) {
        let count = packed.len() / width(dtype).unwrap();
        assert_eq!(read(typed, dtype, count).unwrap(), packed, "{dtype:?} packed");
        let content = TensorProto { tensor_content: packed.to_vec().into(), ..TensorProto::default() };
        assert_eq!(read(&content, dtype, count).unwrap(), packed, "{dtype:?} taken over");
        let mut unpacked = TensorProto::default();
        unpack(dtype, packed, &mut unpacked);
        assert_eq!(&unpacked, typed, "{dtype:?} unpacked");
    }

    #[test]
    fn every_dtype_packs_and_unpacks() {
        let none = TensorProto::default;
        check(DataType::DtFloat, &TensorProto { float_val: vec![1.0], ..none() }, b"\0\0\x80\x3f");
        check(DataType::DtDouble, &TensorProto { double_val: vec![1.0], ..none() }, b"\0\0\0\0\0\0\xf0\x3f");
        check(DataType::DtHalf, &TensorProto { half_val: vec![0x3c00], ..none() }, b"\0\x3c");
        check(DataType::DtBfloat16, &TensorProto { half_val: vec![0xbf80], ..none() }, b"\x80\xbf");
        check(DataType::DtInt8, &TensorProto { int_val: vec![-2, 127], ..none() }, b"\xfe\x7f");
        check(DataType::DtUint8, &TensorProto { int_val: vec![255], ..none() }, b"\xff");
        check(DataType::DtInt16, &TensorProto { int_val: vec![-2], ..none() }, b"\xfe\xff");
        check(DataType::DtUint16, &TensorProto { int_val: vec![0xfffe], ..none() }, b"\xfe\xff");
        check(DataType::DtInt32, &TensorProto { int_val: vec![-2], ..none() }, b"\xfe\xff\xff\xff");
        check(DataType::DtInt64, &TensorProto { int64_val: vec![1], ..none() }, b"\x01\0\0\0\0\0\0\0");
        check(DataType::DtUint32, &TensorProto { uint32_val: vec![u32::MAX], ..none() }, &[255; 4]);
        check(DataType::DtUint64, &TensorProto { uint64_val: vec![u64::MAX], ..none() }, &[255; 8]);
        check(DataType::DtBool, &TensorProto { bool_val: vec![true, false], ..none() }, b"\x01\0");
        let parts = vec![1.0, -1.0];
        let packed = b"\0\0\x80\x3f\0\0\x80\xbf";
        check(DataType::DtComplex64, &TensorProto { scomplex_val: parts, ..none() }, packed);
        let packed = b"\0\0\0\0\0\0\xf0\x3f\0\0\0\0\0\0\xf0\xbf";
        check(DataType::DtComplex128, &TensorProto { dcomplex_val: vec![1.0, -1.0], ..none() }, packed);
    }

    #[test]
    fn narrow_integers_keep_their_low_bits_and_pairs_repeat_whole() {
        let typed = TensorProto { int_val: vec![0x1_02ff], ..TensorProto::default() };
        assert_eq!(read(&typed, DataType::DtUint8, 2).unwrap(), &b"\xff\xff"[..]);
        assert_eq!(read(&typed, DataType::DtInt16, 1).unwrap(), &b"\xff\x02"[..]);
        let typed = TensorProto { scomplex_val: vec![1.0, -1.0, 9.0], ..TensorProto::default() };
        let pair = b"\0\0\x80\x3f\0\0\x80\xbf";
        assert_eq!(read(&typed, DataType::DtComplex64, 2).unwrap(), [&pair[..], pair].concat());
    }
}
