//! Examples as the strings that a signature takes: each a message of one of three kinds, by `example_format`.
//!
//! | `example_format` | an entry of `examples` | the strings |
//! |---|---|---|
//! | `example`, or none | an object of features | a `tf.Example` for each entry |
//! | `sequence_example` | an object of `context`, an object of features, and `feature_lists`, an object of lists of features | a `tf.SequenceExample` for each entry |
//! | `elwc` | an object of features | one `ExampleListWithContext` of all entries and the member `context` |
//!
//! An entry is gone before the next one is read, but for the last kind.

use bytes::Bytes;
use prost::Message;

use super::wire::{WireExample, WireList, WireSequence};
use super::{InputPlaces, example, examples, feature_values, open_examples, within};
use crate::codec::fault::{Fault, Value, What};
use crate::codec::limits::Limits;
use crate::codec::reader::Reader;
use crate::proto::tensorflow::serving::ExampleListWithContext;
use crate::proto::tensorflow::{FeatureList, FeatureLists, SequenceExample};

/// Where the values of the members start that make examples; of each name the first one counts.
#[derive(Debug, Default)]
pub(crate) struct Places {
    input: InputPlaces,
    format: Option<usize>,
}

impl Places {
    /// Remembers the place of a member's value if it is one of these.
    pub(crate) fn see(&mut self, key: &[u8], at: usize) {
        match key {
            b"example_format" => self.format = self.format.or(Some(at)),
            key => self.input.see(key, at),
        }
    }

    /// Where the examples start, if there are any.
    pub(crate) fn examples(&self) -> Option<usize> {
        self.input.examples
    }

    /// Makes the strings, once all of the body is known to be JSON.
    pub(crate) fn strings(&self, body: &[u8], limits: &Limits) -> Result<Vec<Bytes>, Fault> {
        let reader = |at| Reader::inside(body, at, 1, limits);
        let format = self.format.map_or(Ok(Format::Example), |at| Format::read(&mut reader(at)))?;
        let Some(at) = self.input.examples else { return Ok(Vec::new()) };
        let context = self.input.context;
        if let (Some(at), Format::Example | Format::SequenceExample) = (context, format) {
            return Err(Fault::text(
                at,
                "A 'context' of all examples goes with \"example_format\": \"elwc\"",
            ));
        }
        match format {
            Format::Example => strings(&mut reader(at), |reader| Ok(WireExample::from(example(reader)?))),
            Format::SequenceExample => {
                strings(&mut reader(at), |reader| Ok(WireSequence::from(sequence_example(reader)?)))
            }
            Format::Elwc => {
                let context = context.map(|at| example(&mut reader(at))).transpose()?;
                let examples = examples(&mut reader(at))?;
                let list = ExampleListWithContext { examples, context };
                Ok(vec![string(&WireList::from(list), at, limits)?])
            }
        }
    }
}

/// What an entry becomes.
#[derive(Debug, Clone, Copy)]
enum Format {
    Example,
    SequenceExample,
    Elwc,
}

impl Format {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        let start = reader.at;
        let text = if reader.byte() == b'"' { Some(reader.string()?) } else { None };
        match text.as_ref().map(|text| text.bytes(reader.bytes)) {
            Some(b"example") => Ok(Self::Example),
            Some(b"sequence_example") => Ok(Self::SequenceExample),
            Some(b"elwc") => Ok(Self::Elwc),
            _ => {
                let value = Value::at(reader.bytes, start).text;
                let text = format!(
                    "JSON Value: {value} 'example_format' must be \"example\", \"sequence_example\" or \"elwc\""
                );
                Err(Fault::text(start, text))
            }
        }
    }
}

/// Reads a list of entries and makes a string of each.
fn strings<M: Message>(
    reader: &mut Reader<'_>,
    entry: impl Fn(&mut Reader<'_>) -> Result<M, Fault>,
) -> Result<Vec<Bytes>, Fault> {
    let mut strings = Vec::new();
    open_examples(reader)?;
    loop {
        reader.peek();
        within(strings.len(), reader)?;
        let start = reader.at;
        let message = entry(reader)?;
        strings.push(string(&message, start, reader.limits)?);
        if !reader.next_element()? {
            return Ok(strings);
        }
    }
}

fn string(message: &impl Message, at: usize, limits: &Limits) -> Result<Bytes, Fault> {
    if message.encoded_len() > limits.string_size {
        return Err(Fault::new(at, What::StringSize(limits.string_size)));
    }
    Ok(message.encode_to_vec().into())
}

fn sequence_example(reader: &mut Reader<'_>) -> Result<SequenceExample, Fault> {
    let mut sequence = SequenceExample::default();
    members(reader, |reader, name, at| {
        match name.as_str() {
            "context" => sequence.context = example(reader)?.features,
            "feature_lists" => sequence.feature_lists = Some(feature_lists(reader)?),
            _ => {
                let text = format!(
                    "A sequence example has the members 'context' and 'feature_lists', and no {name:?}"
                );
                return Err(Fault::text(at, text));
            }
        }
        Ok(())
    })?;
    Ok(sequence)
}

fn feature_lists(reader: &mut Reader<'_>) -> Result<FeatureLists, Fault> {
    let mut lists = FeatureLists::default();
    members(reader, |reader, name, at| {
        within(lists.feature_list.len(), reader)?;
        if reader.byte() != b'[' {
            let kind = Value::at(reader.bytes, at).kind;
            return Err(Fault::text(at, format!("Feature list: {name} must be a list but got JSON {kind}")));
        }
        let mut feature = Vec::new();
        let mut more = reader.open_array()?;
        while more {
            reader.peek();
            within(feature.len(), reader)?;
            feature.push(feature_values(reader, &name)?);
            more = reader.next_element()?;
        }
        lists.feature_list.insert(name, FeatureList { feature });
        Ok(())
    })?;
    Ok(lists)
}

/// Reads an object; `visit` gets the name of each member, and where its value starts.
fn members(
    reader: &mut Reader<'_>,
    mut visit: impl FnMut(&mut Reader<'_>, String, usize) -> Result<(), Fault>,
) -> Result<(), Fault> {
    if reader.byte() != b'{' {
        let kind = Value::at(reader.bytes, reader.at).kind;
        return Err(Fault::text(reader.at, format!("Example must be JSON object but got JSON {kind}")));
    }
    let mut more = reader.open_object()?;
    while more {
        let name = String::from_utf8_lossy(reader.key()?.bytes(reader.bytes)).into_owned();
        reader.peek();
        let at = reader.at;
        visit(reader, name, at)?;
        more = reader.next_member()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::document;
    use crate::error::Result;
    use crate::proto::tensorflow::feature::Kind;
    use crate::proto::tensorflow::{BytesList, Example, Feature, Features, FloatList, Int64List};

    fn strings_of(body: &str, limits: &Limits) -> Result<Vec<Bytes>> {
        let mut places = Places::default();
        let read = document::members(body.as_bytes(), limits, |reader, key| {
            places.see(key, reader.at);
            reader.skip_value()
        });
        let strings = read.and_then(|()| places.strings(body.as_bytes(), limits));
        strings.map_err(|fault| fault.into_error(body.as_bytes()))
    }

    fn feature(kind: Kind) -> Feature {
        Feature { kind: Some(kind) }
    }

    fn integers(values: &[i64]) -> Feature {
        feature(Kind::Int64List(Int64List { value: values.to_vec() }))
    }

    fn features(features: &[(&str, Feature)]) -> Option<Features> {
        let feature = features.iter().map(|(name, feature)| ((*name).to_owned(), feature.clone())).collect();
        Some(Features { feature })
    }

    #[test]
    fn every_entry_becomes_an_example() {
        let body = r#"{"examples": [{"x": 1.5, "n": [1, 2]}, {}], "example_format": "example"}"#;
        let strings = strings_of(body, &Limits::default()).unwrap();
        let floats = feature(Kind::FloatList(FloatList { value: vec![1.5] }));
        let expected = Example { features: features(&[("x", floats), ("n", integers(&[1, 2]))]) };
        assert_eq!(Example::decode(strings[0].clone()).unwrap(), expected);
        assert_eq!(Example::decode(strings[1].clone()).unwrap().features, features(&[]));
        assert_eq!(strings.len(), 2);
    }

    #[test]
    fn sequences_have_a_context_and_lists_of_features() {
        let body = r#"{"example_format": "sequence_example", "examples": [
            {"context": {"n": 5}, "feature_lists": {"t": [["a", "b"], [], "c"], "m": []}},
            {"feature_lists": {"m": [[1], [2, 3]]}}]}"#;
        let strings = strings_of(body, &Limits::default()).unwrap();
        let texts = |values: &[&'static str]| {
            feature(Kind::BytesList(BytesList {
                value: values.iter().map(|text| Bytes::from(*text)).collect(),
            }))
        };
        let lists = |lists: &[(&str, Vec<Feature>)]| {
            let list = |(name, feature): &(&str, Vec<Feature>)| {
                ((*name).to_owned(), FeatureList { feature: feature.clone() })
            };
            Some(FeatureLists { feature_list: lists.iter().map(list).collect() })
        };
        let first = SequenceExample {
            context: features(&[("n", integers(&[5]))]),
            feature_lists: lists(&[
                ("t", vec![texts(&["a", "b"]), Feature::default(), texts(&["c"])]),
                ("m", vec![]),
            ]),
        };
        let second = SequenceExample {
            context: None,
            feature_lists: lists(&[("m", vec![integers(&[1]), integers(&[2, 3])])]),
        };
        assert_eq!(SequenceExample::decode(strings[0].clone()).unwrap(), first);
        assert_eq!(SequenceExample::decode(strings[1].clone()).unwrap(), second);
    }

    #[test]
    fn a_list_with_context_is_one_string() {
        let body = r#"{"context": {"q": 1}, "examples": [{"d": 2}, {"d": 3}], "example_format": "elwc"}"#;
        let strings = strings_of(body, &Limits::default()).unwrap();
        let example = |name, value| Example { features: features(&[(name, integers(&[value]))]) };
        let expected = ExampleListWithContext {
            examples: vec![example("d", 2), example("d", 3)],
            context: Some(example("q", 1)),
        };
        assert_eq!(strings.len(), 1);
        assert_eq!(ExampleListWithContext::decode(strings[0].clone()).unwrap(), expected);
    }

    #[test]
    fn faults_have_a_place_and_a_reason() {
        let limits = Limits { elements: 2, string_size: 40, ..Limits::default() };
        for (body, expected) in [
            (r#"{"examples": [{"x": 1}], "context": {}}"#, "/context: A 'context' of all examples goes with"),
            (r#"{"examples": [{}], "example_format": 1}"#, "/example_format: JSON Value: 1 'example_format'"),
            (r#"{"examples": [{}], "example_format": "x"}"#, "/example_format: JSON Value: \"x\" "),
            (r#"{"examples": []}"#, "/examples: JSON Value: [] 'examples' value is an empty array"),
            (r#"{"examples": [1]}"#, "/examples/0: Example must be JSON object but got JSON Number"),
            (r#"{"examples": [{}, {}, {}]}"#, "/examples/2: More than 2 elements"),
            (
                r#"{"examples": [{}, {"x": "0123456789012345678901234567890123456789"}]}"#,
                "/examples/1: More than 40 bytes in a string",
            ),
            (
                r#"{"example_format": "elwc", "examples": [{}, {"x": "0123456789012345678901234567890123456789"}]}"#,
                "/examples: More than 40 bytes",
            ),
            (
                r#"{"example_format": "sequence_example", "examples": [{"x": 1}]}"#,
                "/examples/0/x: A sequence example has",
            ),
            (r#"{"example_format": "sequence_example", "examples": [5]}"#, "/examples/0: Example must be"),
            (
                r#"{"example_format": "sequence_example", "examples": [{"feature_lists": [1]}]}"#,
                "/examples/0/feature_lists: Example must be JSON object",
            ),
            (
                r#"{"example_format": "sequence_example", "examples": [{"feature_lists": {"t": 1}}]}"#,
                "/examples/0/feature_lists/t: Feature list: t must be a list",
            ),
            (
                r#"{"example_format": "sequence_example", "examples": [{"feature_lists": {"t": [[1], [2], [3]]}}]}"#,
                "/examples/0/feature_lists/t/2: More than 2 elements",
            ),
            (
                r#"{"example_format": "sequence_example", "examples": [{"feature_lists": {"t": [[1], [2, "a"]]}}]}"#,
                "/examples/0/feature_lists/t/1/1: Unexpected element type in feature: t",
            ),
        ] {
            let error = strings_of(body, &limits).unwrap_err();
            assert!(error.message().starts_with(expected), "{body}: {error}");
        }
    }
}
