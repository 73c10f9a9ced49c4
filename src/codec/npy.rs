//! Arrays in NumPy's own format: `numpy.save` makes them, `numpy.load` reads them.
//!
//! An array whose elements lie as TensorFlow has them, little-endian and the last dimension running fastest,
//! becomes a tensor without a copy. Others are turned around, and what the signature wants in another dtype is
//! converted where nothing but digits is lost. NumPy knows no bfloat16: those of a reply become float32.

mod header;
mod padding;

use bytes::Bytes;

use super::body::{Decoded, Given, form, only_input, signature, told_input};
use super::cast::{cast, place};
use super::dense::{Dense, Elements};
use super::dtype;
use super::limits::Limits;
use super::predict::{Format, Inputs};
use crate::error::{Error, Result};
use crate::proto::tensorflow::{DataType, TensorProto};
use header::Header;
use header::Kind;
pub(crate) use header::MAGIC;
pub(super) use padding::padding;

/// The most bytes that strings of different lengths are filled up with.
const MAX_PADDING: usize = 1 << 28;

/// Whether bytes begin as an array does, and so as no JSON and no text of a number.
pub(super) fn is_array(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Makes a body that is an array the tensor of the one input.
///
/// # Errors
///
/// `INVALID_ARGUMENT` for what is no such array, one that the input cannot take, or if it is not clear which
/// input is meant.
pub(super) fn decode(given: &Given<'_>) -> Result<Decoded> {
    let Given { agreement, body, signatures, limits } = *given;
    let (signature_name, name, dtype) = if let Some(signatures) = signatures {
        let (signature_name, signature) = signature(agreement, signatures)?;
        let input = only_input(agreement, signature)?;
        (signature_name, input.name.clone(), Some(input.dtype))
    } else {
        (agreement.parameters.signature_name.clone().unwrap_or_default(), told_input(agreement)?, None)
    };
    let mut dense = read(&name, body, limits)?;
    if let Some(dtype) = dtype {
        dense = cast(&name, dense, dtype)?;
    }
    let inputs = Inputs::from([(name, dense.into_proto())]);
    let form = form(agreement.reply, Format::Columnar);
    Ok(Decoded { signature_name, inputs, output_filter: Vec::new(), form })
}

/// Writes the only output of a reply.
///
/// # Errors
///
/// 406 if there are several or it holds what NumPy cannot, `INTERNAL` if it contradicts itself.
pub(super) fn encode<'a>(outputs: impl IntoIterator<Item = (&'a String, &'a TensorProto)>) -> Result<Bytes> {
    let outputs: Vec<_> = outputs.into_iter().collect();
    let [(name, tensor)] = outputs.as_slice() else {
        let mut names: Vec<_> = outputs.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        let names = names.join(", ");
        return Err(Error::not_acceptable(format!(
            "An array holds one output and the reply has several: say which with ?outputs=NAME, of {names}, or \
             accept application/x-npz"
        )));
    };
    let mut out = Vec::new();
    append(name, tensor, &mut out)?;
    Ok(out.into())
}

/// Reads an array that fills these bytes. Messages call it by the name.
///
/// # Errors
///
/// `INVALID_ARGUMENT` with what is wrong with it.
pub(super) fn read(name: &str, bytes: &Bytes, limits: &Limits) -> Result<Dense> {
    let fault = |what: String| Error::invalid_argument(format!("{name}: {what}"));
    let header = Header::parse(bytes, limits.most_dimensions()).map_err(fault)?;
    let most = limits.elements;
    let count = header.count().filter(|count| *count <= most);
    let count = count.ok_or_else(|| fault(format!("More than {most} elements")))?;
    let content = bytes.slice(header.start.min(bytes.len())..);
    if count.checked_mul(header.kind.width()) != Some(content.len()) {
        let (length, width) = (content.len(), header.kind.width());
        return Err(fault(format!(
            "its shape wants {count} elements of {width} bytes, and there are {length} bytes"
        )));
    }
    let (dtype, elements) = match header.kind {
        Kind::Numbers(dtype) => (dtype, Elements::Numbers(numbers(&header, dtype, content))),
        kind => {
            let fault = |index, what: String| {
                let place = place(name, index, &header.dimensions);
                Error::invalid_argument(format!("{place}: {what}"))
            };
            let strings = strings(&header, kind, &content, limits.string_size);
            let strings = strings.map_err(|(index, what)| fault(index, what))?;
            (DataType::DtString, Elements::Strings(strings))
        }
    };
    Ok(Dense { dtype, dimensions: header.dimensions, elements })
}

/// The most bytes that it takes to read an array with such a head into numbers of this width, besides those of
/// the file, of which there are no more than `length`. What is refused takes nothing.
pub(crate) fn room(bytes: &[u8], length: usize, widest: usize) -> usize {
    const STRING: usize = size_of::<Bytes>() + 8;
    // Text is made anew for each, with what the allocator and its owner take.
    const TEXT: usize = 2 * STRING + 32;
    let Ok(header) = Header::parse(bytes, usize::MAX) else { return 0 };
    let is_native = !(header.is_big_endian || header.is_fortran);
    let Some(count) = header.count() else { return 0 };
    let own = count.saturating_mul(header.kind.width());
    if own > length {
        return 0;
    }
    match header.kind {
        Kind::Numbers(dtype) if is_native && dtype::width(dtype) == Some(widest) => 0,
        Kind::Numbers(_) => own.saturating_mul(2).saturating_add(count.saturating_mul(widest)),
        Kind::Bytes(_) => own.saturating_add(count.saturating_mul(STRING)),
        Kind::Text(_) => own.saturating_add(count.saturating_mul(TEXT)),
    }
}

/// The elements as TensorFlow has them.
fn numbers(header: &Header, dtype: DataType, content: Bytes) -> Bytes {
    let width = header.kind.width();
    let is_in_order = !header.is_fortran || header.dimensions.iter().filter(|size| **size != 1).count() < 2;
    let is_swapped = header.is_big_endian && width > 1;
    let is_plain = dtype != DataType::DtBool || content.iter().all(|byte| *byte < 2);
    if is_in_order && !is_swapped && is_plain {
        return content;
    }
    let mut row = if is_in_order {
        content.to_vec()
    } else {
        match width {
            1 => gathered::<1>(&content, &header.dimensions),
            2 => gathered::<2>(&content, &header.dimensions),
            4 => gathered::<4>(&content, &header.dimensions),
            8 => gathered::<8>(&content, &header.dimensions),
            _ => gathered::<16>(&content, &header.dimensions),
        }
    };
    if is_swapped {
        // A complex number is two floats, each turned around for itself.
        let is_complex = matches!(dtype, DataType::DtComplex64 | DataType::DtComplex128);
        row.chunks_exact_mut(if is_complex { width / 2 } else { width }).for_each(<[u8]>::reverse);
    }
    if !is_plain {
        // C has other truths than 1.
        for byte in &mut row {
            *byte = u8::from(*byte != 0);
        }
    }
    row.into()
}

fn gathered<const WIDTH: usize>(content: &[u8], dimensions: &[usize]) -> Vec<u8> {
    let (chunks, _) = content.as_chunks::<WIDTH>();
    let mut row = Vec::with_capacity(content.len());
    for index in Order::new(dimensions) {
        if let Some(chunk) = chunks.get(index) {
            row.extend_from_slice(chunk);
        }
    }
    row
}

/// Where the elements of an array whose first dimension runs fastest are, in the order in which the last one
/// would.
struct Order {
    /// Those that have more than one index.
    dimensions: Vec<usize>,
    /// How far apart neighbours in each dimension are.
    strides: Vec<usize>,
    indices: Vec<usize>,
    next: usize,
    left: usize,
}

impl Order {
    fn new(dimensions: &[usize]) -> Self {
        // Those of size one change nothing, but hundreds of them would be looked at for every element.
        let dimensions: Vec<_> = dimensions.iter().copied().filter(|size| *size != 1).collect();
        let mut product = 1_usize;
        let mut strides = Vec::with_capacity(dimensions.len());
        for size in &dimensions {
            strides.push(product);
            product = product.saturating_mul(*size);
        }
        Self { indices: vec![0; dimensions.len()], dimensions, strides, next: 0, left: product }
    }
}

impl Iterator for Order {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let next = self.next;
        for axis in (0..self.dimensions.len()).rev() {
            self.indices[axis] += 1;
            self.next += self.strides[axis];
            if self.indices[axis] < self.dimensions[axis] {
                break;
            }
            self.next -= self.indices[axis] * self.strides[axis];
            self.indices[axis] = 0;
        }
        Some(next)
    }
}

/// The strings, without the zeros that they are filled up with.
fn strings(header: &Header, kind: Kind, content: &Bytes, most: usize) -> Result<Vec<Bytes>, (usize, String)> {
    let width = kind.width();
    let count = content.len() / width.max(1);
    let read = |(index, at): (usize, usize)| {
        let bytes = content.slice(at * width..(at + 1) * width);
        let string = match kind {
            Kind::Text(_) => text(&bytes, header.is_big_endian).map_err(|what| (index, what))?,
            _ => bytes.slice(..bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)),
        };
        if string.len() > most {
            return Err((index, format!("More than {most} bytes in a string")));
        }
        Ok(string)
    };
    if header.is_fortran {
        Order::new(&header.dimensions).enumerate().map(read).collect()
    } else {
        (0..count).map(|index| read((index, index))).collect()
    }
}

/// Characters of four bytes each as UTF-8.
fn text(bytes: &[u8], is_big_endian: bool) -> Result<Bytes, String> {
    let (chunks, _) = bytes.as_chunks::<4>();
    let to_number = if is_big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
    let length = chunks.iter().rposition(|chunk| *chunk != [0; 4]).map_or(0, |last| last + 1);
    let mut text = String::with_capacity(length);
    for chunk in &chunks[..length] {
        let number = to_number(*chunk);
        text.push(char::from_u32(number).ok_or_else(|| format!("{number} is no character"))?);
    }
    Ok(text.into())
}

/// Writes a named output as an array.
///
/// # Errors
///
/// 406 for strings that NumPy cannot hold, `INTERNAL` for a tensor that contradicts itself.
pub(super) fn append(name: &str, tensor: &TensorProto, out: &mut Vec<u8>) -> Result<()> {
    let mut dense = Dense::new(name, tensor)?;
    if dense.dtype == DataType::DtBfloat16 {
        dense = cast(name, dense, DataType::DtFloat)?;
    }
    match &dense.elements {
        Elements::Numbers(content) => {
            append_header(descr(dense.dtype), &dense.dimensions, content.len(), out);
            out.extend_from_slice(content);
        }
        Elements::Strings(strings) => {
            let width = strings.iter().map(Bytes::len).max().unwrap_or_default().max(1);
            let used: usize = strings.iter().map(Bytes::len).sum();
            if strings.len().saturating_mul(width) - used.min(strings.len() * width) > MAX_PADDING {
                return Err(Error::not_acceptable(format!(
                    "The strings of the output {name} differ too much in length for an array, whose strings all \
                     take the room of the longest: accept application/json"
                )));
            }
            if let Some(index) = strings.iter().position(|string| string.last() == Some(&0)) {
                let place = place(name, index, &dense.dimensions);
                return Err(Error::not_acceptable(format!(
                    "{place} ends in a zero byte, which NumPy would take away: accept application/json"
                )));
            }
            append_header(&format!("|S{width}"), &dense.dimensions, strings.len() * width, out);
            for string in strings {
                let end = out.len() + width;
                out.extend_from_slice(string);
                out.resize(end, 0);
            }
        }
    }
    Ok(())
}

/// How NumPy writes a dtype that it knows.
fn descr(dtype: DataType) -> &'static str {
    match dtype {
        DataType::DtBool => "|b1",
        DataType::DtInt8 => "|i1",
        DataType::DtUint8 => "|u1",
        DataType::DtInt16 => "<i2",
        DataType::DtUint16 => "<u2",
        DataType::DtInt64 => "<i8",
        DataType::DtUint32 => "<u4",
        DataType::DtUint64 => "<u8",
        DataType::DtHalf => "<f2",
        DataType::DtFloat => "<f4",
        DataType::DtDouble => "<f8",
        DataType::DtComplex64 => "<c8",
        DataType::DtComplex128 => "<c16",
        _ => "<i4",
    }
}

/// Writes the head of an array of so many bytes, which are then to follow.
fn append_header(descr: &str, dimensions: &[usize], length: usize, out: &mut Vec<u8>) {
    // What is behind the head is at a multiple of this.
    const ALIGNMENT: usize = 64;
    let sizes: Vec<_> = dimensions.iter().map(ToString::to_string).collect();
    let sizes = if let [size] = sizes.as_slice() { format!("{size},") } else { sizes.join(", ") };
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({sizes}), }}");
    let before = MAGIC.len() + 4;
    let end = (before + text.len() + 1).next_multiple_of(ALIGNMENT);
    // A tensor of the most dimensions has a head of some 5000 bytes.
    let head = u16::try_from(end - before).unwrap_or(u16::MAX);
    // Behind the arrays that an archive has already this must not be a copy of them all for each.
    out.reserve(end + length);
    let start = out.len();
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&[1, 0]);
    out.extend_from_slice(&head.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    out.resize(start + end - 1, b' ');
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::dense::shape;

    fn file(descr: &str, is_fortran: bool, shape: &str, content: &[u8]) -> Bytes {
        let order = if is_fortran { "True" } else { "False" };
        let text = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
        let length = u16::try_from(text.len()).unwrap().to_le_bytes();
        [MAGIC, &[1, 0], &length, text.as_bytes(), content].concat().into()
    }

    fn numbers(dtype: DataType, dimensions: &[usize], content: &[u8]) -> Dense {
        let elements = Elements::Numbers(Bytes::copy_from_slice(content));
        Dense { dtype, dimensions: dimensions.to_vec(), elements }
    }

    fn strings(dimensions: &[usize], strings: &[&'static str]) -> Dense {
        let elements = Elements::Strings(strings.iter().map(|string| Bytes::from(*string)).collect());
        Dense { dtype: DataType::DtString, dimensions: dimensions.to_vec(), elements }
    }

    #[test]
    fn arrays_become_tensors_whatever_their_order() {
        let check = |file: Bytes, expected: Dense| {
            assert_eq!(read("x", &file, &Limits::default()).unwrap(), expected);
        };
        let six = [1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0];
        check(file("<i2", false, "(2, 3)", &six), numbers(DataType::DtInt16, &[2, 3], &six));
        let turned = [0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6];
        check(file(">i2", false, "(2, 3)", &turned), numbers(DataType::DtInt16, &[2, 3], &six));
        let columns = [1, 0, 4, 0, 2, 0, 5, 0, 3, 0, 6, 0];
        check(file("<i2", true, "(2, 3)", &columns), numbers(DataType::DtInt16, &[2, 3], &six));
        check(file("<i2", true, "(6,)", &six), numbers(DataType::DtInt16, &[6], &six));
        check(file("|b1", false, "(3,)", &[0, 1, 255]), numbers(DataType::DtBool, &[3], &[0, 1, 1]));
        check(file("|u1", false, "()", &[9]), numbers(DataType::DtUint8, &[], &[9]));
        check(file("<f4", true, "(0, 5)", &[]), numbers(DataType::DtFloat, &[0, 5], &[]));
        check(
            file(">c8", false, "(1,)", &[0, 0, 0, 1, 0, 0, 0, 2]),
            numbers(DataType::DtComplex64, &[1], &[1, 0, 0, 0, 2, 0, 0, 0]),
        );
        let cube: Vec<u8> = (0..24).collect();
        assert_eq!(Order::new(&[2, 1, 3, 1, 1, 4, 1]).dimensions, [2, 3, 4]);
        let order = Order::new(&[2, 3, 4]).map(|index| cube[index]).collect::<Vec<_>>();
        assert_eq!(order[..5], [0, 6, 12, 18, 2]);
        check(file("|i1", true, "(2, 3, 4)", &cube), numbers(DataType::DtInt8, &[2, 3, 4], &order));
        check(file("|S3", false, "(2,)", b"ab\0cde"), strings(&[2], &["ab", "cde"]));
        check(file("|S1", true, "(2, 2)", b"acbd"), strings(&[2, 2], &["a", "b", "c", "d"]));
        check(
            file("<U2", false, "(2,)", b"\xe9\0\0\0\0\0\0\0\x00\xf6\x01\0a\0\0\0"),
            strings(&[2], &["é", "😀a"]),
        );
        check(file(">U1", false, "(1,)", b"\0\0\0a"), strings(&[1], &["a"]));
    }

    #[test]
    fn native_arrays_are_not_copied() {
        let file = file("<f4", false, "(2,)", &[1, 2, 3, 4, 5, 6, 7, 8]);
        let Elements::Numbers(content) = read("x", &file, &Limits::default()).unwrap().elements else {
            panic!()
        };
        assert_eq!(content.as_ptr(), file[file.len() - 8..].as_ptr());
        assert_eq!((room(&file, 100, 4), room(&file, 100, 8), room(&file, 7, 8)), (0, 2 * 8 + 2 * 8, 0));
    }

    #[test]
    fn what_is_no_array_is_refused() {
        let check = |file: Bytes, expected: &str| {
            let limits = Limits { elements: 8, string_size: 3, ..Limits::default() };
            let error = read("x", &file, &limits).unwrap_err();
            assert_eq!((error.message(), error.status().as_u16()), (expected, 400));
        };
        check(Bytes::from_static(b"hello"), "x: it is no file in NumPy's format");
        let text = "x: its shape wants 2 elements of 4 bytes, and there are 7 bytes";
        check(file("<f4", false, "(2,)", &[0; 7]), text);
        check(file("<f4", false, "(2,)", &[0; 9]), &text.replace('7', "9"));
        check(file("|u1", false, "(9,)", &[0; 9]), "x: More than 8 elements");
        check(file("|u1", false, "(4294967296, 4294967296)", &[]), "x: More than 8 elements");
        check(file("|S4", false, "(1, 1)", b"abcd"), "x[0,0]: More than 3 bytes in a string");
        check(file("<U1", false, "(2,)", &[0, 0, 0, 0, 0, 0xd8, 0, 0]), "x[1]: 55296 is no character");
    }

    #[test]
    fn tensors_become_arrays_and_come_back() {
        let round = |dense: Dense, expected: Dense| {
            let mut out = b"before".to_vec();
            append("y", &dense.into_proto(), &mut out).unwrap();
            let file = Bytes::from(out).slice(6..);
            let start = Header::parse(&file, 9).unwrap().start;
            assert_eq!((start % 64, file[start - 1]), (0, b'\n'));
            assert_eq!(read("y", &file, &Limits::default()).unwrap(), expected);
        };
        for number in 1..=23 {
            let dtype = dtype::from_wire(number);
            let Some(width) = dtype::width(dtype).filter(|_| dtype != DataType::DtBfloat16) else { continue };
            for dimensions in [&[1_usize, 2, 1][..], &[2]] {
                let dense = numbers(dtype, dimensions, &vec![1; 2 * width]);
                round(dense.clone(), dense);
            }
            let (scalar, nothing) = (numbers(dtype, &[], &vec![1; width]), numbers(dtype, &[3, 0], &[]));
            round(scalar.clone(), scalar);
            round(nothing.clone(), nothing);
        }
        let single = numbers(DataType::DtFloat, &[1], &[0, 0, 0x80, 0x3f]);
        round(numbers(DataType::DtBfloat16, &[1], &[0x80, 0x3f]), single);
        for all in [strings(&[2], &["a", "bcd"]), strings(&[1, 1], &[""]), strings(&[0], &[])] {
            round(all.clone(), all);
        }
    }

    #[test]
    fn what_numpy_cannot_hold_is_not_acceptable() {
        let check = |outputs: &[(String, TensorProto)], expected: &str| {
            let error = encode(outputs.iter().map(|(name, tensor)| (name, tensor))).unwrap_err();
            assert_eq!(error.status(), 406);
            assert!(error.message().contains(expected), "{error}");
        };
        let output = |name: &str, dense: Dense| (name.to_owned(), dense.into_proto());
        let number = numbers(DataType::DtInt8, &[1], &[0]);
        let two = [output("b", number.clone()), output("a", number)];
        check(&two, "?outputs=NAME, of a, b, or accept application/x-npz");
        check(&[output("y", strings(&[2], &["a", "a\0"]))], "y[1] ends in a zero byte");
        let long = TensorProto {
            dtype: DataType::DtString.into(),
            tensor_shape: Some(shape(&[1 << 20])),
            string_val: vec![vec![1; 1000].into(), Bytes::new()],
            ..TensorProto::default()
        };
        check(&[("y".to_owned(), long)], "differ too much");
    }
}
