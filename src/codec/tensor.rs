//! A tensor of a backend's reply as JSON: its elements, in either of their two encodings.
//!
//! Servers send elements as typed fields (`float_val` and its like, where fewer values than
//! elements mean that the last one repeats) or as `tensor_content`. Nothing a backend sends is
//! trusted: shapes are multiplied with care and sizes compared before anything is allocated.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use super::dtype;
use super::half::{self, Format};
use super::short::Short;
use super::writer::{self, NanStyle, Number};
use crate::error::{Error, Result};
use crate::proto::tensorflow::{DataType, TensorProto};

/// The most elements that a tensor may leave to repetition.
pub(crate) const MAX_REPEATED: usize = 1 << 24;

/// The most lists around the elements of a reply.
pub(crate) const MAX_LISTS: usize = 1 << 28;

/// A tensor ready to be written.
pub(crate) struct Printer<'a> {
    dimensions: Vec<usize>,
    write: Write<'a>,
    surplus: usize,
}

/// Writes a range of elements, separated by commas.
type Write<'a> = Box<dyn Fn(Range<usize>, &mut Vec<u8>) -> Result<()> + 'a>;

impl<'a> Printer<'a> {
    /// Checks a named tensor of a reply.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a dtype that has no form in JSON, `INTERNAL` for a tensor whose
    /// shape and elements disagree.
    pub(crate) fn new(name: &str, tensor: &'a TensorProto, nan: NanStyle) -> Result<Self> {
        let (dimensions, lists, elements) = dimensions(name, tensor)?;
        let Elements { write, repeats } =
            if elements == 0 { nothing() } else { elements_of(name, tensor, elements, nan)? };
        let mut surplus = lists.saturating_mul(2);
        if repeats > 0 {
            let mut last = Vec::new();
            write(elements - 1..elements, &mut last)?;
            surplus = surplus.saturating_add(repeats.saturating_mul(last.len() + 1));
        }
        Ok(Self { dimensions, write, surplus })
    }

    /// The size of the first dimension; `None` for a scalar.
    pub(crate) fn batch_size(&self) -> Option<usize> {
        self.dimensions.first().copied()
    }

    /// The sizes of the dimensions.
    pub(crate) fn dimensions(&self) -> &[usize] {
        &self.dimensions
    }

    /// How many elements the tensor has.
    pub(crate) fn elements(&self) -> usize {
        self.dimensions.iter().product()
    }

    /// How many bytes of text come of no bytes in particular: brackets, and elements that repeat.
    pub(crate) fn surplus(&self) -> usize {
        self.surplus
    }

    /// Writes the whole tensor as nested lists.
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> Result<()> {
        self.write_nested(&self.dimensions, 0, out)
    }

    /// Writes the elements as one list, whatever the shape.
    pub(crate) fn write_flat(&self, out: &mut Vec<u8>) -> Result<()> {
        self.write_nested(&[self.elements()], 0, out)
    }

    /// Writes one row: everything at one index of the first dimension.
    pub(crate) fn write_row(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        let inner = self.dimensions.get(1..).unwrap_or_default();
        self.write_nested(inner, row * inner.iter().product::<usize>(), out)
    }

    fn write_nested(&self, dimensions: &[usize], start: usize, out: &mut Vec<u8>) -> Result<()> {
        match dimensions {
            [] => (self.write)(start..start + 1, out)?,
            &[size] => {
                out.push(b'[');
                if size > 0 {
                    (self.write)(start..start + size, out)?;
                }
                out.push(b']');
            }
            [size, inner @ ..] => {
                out.push(b'[');
                let stride = inner.iter().product::<usize>();
                for index in 0..*size {
                    if index > 0 {
                        out.push(b',');
                    }
                    // Below an empty dimension there is nothing to nest.
                    self.write_nested(inner, start + index * stride, out)?;
                }
                out.push(b']');
            }
        }
        Ok(())
    }
}

/// The dimensions as sizes, the number of lists that they make and that of elements.
pub(super) fn dimensions(name: &str, tensor: &TensorProto) -> Result<(Vec<usize>, usize, usize)> {
    let disagree = |what: &str| Error::internal(format!("The backend's output {name} has {what}"));
    let Some(shape) = &tensor.tensor_shape else { return Ok((Vec::new(), 0, 1)) };
    if shape.unknown_rank {
        return Err(disagree("an unknown rank"));
    }
    if shape.dim.len() > super::MAX_RANK {
        return Err(disagree("too many dimensions"));
    }
    let mut dimensions = Vec::with_capacity(shape.dim.len());
    let mut elements = 1_usize;
    let mut product = 1_usize;
    let mut lists = 0_usize;
    for dim in &shape.dim {
        let size = usize::try_from(dim.size).map_err(|_| disagree("a negative dimension"))?;
        lists = lists.saturating_add(product);
        // Leaving out the zeros bounds the lists to write around no elements, too.
        product = product.checked_mul(size.max(1)).ok_or_else(|| disagree("a shape beyond all memory"))?;
        elements *= size;
        dimensions.push(size);
    }
    if lists > MAX_LISTS || (elements == 0 && lists > MAX_REPEATED) {
        return Err(disagree("too many lists"));
    }
    Ok((dimensions, lists, elements))
}

/// The elements of a tensor, ready to be written.
struct Elements<'a> {
    write: Write<'a>,
    /// How many elements at the end are there only because the last value repeats.
    repeats: usize,
}

impl<'a> From<Write<'a>> for Elements<'a> {
    fn from(write: Write<'a>) -> Self {
        Self { write, repeats: 0 }
    }
}

fn nothing<'a>() -> Elements<'a> {
    Elements { write: Box::new(|_, _| Ok(())), repeats: 0 }
}

fn elements_of<'a>(
    name: &str,
    tensor: &'a TensorProto,
    elements: usize,
    nan: NanStyle,
) -> Result<Elements<'a>> {
    let dtype = dtype::from_wire(tensor.dtype);
    if dtype == DataType::DtString {
        return strings(name, tensor, elements);
    }
    let Some(width) = dtype::width(dtype) else {
        let dtype = dtype::name(dtype);
        return Err(Error::invalid_argument(format!("Failed to write JSON value for tensor type: {dtype}")));
    };
    let content = tensor.tensor_content.as_ref();
    if content.is_empty() {
        return typed(name, tensor, dtype, elements, nan);
    }
    if elements.checked_mul(width) != Some(content.len()) {
        return Err(Error::internal(format!(
            "The backend's output {name} has {elements} elements of {width} bytes in {} bytes",
            content.len()
        )));
    }
    let write = match dtype {
        DataType::DtFloat => numbers(content, f32::from_le_bytes, nan),
        DataType::DtDouble => numbers(content, f64::from_le_bytes, nan),
        DataType::DtInt8 => numbers(content, i8::from_le_bytes, nan),
        DataType::DtInt16 => numbers(content, i16::from_le_bytes, nan),
        DataType::DtInt32 => numbers(content, i32::from_le_bytes, nan),
        DataType::DtInt64 => numbers(content, i64::from_le_bytes, nan),
        DataType::DtUint8 => numbers(content, u8::from_le_bytes, nan),
        DataType::DtUint16 => numbers(content, u16::from_le_bytes, nan),
        DataType::DtUint32 => numbers(content, u32::from_le_bytes, nan),
        DataType::DtUint64 => numbers(content, u64::from_le_bytes, nan),
        DataType::DtBool => numbers(content, |[byte]: [u8; 1]| byte != 0, nan),
        DataType::DtHalf => short_floats(content, half::HALF, nan),
        DataType::DtBfloat16 => short_floats(content, half::BFLOAT16, nan),
        DataType::DtComplex64 => complex(numbers(content, f32::from_le_bytes, nan)),
        _ => complex(numbers(content, f64::from_le_bytes, nan)),
    };
    Ok(write.into())
}

/// Writes values with commas between them.
#[inline(always)]
fn join<T>(
    values: impl Iterator<Item = T>,
    out: &mut Vec<u8>,
    write: impl Fn(T, &mut Vec<u8>) -> Result<()>,
) -> Result<()> {
    for (index, value) in values.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(value, out)?;
    }
    Ok(())
}

/// Writes numbers with commas between them; there is at least one.
#[inline(always)]
fn join_numbers<T: Number>(numbers: impl Iterator<Item = T>, out: &mut Vec<u8>, nan: NanStyle) -> Result<()> {
    T::write_all(numbers, out, nan)?;
    out.pop();
    Ok(())
}

/// Elements of fixed width, little-endian.
fn numbers<T: Number + 'static, const WIDTH: usize>(
    content: &[u8],
    from_bytes: impl Fn([u8; WIDTH]) -> T + 'static,
    nan: NanStyle,
) -> Write<'_> {
    let (chunks, _) = content.as_chunks::<WIDTH>();
    Box::new(move |range, out| {
        let chunks = chunks.get(range).unwrap_or_default();
        join_numbers(chunks.iter().map(|chunk| from_bytes(*chunk)), out, nan)
    })
}

fn short_floats(content: &[u8], format: Format, nan: NanStyle) -> Write<'_> {
    numbers(content, move |bytes| Short { bits: u16::from_le_bytes(bytes), format }, nan)
}

/// Pairs of a real and an imaginary part, each pair a list.
fn complex(parts: Write<'_>) -> Write<'_> {
    Box::new(move |range, out| {
        join(range, out, |index, out| {
            out.push(b'[');
            parts(2 * index..2 * index + 2, out)?;
            out.push(b']');
            Ok(())
        })
    })
}

/// Elements in the typed field of their dtype.
fn typed<'a>(
    name: &str,
    tensor: &'a TensorProto,
    dtype: DataType,
    elements: usize,
    nan: NanStyle,
) -> Result<Elements<'a>> {
    let short = |values: Repeated<'a, i32>, format: Format| -> Elements<'a> {
        let write: Write<'a> = Box::new(move |range, out| {
            let shorts = range.map(|index| {
                // The bits travel in the low half of an int32.
                let [low, high, ..] = values.get(index).to_le_bytes();
                Short { bits: u16::from_le_bytes([low, high]), format }
            });
            join_numbers(shorts, out, nan)
        });
        Elements { write, repeats: values.repeats }
    };
    let pairs =
        |parts: Elements<'a>| Elements { write: complex(parts.write), repeats: parts.repeats.div_ceil(2) };
    Ok(match dtype {
        DataType::DtFloat => repeated(name, &tensor.float_val, elements)?.numbers(nan),
        DataType::DtDouble => repeated(name, &tensor.double_val, elements)?.numbers(nan),
        DataType::DtInt64 => repeated(name, &tensor.int64_val, elements)?.numbers(nan),
        DataType::DtUint32 => repeated(name, &tensor.uint32_val, elements)?.numbers(nan),
        DataType::DtUint64 => repeated(name, &tensor.uint64_val, elements)?.numbers(nan),
        DataType::DtBool => repeated(name, &tensor.bool_val, elements)?.numbers(nan),
        DataType::DtHalf => short(repeated(name, &tensor.half_val, elements)?, half::HALF),
        DataType::DtBfloat16 => short(repeated(name, &tensor.half_val, elements)?, half::BFLOAT16),
        DataType::DtComplex64 => pairs(repeated_pairs(name, &tensor.scomplex_val, elements)?.numbers(nan)),
        DataType::DtComplex128 => pairs(repeated_pairs(name, &tensor.dcomplex_val, elements)?.numbers(nan)),
        _ => repeated(name, &tensor.int_val, elements)?.numbers(nan),
    })
}

/// Values of which the last few stand for all elements behind them.
#[derive(Clone, Copy)]
pub(super) struct Repeated<'a, T> {
    values: &'a [T],
    /// How many values at the end repeat together: 2 for complex numbers.
    period: usize,
    /// How many values are missing.
    repeats: usize,
}

pub(super) fn repeated<'a, T>(name: &str, values: &'a [T], elements: usize) -> Result<Repeated<'a, T>> {
    let repeats = elements.saturating_sub(values.len());
    if repeats > 0 && elements > MAX_REPEATED {
        return Err(Error::internal(format!(
            "The backend's output {name} gives {} values for {elements} elements",
            values.len()
        )));
    }
    Ok(Repeated { values, period: 1, repeats })
}

pub(super) fn repeated_pairs<'a, T>(name: &str, values: &'a [T], elements: usize) -> Result<Repeated<'a, T>> {
    if values.len() % 2 == 1 {
        return Err(Error::internal(format!("The backend's output {name} has half a complex number")));
    }
    let pairs = repeated(name, values, elements.saturating_mul(2))?;
    Ok(Repeated { period: 2, ..pairs })
}

impl<'a, T: Copy + Default> Repeated<'a, T> {
    /// The value of an element; zero if there are no values at all.
    pub(super) fn get(self, index: usize) -> T {
        let index = match self.values.len() {
            length if index < length => index,
            length => length.wrapping_sub(self.period).wrapping_add(index % self.period),
        };
        self.values.get(index).copied().unwrap_or_default()
    }

    fn numbers(self, nan: NanStyle) -> Elements<'a>
    where
        T: Number,
    {
        let write: Write<'a> = Box::new(move |range, out| match self.values.get(range.clone()) {
            Some(values) => join_numbers(values.iter().copied(), out, nan),
            None => join_numbers(range.map(|index| self.get(index)), out, nan),
        });
        Elements { write, repeats: self.repeats }
    }
}

/// Strings; those of an output whose name ends in `_bytes` are written in base64.
fn strings<'a>(name: &str, tensor: &'a TensorProto, elements: usize) -> Result<Elements<'a>> {
    let write: fn(&[u8], &mut Vec<u8>) =
        if name.ends_with("_bytes") { writer::write_base64 } else { writer::write_string };
    let values = if tensor.tensor_content.is_empty() {
        repeated(name, &tensor.string_val, elements)?;
        Cow::Borrowed(tensor.string_val.as_slice())
    } else {
        let strings = string_content(&tensor.tensor_content, elements).ok_or_else(|| {
            Error::internal(format!(
                "The backend's output {name} has strings whose lengths disagree with their bytes"
            ))
        })?;
        Cow::Owned(strings)
    };
    let repeats = elements.saturating_sub(values.len());
    let write: Write<'a> = Box::new(move |range, out| {
        join(range, out, |index, out| {
            let value = values.get(index).or(values.last()).map_or(&[][..], |value| value);
            write(value, out);
            Ok(())
        })
    });
    Ok(Elements { write, repeats })
}

/// Strings in `tensor_content`: the varint lengths of all, then the bytes of all.
pub(super) fn string_content(content: &Bytes, elements: usize) -> Option<Vec<Bytes>> {
    // Every length takes a byte or more.
    if elements > content.len() {
        return None;
    }
    let mut rest = content.clone();
    let lengths: Option<Vec<usize>> =
        (0..elements).map(|_| prost::decode_length_delimiter(&mut rest).ok()).collect();
    let mut strings = Vec::with_capacity(elements);
    for length in lengths? {
        if length > rest.len() {
            return None;
        }
        strings.push(rest.split_to(length));
    }
    rest.is_empty().then_some(strings)
}
