//! A cell as a number.

use crate::codec::half::{self, Format};
use crate::codec::number::{self, Float, Integer, Plain};
use crate::proto::tensorflow::DataType;

/// Whether elements of a dtype are numbers with a form of their own in a cell.
pub(in crate::codec) fn has_form(dtype: DataType) -> bool {
    crate::codec::dtype::width(dtype).is_some()
        && !matches!(dtype, DataType::DtComplex64 | DataType::DtComplex128)
}

/// Reads a number to `place`, which has the width of the dtype; false if it is none that the dtype can hold.
pub(in crate::codec) fn read(text: &[u8], dtype: DataType, place: &mut [u8]) -> bool {
    let text = text.trim_ascii();
    match dtype {
        DataType::DtFloat => put(place, float::<f32>(text).map(f32::to_le_bytes)),
        DataType::DtDouble => put(place, float::<f64>(text).map(f64::to_le_bytes)),
        DataType::DtHalf => put(place, short(text, half::HALF)),
        DataType::DtBfloat16 => put(place, short(text, half::BFLOAT16)),
        DataType::DtInt8 => put(place, integer::<i8>(text).map(i8::to_le_bytes)),
        DataType::DtInt16 => put(place, integer::<i16>(text).map(i16::to_le_bytes)),
        DataType::DtInt32 => put(place, integer::<i32>(text).map(i32::to_le_bytes)),
        DataType::DtInt64 => put(place, integer::<i64>(text).map(i64::to_le_bytes)),
        DataType::DtUint8 => put(place, integer::<u8>(text).map(u8::to_le_bytes)),
        DataType::DtUint16 => put(place, integer::<u16>(text).map(u16::to_le_bytes)),
        DataType::DtUint32 => put(place, integer::<u32>(text).map(u32::to_le_bytes)),
        DataType::DtUint64 => put(place, integer::<u64>(text).map(u64::to_le_bytes)),
        DataType::DtBool => put(place, boolean(text).map(|value| [u8::from(value)])),
        // Those that have no form are refused when it is known that there are some.
        _ => true,
    }
}

fn put<const WIDTH: usize>(place: &mut [u8], value: Option<[u8; WIDTH]>) -> bool {
    value.map(|value| place.copy_from_slice(&value)).is_some()
}

/// As in JSON, or with a sign, without digits on one side of the point, or as `nan` and `inf` in any case.
fn float<F: Float>(text: &[u8]) -> Option<F> {
    match number::float::<F>(text, 0).and_then(Plain::complete) {
        Some(plain) if plain.length == text.len() => Some(plain.value),
        _ => {
            let value: f64 = fast_float2::parse(text).ok()?;
            // As in JSON, digits are no infinity.
            let is_beyond = value.is_infinite() && text.iter().any(u8::is_ascii_digit);
            (!is_beyond).then(|| F::from_f64(value))
        }
    }
}

fn short(text: &[u8], format: Format) -> Option<[u8; 2]> {
    float::<f64>(text).map(|value| format.round(value).to_le_bytes())
}

fn integer<I: Integer>(text: &[u8]) -> Option<I> {
    let text = text.strip_prefix(b"+").unwrap_or(text);
    let plain = number::integer(text, 0).filter(|plain| plain.length == text.len())?;
    let (negative, magnitude) = plain.value;
    I::from_parts(negative, magnitude)
}

fn boolean(text: &[u8]) -> Option<bool> {
    match text {
        b"1" => Some(true),
        b"0" => Some(false),
        _ if text.eq_ignore_ascii_case(b"true") => Some(true),
        _ if text.eq_ignore_ascii_case(b"false") => Some(false),
        _ => None,
    }
}
