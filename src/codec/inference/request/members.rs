//! The small things that a request's JSON is made of: objects, lists and their scalars.

use crate::codec::fault::{Fault, Value};
use crate::codec::number::{self, Integer as _, Plain};
use crate::codec::reader::Reader;

/// Reads an object; `visit` gets the name of each member and reads its value.
pub(super) fn object<'a>(
    reader: &mut Reader<'a>,
    what: &str,
    mut visit: impl FnMut(&mut Reader<'a>, &[u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    if reader.peek() != b'{' {
        return Err(other(reader, what, "an object"));
    }
    let bytes = reader.bytes;
    let mut more = reader.open_object()?;
    while more {
        let key = reader.key()?;
        reader.peek();
        visit(reader, key.bytes(bytes))?;
        more = reader.next_member()?;
    }
    Ok(())
}

/// Reads a list; `visit` reads each element.
pub(super) fn list<'a>(
    reader: &mut Reader<'a>,
    what: &str,
    mut visit: impl FnMut(&mut Reader<'a>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    if reader.peek() != b'[' {
        return Err(other(reader, what, "a list"));
    }
    let mut more = reader.open_array()?;
    while more {
        reader.peek();
        visit(reader)?;
        more = reader.next_element()?;
    }
    Ok(())
}

/// Whether a value is `null`, which stands for nothing.
pub(super) fn is_null(reader: &mut Reader<'_>) -> bool {
    reader.peek() == b'n'
}

pub(super) fn string(reader: &mut Reader<'_>, what: &str) -> Result<String, Fault> {
    if reader.peek() != b'"' {
        return Err(other(reader, what, "a string"));
    }
    let text = reader.string()?;
    Ok(String::from_utf8_lossy(text.bytes(reader.bytes)).into_owned())
}

pub(super) fn boolean(reader: &mut Reader<'_>) -> Result<bool, Fault> {
    match reader.peek() {
        b't' => reader.literal("true").map(|()| true),
        b'f' => reader.literal("false").map(|()| false),
        _ => Err(other(reader, "The parameter", "true or false")),
    }
}

pub(super) fn integer(reader: &mut Reader<'_>, what: &str) -> Result<i64, Fault> {
    reader.peek();
    let plain = number::integer(reader.bytes, reader.at).and_then(Plain::complete);
    let read = plain.and_then(|plain| {
        let (negative, magnitude) = plain.value;
        Some((i64::from_parts(negative, magnitude)?, plain.length))
    });
    let Some((value, length)) = read else { return Err(other(reader, what, "an integer")) };
    reader.at += length;
    Ok(value)
}

/// The fault of a value of another kind. One that is no JSON at all is the worse fault.
#[cold]
fn other(reader: &mut Reader<'_>, what: &str, wanted: &str) -> Fault {
    let start = reader.at;
    if let Err(fault) = reader.skip_value() {
        return fault;
    }
    let Value { text, .. } = Value::at(reader.bytes, start);
    Fault::text(start, format!("{what} must be {wanted}, not {text}"))
}
