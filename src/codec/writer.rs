//! JSON text from values, appended to a buffer.
//!
//! Floats are written in the shortest form that reads back to the same value of their width
//! and always look like floats; the text is valid UTF-8 whatever the strings hold.

use super::shortest::{self, Decimal, ROOM};
use crate::error::{Error, Result};

/// How a NaN or an infinity is written, which JSON has no spelling for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NanStyle {
    /// As the bare tokens `NaN`, `Infinity` and `-Infinity`, like the original.
    #[default]
    Literal,
    /// As `null`.
    Null,
    /// As the strings `"NaN"`, `"Infinity"` and `"-Infinity"`.
    String,
    /// Not at all: the request fails.
    Error,
}

/// A number that can be written as JSON.
pub(crate) trait Number: Copy {
    fn write(self, out: &mut Vec<u8>, nan: NanStyle) -> Result<()>;

    /// Writes numbers with a comma behind each.
    fn write_all(numbers: impl Iterator<Item = Self>, out: &mut Vec<u8>, nan: NanStyle) -> Result<()> {
        for number in numbers {
            number.write(out, nan)?;
            out.push(b',');
        }
        Ok(())
    }
}

macro_rules! integers {
    ($($integer:ty)*) => { $(
        impl Number for $integer {
            #[inline]
            fn write(self, out: &mut Vec<u8>, _: NanStyle) -> Result<()> {
                out.extend_from_slice(itoa::Buffer::new().format(self).as_bytes());
                Ok(())
            }
        }
    )* };
}

integers! { i8 i16 i32 i64 u8 u16 u32 u64 }

impl Number for f32 {
    fn write(self, out: &mut Vec<u8>, nan: NanStyle) -> Result<()> {
        write_float(self, out, nan)
    }

    fn write_all(numbers: impl Iterator<Item = Self>, out: &mut Vec<u8>, nan: NanStyle) -> Result<()> {
        write_floats(numbers, out, nan)
    }
}

/// A number whose digits are found apart from writing them.
pub(crate) trait Float: Copy + Default + Into<f64> {
    /// Its digits, or `NONE` if its text has to be found otherwise.
    fn decimal(self) -> Decimal;

    fn is_negative(self) -> bool;

    /// Its text, if it is finite.
    fn text(self, buffer: &mut zmij::Buffer) -> Option<&str>;
}

impl Float for f32 {
    #[inline(always)]
    fn decimal(self) -> Decimal {
        shortest::decimal(self)
    }

    #[inline(always)]
    fn is_negative(self) -> bool {
        self.is_sign_negative()
    }

    #[inline(always)]
    fn text(self, buffer: &mut zmij::Buffer) -> Option<&str> {
        self.is_finite().then(|| buffer.format_finite(self))
    }
}

/// How many floats are written together.
pub(crate) const BATCH: usize = 32;

/// Writes floats with a comma behind each.
///
/// It finds the digits of some floats before it writes their texts: how long a float takes is
/// how long its steps wait for each other, and the processor looks only so far ahead for
/// another float to work on meanwhile.
#[inline(always)]
pub(crate) fn write_floats<T: Float>(
    mut numbers: impl Iterator<Item = T>,
    out: &mut Vec<u8>,
    nan: NanStyle,
) -> Result<()> {
    let mut batch = [(T::default(), Decimal::NONE); BATCH];
    loop {
        let mut count = 0;
        for (place, number) in batch.iter_mut().zip(&mut numbers) {
            *place = (number, number.decimal());
            count += 1;
        }
        // Room for all of them, in which a text is a few stores of fixed size.
        let mark = out.len();
        out.resize(mark + count * (ROOM + 1), 0);
        let mut used = mark;
        for &(number, decimal) in batch.iter().take(count) {
            let room = out.get_mut(used..used + ROOM).and_then(<[u8]>::first_chunk_mut);
            used += match room.and_then(|room| shortest::write(number.is_negative(), decimal, room)) {
                Some(length) => length,
                None => write_other(number, &mut out[used..], nan)?,
            };
            out[used] = b',';
            used += 1;
        }
        out.truncate(used);
        if count < BATCH {
            return Ok(());
        }
    }
}

/// Writes a float that is left to others at the start of `room`: the length of its text.
#[inline(never)]
fn write_other(number: impl Float, room: &mut [u8], nan: NanStyle) -> Result<usize> {
    let mut buffer = zmij::Buffer::new();
    let mut other = Vec::new();
    let text = if let Some(text) = number.text(&mut buffer) {
        text.as_bytes()
    } else {
        write_non_finite(number.into(), &mut other, nan)?;
        &other
    };
    room[..text.len()].copy_from_slice(text);
    Ok(text.len())
}

/// Writes one float.
#[inline]
pub(crate) fn write_float(number: impl Float, out: &mut Vec<u8>, nan: NanStyle) -> Result<()> {
    match number.text(&mut zmij::Buffer::new()) {
        Some(text) => out.extend_from_slice(text.as_bytes()),
        None => write_non_finite(number.into(), out, nan)?,
    }
    Ok(())
}

impl Number for f64 {
    #[inline]
    fn write(self, out: &mut Vec<u8>, nan: NanStyle) -> Result<()> {
        if self.is_finite() {
            out.extend_from_slice(zmij::Buffer::new().format_finite(self).as_bytes());
            return Ok(());
        }
        write_non_finite(self, out, nan)
    }
}

impl Number for bool {
    fn write(self, out: &mut Vec<u8>, _: NanStyle) -> Result<()> {
        out.extend_from_slice(if self { b"true" } else { b"false" });
        Ok(())
    }
}

#[cold]
fn write_non_finite(value: f64, out: &mut Vec<u8>, nan: NanStyle) -> Result<()> {
    let token: &[u8] = if value.is_nan() {
        b"NaN"
    } else if value > 0.0 {
        b"Infinity"
    } else {
        b"-Infinity"
    };
    match nan {
        NanStyle::Literal => out.extend_from_slice(token),
        NanStyle::Null => out.extend_from_slice(b"null"),
        NanStyle::String => {
            out.push(b'"');
            out.extend_from_slice(token);
            out.push(b'"');
        }
        NanStyle::Error => {
            let token = String::from_utf8_lossy(token);
            return Err(Error::invalid_argument(format!(
                "The reply holds {token}, which JSON cannot carry (the server runs with --nan error)"
            )));
        }
    }
    Ok(())
}

/// Writes a JSON string. Bytes that are not UTF-8 become replacement characters.
pub(crate) fn write_string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        write_escaped(chunk.valid().as_bytes(), out);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{FFFD}".as_bytes());
        }
    }
    out.push(b'"');
}

fn write_escaped(mut text: &[u8], out: &mut Vec<u8>) {
    while let Some(plain) = text.iter().position(|&byte| matches!(byte, b'"' | b'\\' | 0..=0x1F)) {
        out.extend_from_slice(&text[..plain]);
        let byte = text[plain];
        let short = match byte {
            b'"' | b'\\' => byte,
            0x08 => b'b',
            0x0C => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            _ => b'u',
        };
        out.extend_from_slice(&[b'\\', short]);
        if short == b'u' {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 0xF));
            out.extend_from_slice(&[b'0', b'0', HEX[high], HEX[low]]);
        }
        text = &text[plain + 1..];
    }
    out.extend_from_slice(text);
}

/// Writes `{"b64": "..."}`, the form of binary strings.
pub(crate) fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"b64\":\"");
    base64_simd::STANDARD.encode_append(bytes, out);
    out.extend_from_slice(b"\"}");
}
