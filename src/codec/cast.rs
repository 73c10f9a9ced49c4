//! Tensors of one dtype as those of another: what a client's library makes by default is not what a model takes.
//!
//! NumPy has float64 and int64 where nobody says otherwise. So floats are rounded to narrower ones, integers
//! become floats, and integers become others that can hold them. What would lose more than digits is refused
//! with the element that does: floats that would be integers, and numbers beyond the range of their new dtype.

use bytes::Bytes;

use super::dense::{Dense, Elements};
use super::dtype;
use super::half::{BFLOAT16, Format, HALF};
use crate::error::{Error, Result};
use crate::proto::tensorflow::DataType;

/// The tensor of an input, of the dtype that the signature wants. One that is of that dtype is not touched.
///
/// # Errors
///
/// `INVALID_ARGUMENT` with the element, or for dtypes that have nothing in common.
pub(super) fn cast(name: &str, dense: Dense, wanted: DataType) -> Result<Dense> {
    if dense.dtype == wanted {
        return Ok(dense);
    }
    let count = dense.len();
    let Dense { dtype, dimensions, elements } = dense;
    let (Elements::Numbers(content), true) = (elements, is_wider(dtype, wanted)) else {
        let (found, wanted) = (dtype::name(dtype), dtype::name(wanted));
        return Err(Error::invalid_argument(format!("{name}: {found} values for an input of type {wanted}")));
    };
    let width = dtype::width(wanted).unwrap_or_default();
    let mut out = Vec::with_capacity(count.saturating_mul(width));
    let result = match (is_complex(dtype), is_complex(wanted)) {
        // Each number has two parts, which are floats.
        (true, _) => numbers(part(dtype), part(wanted), &content, false, &mut out),
        (false, true) => numbers(dtype, part(wanted), &content, true, &mut out),
        (false, false) => numbers(dtype, wanted, &content, false, &mut out),
    };
    match result {
        Ok(()) => Ok(Dense { dtype: wanted, dimensions, elements: Elements::Numbers(out.into()) }),
        Err(Misfit { index, value }) => {
            let index = if is_complex(dtype) { index / 2 } else { index };
            let (place, wanted) = (place(name, index, &dimensions), dtype::name(wanted));
            Err(Error::invalid_argument(format!("{place}: {value} is not a {wanted}")))
        }
    }
}

/// Whether numbers of a dtype can be those of another, as far as that depends on the dtypes alone.
fn is_wider(found: DataType, wanted: DataType) -> bool {
    let kind = |dtype| match dtype {
        _ if dtype::width(dtype).is_none() => None,
        DataType::DtComplex64 | DataType::DtComplex128 => Some(2),
        DataType::DtFloat | DataType::DtDouble | DataType::DtHalf | DataType::DtBfloat16 => Some(1),
        _ => Some(0),
    };
    matches!((kind(found), kind(wanted)), (Some(found), Some(wanted)) if found <= wanted)
}

fn is_complex(dtype: DataType) -> bool {
    matches!(dtype, DataType::DtComplex64 | DataType::DtComplex128)
}

/// The dtype of the parts of complex numbers.
fn part(complex: DataType) -> DataType {
    if complex == DataType::DtComplex64 { DataType::DtFloat } else { DataType::DtDouble }
}

/// An element as messages name it: `x[3,17]`.
pub(super) fn place(name: &str, index: usize, dimensions: &[usize]) -> String {
    if dimensions.is_empty() {
        return name.to_owned();
    }
    let mut rest = index;
    let mut indices = Vec::with_capacity(dimensions.len());
    for size in dimensions.iter().rev() {
        indices.push((rest % size.max(&1)).to_string());
        rest /= size.max(&1);
    }
    indices.reverse();
    format!("{name}[{}]", indices.join(","))
}

/// An element that the new dtype has no place for.
struct Misfit {
    index: usize,
    value: String,
}

/// How many elements are converted at once, by way of the widest type of their kind.
const BLOCK: usize = 512;

/// Converts plain numbers; with `pairs` each gets a zero behind it.
fn numbers(
    found: DataType,
    wanted: DataType,
    content: &Bytes,
    pairs: bool,
    out: &mut Vec<u8>,
) -> Result<(), Misfit> {
    let bytes = content.as_ref();
    match found {
        DataType::DtBool => blocks(bytes, |[byte]| i64::from(byte != 0), wanted, pairs, out),
        DataType::DtInt8 => blocks(bytes, |chunk| i64::from(i8::from_le_bytes(chunk)), wanted, pairs, out),
        DataType::DtInt16 => blocks(bytes, |chunk| i64::from(i16::from_le_bytes(chunk)), wanted, pairs, out),
        DataType::DtInt32 => blocks(bytes, |chunk| i64::from(i32::from_le_bytes(chunk)), wanted, pairs, out),
        DataType::DtInt64 => blocks(bytes, i64::from_le_bytes, wanted, pairs, out),
        DataType::DtUint8 => blocks(bytes, |[byte]| i64::from(byte), wanted, pairs, out),
        DataType::DtUint16 => blocks(bytes, |chunk| i64::from(u16::from_le_bytes(chunk)), wanted, pairs, out),
        DataType::DtUint32 => blocks(bytes, |chunk| i64::from(u32::from_le_bytes(chunk)), wanted, pairs, out),
        DataType::DtUint64 => blocks(bytes, u64::from_le_bytes, wanted, pairs, out),
        DataType::DtHalf => blocks(bytes, |chunk| HALF.to_f64(u16::from_le_bytes(chunk)), wanted, pairs, out),
        DataType::DtBfloat16 => {
            blocks(bytes, |chunk| BFLOAT16.to_f64(u16::from_le_bytes(chunk)), wanted, pairs, out)
        }
        DataType::DtFloat => blocks(bytes, |chunk| f64::from(f32::from_le_bytes(chunk)), wanted, pairs, out),
        _ => blocks(bytes, f64::from_le_bytes, wanted, pairs, out),
    }
}

/// Reads a block of elements and writes it, so that there is a loop for each dtype and none for each pair.
fn blocks<W: Wide, const WIDTH: usize>(
    content: &[u8],
    read: impl Fn([u8; WIDTH]) -> W,
    wanted: DataType,
    pairs: bool,
    out: &mut Vec<u8>,
) -> Result<(), Misfit> {
    let (chunks, _) = content.as_chunks::<WIDTH>();
    let mut block = [W::default(); BLOCK];
    for (number, chunks) in chunks.chunks(BLOCK).enumerate() {
        for (place, chunk) in block.iter_mut().zip(chunks) {
            *place = read(*chunk);
        }
        let values = &block[..chunks.len()];
        if let Err(index) = write(values, wanted, pairs, out) {
            return Err(Misfit { index: number * BLOCK + index, value: values[index].to_string() });
        }
    }
    Ok(())
}

/// Writes numbers as those of another dtype; the index of the first that does not fit.
fn write<W: Wide>(values: &[W], wanted: DataType, pairs: bool, out: &mut Vec<u8>) -> Result<(), usize> {
    match wanted {
        DataType::DtBool => {
            each(values, out, |value| value.integer::<u8>().filter(|bit| *bit < 2).map(|bit| [bit]))
        }
        DataType::DtInt8 => each(values, out, |value| value.integer::<i8>().map(i8::to_le_bytes)),
        DataType::DtInt16 => each(values, out, |value| value.integer::<i16>().map(i16::to_le_bytes)),
        DataType::DtInt32 => each(values, out, |value| value.integer::<i32>().map(i32::to_le_bytes)),
        DataType::DtInt64 => each(values, out, |value| value.integer::<i64>().map(i64::to_le_bytes)),
        DataType::DtUint8 => each(values, out, |value| value.integer::<u8>().map(u8::to_le_bytes)),
        DataType::DtUint16 => each(values, out, |value| value.integer::<u16>().map(u16::to_le_bytes)),
        DataType::DtUint32 => each(values, out, |value| value.integer::<u32>().map(u32::to_le_bytes)),
        DataType::DtUint64 => each(values, out, |value| value.integer::<u64>().map(u64::to_le_bytes)),
        DataType::DtHalf => each(values, out, |value| short(value.double(), HALF)),
        DataType::DtBfloat16 => each(values, out, |value| short(value.double(), BFLOAT16)),
        DataType::DtFloat if pairs => each(values, out, |value| {
            let [a, b, c, d] = single(value)?;
            Some([a, b, c, d, 0, 0, 0, 0])
        }),
        DataType::DtFloat => each(values, out, single),
        _ if pairs => each(values, out, |value| {
            let mut pair = [0; 16];
            pair[..8].copy_from_slice(&value.double().to_le_bytes());
            Some(pair)
        }),
        _ => each(values, out, |value| Some(value.double().to_le_bytes())),
    }
}

fn each<W: Wide, const WIDTH: usize>(
    values: &[W],
    out: &mut Vec<u8>,
    convert: impl Fn(W) -> Option<[u8; WIDTH]>,
) -> Result<(), usize> {
    for (index, value) in values.iter().enumerate() {
        out.extend_from_slice(&convert(*value).ok_or(index)?);
    }
    Ok(())
}

/// The nearest float; none for a number that would become infinite.
fn single<W: Wide>(value: W) -> Option<[u8; 4]> {
    let single = value.single();
    (single.is_finite() || !value.double().is_finite()).then(|| single.to_le_bytes())
}

fn short(value: f64, format: Format) -> Option<[u8; 2]> {
    let bits = format.round(value);
    (!value.is_finite() || format.to_f64(bits).is_finite()).then(|| bits.to_le_bytes())
}

/// The widest type of a kind of number.
trait Wide: Copy + Default + ToString {
    /// The same number, if it is an integer that the type can hold.
    fn integer<T: TryFrom<i64> + TryFrom<u64>>(self) -> Option<T>;
    fn single(self) -> f32;
    fn double(self) -> f64;
}

macro_rules! wide_integers {
    ($($integer:ty)*) => { $(
        impl Wide for $integer {
            fn integer<T: TryFrom<i64> + TryFrom<u64>>(self) -> Option<T> {
                T::try_from(self).ok()
            }

            #[expect(clippy::cast_precision_loss, reason = "integers become the nearest floats")]
            fn single(self) -> f32 {
                self as f32
            }

            #[expect(clippy::cast_precision_loss, reason = "integers become the nearest floats")]
            fn double(self) -> f64 {
                self as f64
            }
        }
    )* };
}

wide_integers! { i64 u64 }

impl Wide for f64 {
    /// Even floats that are whole numbers were none before they were rounded.
    fn integer<T: TryFrom<i64> + TryFrom<u64>>(self) -> Option<T> {
        None
    }

    #[expect(clippy::cast_possible_truncation, reason = "floats become the nearest ones")]
    fn single(self) -> f32 {
        self as f32
    }

    fn double(self) -> f64 {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dense(dtype: DataType, dimensions: &[usize], content: &[u8]) -> Dense {
        let elements = Elements::Numbers(Bytes::copy_from_slice(content));
        Dense { dtype, dimensions: dimensions.to_vec(), elements }
    }

    fn doubles(values: &[f64]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    fn longs(values: &[i64]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn what_numpy_makes_by_default_becomes_what_the_model_takes() {
        let check = |found, content: &[u8], wanted, expected: &[u8]| {
            let count = content.len() / dtype::width(found).unwrap();
            let cast = cast("x", dense(found, &[count], content), wanted).unwrap();
            assert_eq!(cast, dense(wanted, &[count], expected), "{found:?} {wanted:?}");
        };
        let halves = doubles(&[0.1, -2.0, f64::INFINITY]);
        let singles = [0.1_f32, -2.0, f32::INFINITY].map(f32::to_le_bytes).concat();
        check(DataType::DtDouble, &halves, DataType::DtFloat, &singles);
        check(DataType::DtDouble, &halves, DataType::DtHalf, &[0x66, 0x2e, 0, 0xc0, 0, 0x7c]);
        check(DataType::DtFloat, &singles, DataType::DtBfloat16, &[0xcd, 0x3d, 0, 0xc0, 0x80, 0x7f]);
        check(DataType::DtInt64, &longs(&[-1, 127]), DataType::DtInt8, &[255, 127]);
        check(DataType::DtInt64, &longs(&[0, 1]), DataType::DtBool, &[0, 1]);
        check(DataType::DtInt64, &longs(&[3, -4]), DataType::DtDouble, &doubles(&[3.0, -4.0]));
        check(
            DataType::DtUint64,
            &u64::MAX.to_le_bytes(),
            DataType::DtFloat,
            &18_446_744_073_709_551_615_f32.to_le_bytes(),
        );
        check(DataType::DtBool, &[1, 0], DataType::DtInt16, &[1, 0, 0, 0]);
        check(DataType::DtUint8, &[7], DataType::DtComplex128, &doubles(&[7.0, 0.0]));
        check(DataType::DtDouble, &doubles(&[0.5]), DataType::DtComplex64, &[0, 0, 0, 0x3f, 0, 0, 0, 0]);
        check(
            DataType::DtComplex128,
            &doubles(&[0.5, -2.0]),
            DataType::DtComplex64,
            &[0, 0, 0, 0x3f, 0, 0, 0, 0xc0],
        );
    }

    #[test]
    fn what_would_be_lost_is_named() {
        let check = |found, dimensions: &[usize], content: &[u8], wanted, expected: &str| {
            let error = cast("x", dense(found, dimensions, content), wanted).unwrap_err();
            assert_eq!((error.message(), error.status().as_u16()), (expected, 400));
        };
        let mut many = vec![0; 2000];
        many[1717] = 300;
        check(
            DataType::DtInt64,
            &[20, 100],
            &longs(&many),
            DataType::DtUint8,
            "x[17,17]: 300 is not a uint8",
        );
        check(DataType::DtInt64, &[], &longs(&[-1]), DataType::DtUint64, "x: -1 is not a uint64");
        check(DataType::DtInt64, &[1], &longs(&[2]), DataType::DtBool, "x[0]: 2 is not a bool");
        check(
            DataType::DtUint64,
            &[1],
            &u64::MAX.to_le_bytes(),
            DataType::DtInt64,
            "x[0]: 18446744073709551615 is not a int64",
        );
        check(DataType::DtDouble, &[1], &doubles(&[65520.0]), DataType::DtHalf, "x[0]: 65520 is not a half");
        check(
            DataType::DtComplex128,
            &[2],
            &doubles(&[0.0, 0.0, 0.0, -4e38]),
            DataType::DtComplex64,
            &format!("x[1]: {} is not a complex64", -4e38_f64),
        );
        check(
            DataType::DtDouble,
            &[1],
            &doubles(&[1.0]),
            DataType::DtInt32,
            "x: double values for an input of type int32",
        );
        check(
            DataType::DtComplex64,
            &[1],
            &[0; 8],
            DataType::DtFloat,
            "x: complex64 values for an input of type float",
        );
        check(
            DataType::DtFloat,
            &[1],
            &[0; 4],
            DataType::DtString,
            "x: float values for an input of type string",
        );
    }
}
