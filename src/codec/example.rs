//! Classify and regress: a JSON body to `tf.Example`s, and results to the JSON reply.
//!
//! A body is an object with `examples`, a list of objects whose members are features, and
//! optionally `context`, one such object shared by all, and `signature_name`. For
//! multi_inference it has `tasks` in place of the last.

mod multi_inference;
mod results;
pub(crate) mod serialized;
mod wire;

use std::collections::BTreeMap;

use bytes::Bytes;

use super::document::{self, SignatureName};
use super::element;
use super::fault::{Fault, Value, What};
use super::limits::Limits;
use super::number::{self, Integer, Plain};
use super::reader::{Reader, Text};
use crate::error::Result;
use crate::proto::tensorflow::feature::Kind;
use crate::proto::tensorflow::serving::{ExampleList, ExampleListWithContext, Input, input};
use crate::proto::tensorflow::{BytesList, Example, Feature, Features, FloatList, Int64List};
pub use multi_inference::{MultiInference, decode_multi_inference, encode_multi_inference};
pub use results::{encode_classifications, encode_regressions};

/// A decoded classify or regress body.
#[derive(Debug, Clone, PartialEq)]
pub struct Examples {
    /// As the body gives it; empty for the default.
    pub signature_name: String,
    /// The examples, with their context if the body has one.
    pub input: Input,
}

/// Decodes a classify or regress body; `verb` is the word for messages.
///
/// # Errors
///
/// `INVALID_ARGUMENT` with the place and the reason.
pub fn decode(body: &Bytes, verb: &str, limits: &Limits) -> Result<Examples> {
    decode_members(body, verb, limits).map_err(|fault| fault.into_error(body))
}

fn decode_members(body: &Bytes, verb: &str, limits: &Limits) -> Result<Examples, Fault> {
    let mut signature_name = SignatureName::default();
    let mut places = InputPlaces::default();
    document::members(body, limits, |reader, key| {
        if key == b"signature_name" {
            return signature_name.read(reader);
        }
        places.see(key, reader.at);
        reader.skip_value()
    })?;
    let signature_name = signature_name.finish()?;
    Ok(Examples { signature_name, input: places.input(body, verb, limits)? })
}

/// Where the values of the members of an [`Input`] start; of each name the first one counts.
#[derive(Debug, Default)]
struct InputPlaces {
    context: Option<usize>,
    examples: Option<usize>,
}

impl InputPlaces {
    /// Remembers the place of a member's value if it is one of an input.
    fn see(&mut self, key: &[u8], at: usize) {
        match key {
            b"context" => self.context = self.context.or(Some(at)),
            b"examples" => self.examples = self.examples.or(Some(at)),
            _ => {}
        }
    }

    /// Decodes the members once all of the body is known to be JSON.
    fn input(self, body: &[u8], verb: &str, limits: &Limits) -> Result<Input, Fault> {
        let reader = |at| Reader::inside(body, at, 1, limits);
        let context = self.context.map(|at| example(&mut reader(at))).transpose()?;
        let Some(at) = self.examples else {
            let text = Value::at(body, Reader::new(body, limits).at).text;
            return Err(Fault::text(
                0,
                format!(
                    "JSON Value: {text} When method is {verb}, key 'examples' is expected and was not found"
                ),
            ));
        };
        let examples = examples(&mut reader(at))?;
        let kind = match context {
            Some(context) => input::Kind::ExampleListWithContext(ExampleListWithContext {
                examples,
                context: Some(context),
            }),
            None => input::Kind::ExampleList(ExampleList { examples }),
        };
        Ok(Input { kind: Some(kind) })
    }
}

fn examples(reader: &mut Reader<'_>) -> Result<Vec<Example>, Fault> {
    let mut examples = Vec::new();
    open_examples(reader)?;
    loop {
        reader.peek();
        within(examples.len(), reader)?;
        examples.push(example(reader)?);
        if !reader.next_element()? {
            return Ok(examples);
        }
    }
}

/// Takes the start of a list that has an entry.
fn open_examples(reader: &mut Reader<'_>) -> Result<(), Fault> {
    let start = reader.at;
    if reader.byte() != b'[' {
        let text = Value::at(reader.bytes, start).text;
        return Err(Fault::text(
            start,
            format!("JSON Value: {text} Expecting 'examples' value to be an list/array"),
        ));
    }
    if !reader.open_array()? {
        return Err(Fault::text(start, "JSON Value: [] 'examples' value is an empty array"));
    }
    Ok(())
}

/// Checks that a list of so many entries may have one more, which is next.
fn within(count: usize, reader: &Reader<'_>) -> Result<(), Fault> {
    let most = reader.limits.elements;
    if count < most { Ok(()) } else { Err(Fault::new(reader.at, What::Elements(most))) }
}

/// Reads an object of features. Of features with the same name the last one counts.
fn example(reader: &mut Reader<'_>) -> Result<Example, Fault> {
    if reader.byte() != b'{' {
        let kind = Value::at(reader.bytes, reader.at).kind;
        return Err(Fault::text(reader.at, format!("Example must be JSON object but got JSON {kind}")));
    }
    let mut feature = BTreeMap::new();
    let mut more = reader.open_object()?;
    while more {
        within(feature.len(), reader)?;
        let name = String::from_utf8_lossy(reader.key()?.bytes(reader.bytes)).into_owned();
        reader.peek();
        let value = feature_values(reader, &name)?;
        feature.insert(name, value);
        more = reader.next_member()?;
    }
    Ok(Example { features: Some(Features { feature }) })
}

/// Reads a feature: a list of elements of one kind, or one element for a list of one.
fn feature_values(reader: &mut Reader<'_>, name: &str) -> Result<Feature, Fault> {
    let mut kind = None;
    if reader.byte() == b'[' {
        let mut more = reader.open_array()?;
        for count in 0.. {
            if !more {
                break;
            }
            reader.peek();
            within(count, reader)?;
            push(reader, name, &mut kind)?;
            more = reader.next_element()?;
        }
    } else {
        push(reader, name, &mut kind)?;
    }
    Ok(Feature { kind })
}

/// One element of a feature.
enum Element {
    Bytes(Bytes),
    Float(f32),
    Int64(i64),
    /// Beyond `i64`, which no list of a feature holds.
    Uint64,
}

/// Reads an element into the feature's list, whose kind the first element has set.
fn push(reader: &mut Reader<'_>, name: &str, kind: &mut Option<Kind>) -> Result<(), Fault> {
    let start = reader.at;
    let Some(element) = element(reader)? else {
        let kind = Value::at(reader.bytes, start).kind;
        return Err(Fault::text(
            start,
            format!("Feature: {name} has element with unexpected JSON type: {kind}"),
        ));
    };
    let kind = kind.get_or_insert_with(|| match element {
        Element::Bytes(_) => Kind::BytesList(BytesList::default()),
        Element::Float(_) => Kind::FloatList(FloatList::default()),
        Element::Int64(_) | Element::Uint64 => Kind::Int64List(Int64List::default()),
    });
    match (kind, element) {
        (Kind::BytesList(list), Element::Bytes(bytes)) => list.value.push(bytes),
        (Kind::FloatList(list), Element::Float(float)) => list.value.push(float),
        (Kind::Int64List(list), Element::Int64(integer)) => list.value.push(integer),
        (Kind::Int64List(_), Element::Uint64) => {
            let text = format!("Feature: {name} has uint64_t element. Only int64_t is supported.");
            return Err(Fault::text(start, text));
        }
        (kind, _) => {
            let expected = match kind {
                Kind::BytesList(_) => "bytes",
                Kind::FloatList(_) => "float",
                Kind::Int64List(_) => "int64",
            };
            let text = format!("Unexpected element type in feature: {name} expecting type: {expected}");
            return Err(Fault::text(start, text));
        }
    }
    Ok(())
}

/// Reads one element; `None` for a value that no feature takes.
fn element(reader: &mut Reader<'_>) -> Result<Option<Element>, Fault> {
    let start = reader.at;
    Ok(Some(match reader.byte() {
        b't' => reader.literal("true").map(|()| Element::Int64(1))?,
        b'f' => reader.literal("false").map(|()| Element::Int64(0))?,
        b'"' => Element::Bytes(bytes_of(reader.string_element()?, reader.bytes)),
        b'{' => match reader.base64_object() {
            Some(text) => Element::Bytes(element::base64(reader, start, &text)?.into()),
            None => return Ok(None),
        },
        b'[' | b'n' => return Ok(None),
        _ => number(reader)?,
    }))
}

fn bytes_of(text: Text, json: &[u8]) -> Bytes {
    match text {
        Text::Plain(range) => Bytes::copy_from_slice(json.get(range).unwrap_or_default()),
        Text::Unescaped(bytes) => bytes.into(),
    }
}

/// Reads a number: an integer token that fits 64 bits is an integer, every other a float.
#[expect(clippy::cast_possible_truncation, reason = "a feature's floats are what the double rounds to")]
fn number(reader: &mut Reader<'_>) -> Result<Element, Fault> {
    let start = reader.at;
    let token = number::scan(reader.bytes, start)?;
    reader.at = token.end;
    if let Some(plain) = number::integer(reader.bytes, start).and_then(Plain::complete) {
        let (negative, magnitude) = plain.value;
        match i64::from_parts(negative, magnitude) {
            Some(integer) => return Ok(Element::Int64(integer)),
            None if !negative => return Ok(Element::Uint64),
            None => {}
        }
    }
    Ok(Element::Float(number::value(reader.bytes, start, token) as f32))
}
