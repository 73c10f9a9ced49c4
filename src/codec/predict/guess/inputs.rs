//! The names of the inputs in a body, and what is seen of their values.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::MAX_INPUTS;
use super::kind::Kind;
use crate::codec::fault::Fault;
use crate::codec::predict::Format;
use crate::codec::reader::Reader;

/// What `instances` or `inputs` tells of the inputs.
pub(super) enum Found {
    /// The inputs by name.
    Named(BTreeMap<String, Kind>),
    /// Values without names start here.
    Unnamed(usize),
    /// The value holds no input whatever the signature.
    Nothing,
}

/// Reads past the value at the reader's position.
///
/// Only what keeps names from being told is a fault, besides wrong syntax. What is wrong with
/// the values is for the decoder to say.
pub(super) fn find(reader: &mut Reader<'_>, format: Format) -> Result<Found, Fault> {
    match format {
        Format::Row => find_in_rows(reader),
        Format::Columnar => find_in_columns(reader),
    }
}

fn find_in_rows(reader: &mut Reader<'_>) -> Result<Found, Fault> {
    let mut first = reader.clone();
    if reader.byte() != b'[' || !first.open_array()? {
        reader.skip_value()?;
        return Ok(Found::Nothing);
    }
    if !is_object(&first) {
        return skip_unnamed(reader);
    }
    let start = reader.at;
    let mut kinds = BTreeMap::new();
    let mut more = reader.open_array()?;
    let mut is_first = true;
    while more {
        reader.peek();
        if is_object(reader) {
            read_row(reader, &mut kinds, is_first)?;
        } else {
            reader.skip_value()?;
        }
        is_first = false;
        more = reader.next_element()?;
    }
    Ok(named(kinds, start))
}

/// Adds a row's values to their inputs. The first row names the inputs.
fn read_row(
    reader: &mut Reader<'_>,
    kinds: &mut BTreeMap<String, Kind>,
    is_first: bool,
) -> Result<(), Fault> {
    let mut more = reader.open_object()?;
    while more {
        let key = reader.key()?;
        reader.peek();
        let name = key.bytes(reader.bytes);
        let known = str::from_utf8(name).ok().and_then(|name| kinds.get_mut(name));
        if let Some(kind) = known {
            kind.read(reader)?;
        } else if is_first {
            let name = input_name(name, reader.at, kinds.len())?;
            kinds.entry(name).or_default().read(reader)?;
        } else {
            reader.skip_value()?;
        }
        more = reader.next_member()?;
    }
    Ok(())
}

fn find_in_columns(reader: &mut Reader<'_>) -> Result<Found, Fault> {
    if !is_object(reader) {
        return skip_unnamed(reader);
    }
    let start = reader.at;
    let mut kinds = BTreeMap::new();
    let mut more = reader.open_object()?;
    while more {
        let key = reader.key()?;
        reader.peek();
        let name = input_name(key.bytes(reader.bytes), reader.at, kinds.len())?;
        match kinds.entry(name) {
            // Of members with the same name the first one counts.
            Entry::Occupied(_) => reader.skip_value()?,
            Entry::Vacant(entry) => entry.insert(Kind::default()).read(reader)?,
        }
        more = reader.next_member()?;
    }
    Ok(named(kinds, start))
}

/// True at an object that is not a value itself.
fn is_object(reader: &Reader<'_>) -> bool {
    reader.byte() == b'{' && reader.clone().base64_object().is_none()
}

fn skip_unnamed(reader: &mut Reader<'_>) -> Result<Found, Fault> {
    let start = reader.at;
    reader.skip_value()?;
    Ok(Found::Unnamed(start))
}

/// The inputs of objects; objects without members name none.
fn named(kinds: BTreeMap<String, Kind>, start: usize) -> Found {
    if kinds.is_empty() { Found::Unnamed(start) } else { Found::Named(kinds) }
}

/// The name of one more input than `count`; its value is at `at`.
pub(super) fn input_name(name: &[u8], at: usize, count: usize) -> Result<String, Fault> {
    if count >= MAX_INPUTS {
        return Err(Fault::text(at, format!("More than {MAX_INPUTS} inputs without a signature")));
    }
    // A request could not carry any other name.
    match str::from_utf8(name) {
        Ok(name) => Ok(name.to_owned()),
        Err(_) => Err(Fault::text(at, "The name of an input must be UTF-8")),
    }
}
