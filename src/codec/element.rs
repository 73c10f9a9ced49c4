//! How one JSON value becomes one element of a tensor: a type per dtype.
//!
//! The loops over nested lists are generic over [`Element`], so that the dtype is matched once
//! for a tensor and each loop is compiled for its own elements.

use bytes::Bytes;

use super::fault::{Fault, What};
use super::half::{self, Format};
use super::number::{self, Float, Integer, Plain};
use super::reader::{Reader, Text};
use crate::proto::tensorflow::DataType;

/// One dtype's rule for reading an element.
pub(crate) trait Element {
    /// Where the elements of a tensor are collected.
    type Store;

    /// True if an element is itself written as a list, as complex numbers are.
    const IS_LIST: bool = false;

    /// How many bytes an element has in the store; `fast` gives as many.
    const WIDTH: usize = 1;

    /// Reads an element of the commonest form, as its bytes in the tensor.
    ///
    /// This is for the hot loops, which keep the position to themselves and look at what is
    /// behind the element; whatever it leaves is for [`Element::read`].
    #[inline(always)]
    fn fast(_bytes: &[u8], _at: usize) -> Option<Plain<impl AsRef<[u8]>>> {
        None::<Plain<[u8; 1]>>
    }

    /// The tensor's bytes, where `fast` may append; `None` if elements are no plain bytes.
    fn content(_store: &mut Self::Store) -> Option<&mut Vec<u8>> {
        None
    }

    /// How many elements there are.
    fn count(store: &Self::Store) -> usize;

    /// Reads one element at the reader's position, where white space has been skipped.
    ///
    /// A fault leaves the position undefined.
    fn read(reader: &mut Reader<'_>, store: &mut Self::Store) -> Result<(), Fault>;
}

/// The number of elements in a store of bytes.
macro_rules! count_of_bytes {
    () => {
        fn count(store: &Vec<u8>) -> usize {
            store.len() / Self::WIDTH
        }
    };
}

/// The fault of a value that is well formed, but not of this dtype. The reader is at its start.
#[cold]
fn type_fault(reader: &mut Reader<'_>, dtype: DataType) -> Fault {
    let start = reader.at;
    // A value that is no JSON at all is the worse fault.
    match reader.skip_value() {
        Err(fault) => fault,
        Ok(()) => Fault::new(start, What::Type(dtype)),
    }
}

/// Reads a number of any shape as the float nearest to its correctly rounded double.
#[inline(always)]
fn read_float<F: Float>(reader: &mut Reader<'_>, dtype: DataType) -> Result<F, Fault> {
    match number::float(reader.bytes, reader.at).and_then(Plain::complete) {
        Some(plain) => {
            reader.at += plain.length;
            Ok(plain.value)
        }
        None => read_any_float(reader, dtype),
    }
}

#[cold]
fn read_any_float<F: Float>(reader: &mut Reader<'_>, dtype: DataType) -> Result<F, Fault> {
    let start = reader.at;
    if matches!(reader.byte(), b'"' | b'{' | b'[' | b't' | b'f' | b'n') {
        return Err(type_fault(reader, dtype));
    }
    let token = number::scan(reader.bytes, start)?;
    reader.at = token.end;
    Ok(F::from_f64(number::value(reader.bytes, start, token)))
}

macro_rules! floats {
    ($($name:ident, $float:ty, $dtype:expr;)*) => { $(
        pub(crate) struct $name;

        impl Element for $name {
            type Store = Vec<u8>;
            const WIDTH: usize = size_of::<$float>();

            #[inline(always)]
            fn fast(bytes: &[u8], at: usize) -> Option<Plain<impl AsRef<[u8]>>> {
                number::float::<$float>(bytes, at).map(|plain| plain.map(<$float>::to_le_bytes))
            }

            fn content(store: &mut Vec<u8>) -> Option<&mut Vec<u8>> {
                Some(store)
            }

            count_of_bytes!();

            fn read(reader: &mut Reader<'_>, store: &mut Vec<u8>) -> Result<(), Fault> {
                let value: $float = read_float(reader, $dtype)?;
                store.extend_from_slice(&value.to_le_bytes());
                Ok(())
            }
        }
    )* };
}

floats! {
    Float32, f32, DataType::DtFloat;
    Float64, f64, DataType::DtDouble;
}

macro_rules! short_floats {
    ($($name:ident, $format:expr, $dtype:expr;)*) => { $(
        pub(crate) struct $name;

        impl Element for $name {
            type Store = Vec<u8>;
            const WIDTH: usize = 2;

            fn fast(bytes: &[u8], at: usize) -> Option<Plain<impl AsRef<[u8]>>> {
                const FORMAT: Format = $format;
                number::float::<f64>(bytes, at).map(|plain| plain.map(|value| FORMAT.round(value).to_le_bytes()))
            }

            fn content(store: &mut Vec<u8>) -> Option<&mut Vec<u8>> {
                Some(store)
            }

            count_of_bytes!();

            fn read(reader: &mut Reader<'_>, store: &mut Vec<u8>) -> Result<(), Fault> {
                const FORMAT: Format = $format;
                let value: f64 = read_float(reader, $dtype)?;
                store.extend_from_slice(&FORMAT.round(value).to_le_bytes());
                Ok(())
            }
        }
    )* };
}

short_floats! {
    Half, half::HALF, DataType::DtHalf;
    Bfloat16, half::BFLOAT16, DataType::DtBfloat16;
}

macro_rules! complex {
    ($($name:ident, $float:ty, $dtype:expr;)*) => { $(
        pub(crate) struct $name;

        impl Element for $name {
            type Store = Vec<u8>;
            const IS_LIST: bool = true;
            const WIDTH: usize = 2 * size_of::<$float>();

            count_of_bytes!();

            fn read(reader: &mut Reader<'_>, store: &mut Vec<u8>) -> Result<(), Fault> {
                let start = reader.clone();
                if reader.byte() != b'[' || !reader.open_array()? {
                    return Err(complex_fault(start, $dtype));
                }
                let real: $float = read_float(reader, $dtype)?;
                if !reader.next_element()? {
                    return Err(complex_fault(start, $dtype));
                }
                reader.peek();
                let imaginary: $float = read_float(reader, $dtype)?;
                if reader.next_element()? {
                    return Err(complex_fault(start, $dtype));
                }
                store.extend_from_slice(&real.to_le_bytes());
                store.extend_from_slice(&imaginary.to_le_bytes());
                Ok(())
            }
        }
    )* };
}

complex! {
    Complex64, f32, DataType::DtComplex64;
    Complex128, f64, DataType::DtComplex128;
}

#[cold]
fn complex_fault(mut reader: Reader<'_>, dtype: DataType) -> Fault {
    match type_fault(&mut reader, dtype) {
        fault if fault.ends_text() => fault,
        fault => {
            let text = super::fault::Value::at(reader.bytes, fault.at);
            let name = super::dtype::name(dtype);
            Fault::text(
                fault.at,
                format!(
                    "JSON Value: {} Type: {} is not of expected type: {name}, written [real, imaginary]",
                    text.text, text.kind
                ),
            )
        }
    }
}

macro_rules! integers {
    ($($name:ident, $integer:ty, $dtype:expr;)*) => { $(
        pub(crate) struct $name;

        impl Element for $name {
            type Store = Vec<u8>;
            const WIDTH: usize = size_of::<$integer>();

            #[inline(always)]
            fn fast(bytes: &[u8], at: usize) -> Option<Plain<impl AsRef<[u8]>>> {
                let plain = number::integer(bytes, at)?;
                let (negative, magnitude) = plain.value;
                let value = <$integer>::from_parts(negative, magnitude)?;
                Some(plain.map(|_| value.to_le_bytes()))
            }

            fn content(store: &mut Vec<u8>) -> Option<&mut Vec<u8>> {
                Some(store)
            }

            count_of_bytes!();

            fn read(reader: &mut Reader<'_>, store: &mut Vec<u8>) -> Result<(), Fault> {
                let start = reader.at;
                let Some(plain) = number::integer(reader.bytes, start).and_then(Plain::complete) else {
                    return Err(integer_fault(reader, start, $dtype));
                };
                let (negative, magnitude) = plain.value;
                let Some(value) = <$integer>::from_parts(negative, magnitude) else {
                    return Err(Fault::new(start, What::Range($dtype)));
                };
                reader.at += plain.length;
                store.extend_from_slice(&value.to_le_bytes());
                Ok(())
            }
        }
    )* };
}

integers! {
    Int8, i8, DataType::DtInt8;
    Int16, i16, DataType::DtInt16;
    Int32, i32, DataType::DtInt32;
    Int64, i64, DataType::DtInt64;
    Uint8, u8, DataType::DtUint8;
    Uint16, u16, DataType::DtUint16;
    Uint32, u32, DataType::DtUint32;
    Uint64, u64, DataType::DtUint64;
}

/// Tells a number that no integer type holds from a value that is no integer at all.
#[cold]
fn integer_fault(reader: &mut Reader<'_>, start: usize, dtype: DataType) -> Fault {
    if matches!(reader.byte(), b'-' | b'0'..=b'9') {
        match number::scan(reader.bytes, start) {
            Err(fault) => return fault,
            Ok(token) if token.is_integer => return Fault::new(start, What::Range(dtype)),
            Ok(_) => {}
        }
    }
    type_fault(reader, dtype)
}

pub(crate) struct Bool;

impl Element for Bool {
    type Store = Vec<u8>;

    count_of_bytes!();

    fn read(reader: &mut Reader<'_>, store: &mut Vec<u8>) -> Result<(), Fault> {
        match reader.byte() {
            b't' => reader.literal("true").map(|()| store.push(1)),
            b'f' => reader.literal("false").map(|()| store.push(0)),
            _ => Err(type_fault(reader, DataType::DtBool)),
        }
    }
}

/// Strings are cut out of the body where they stand in it as they are.
pub(crate) struct Strings {
    pub(crate) body: Bytes,
    pub(crate) values: Vec<Bytes>,
}

pub(crate) struct String;

impl Element for String {
    type Store = Strings;

    fn count(store: &Strings) -> usize {
        store.values.len()
    }

    fn read(reader: &mut Reader<'_>, store: &mut Strings) -> Result<(), Fault> {
        let start = reader.at;
        let value = match reader.byte() {
            b'"' => match reader.string_element()? {
                Text::Plain(range) => store.body.slice(range),
                Text::Unescaped(bytes) => bytes.into(),
            },
            b'{' => {
                let Some(text) = reader.base64_object() else {
                    reader.skip_value()?;
                    return Err(Fault::new(start, What::NotBase64Object));
                };
                base64(reader, start, &text)?.into()
            }
            _ => return Err(type_fault(reader, DataType::DtString)),
        };
        store.values.push(value);
        Ok(())
    }
}

/// The bytes of a base64 object's text: the standard alphabet, white space skipped, padding
/// right or absent.
pub(crate) fn base64(reader: &Reader<'_>, start: usize, text: &Text) -> Result<Vec<u8>, Fault> {
    let (text, most) = (text.bytes(reader.bytes), reader.limits.string_size);
    let too_large = || Err(Fault::new(start, What::StringSize(most)));
    // Four characters are three bytes; white space and padding are nothing.
    if text.len() / 4 * 3 > most {
        let is_counted = |byte: &&u8| !byte.is_ascii_whitespace() && **byte != b'=';
        if text.iter().filter(is_counted).count() / 4 * 3 > most {
            return too_large();
        }
    }
    match base64_simd::forgiving_decode_to_vec(text) {
        Ok(bytes) if bytes.len() > most => too_large(),
        Ok(bytes) => Ok(bytes),
        Err(_) => Err(Fault::new(start, What::Base64)),
    }
}

/// A dtype that JSON does not carry: only tensors without elements can be written.
pub(crate) struct Unsupported;

impl Element for Unsupported {
    type Store = DataType;

    fn count(_: &DataType) -> usize {
        0
    }

    fn read(reader: &mut Reader<'_>, dtype: &mut DataType) -> Result<(), Fault> {
        let mut start = reader.clone();
        let fault = type_fault(reader, *dtype);
        if fault.ends_text() || (start.byte() == b'{' && start.base64_object().is_some()) {
            return Err(fault);
        }
        Err(Fault::new(fault.at, What::Unsupported(*dtype)))
    }
}
