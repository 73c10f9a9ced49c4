//! Examples as strings: the same messages as in `proto/`, with the entries of their maps written out.
//!
//! An entry may leave out a value that is empty, and prost does. TensorFlow's parser of examples takes that for a
//! broken string; it wants every key and every value to be there, as all other writers have them.

use prost::Message;

use crate::proto::tensorflow::serving::ExampleListWithContext;
use crate::proto::tensorflow::{Example, Feature, FeatureList, Features, SequenceExample};

/// An entry of a map whose value is one of these.
#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(string, optional, tag = "1")]
    key: Option<String>,
    #[prost(message, optional, tag = "2")]
    value: Option<Feature>,
}

/// The same for steps.
#[derive(Clone, PartialEq, Message)]
struct ListEntry {
    #[prost(string, optional, tag = "1")]
    key: Option<String>,
    #[prost(message, optional, tag = "2")]
    value: Option<FeatureList>,
}

/// All features.
#[derive(Clone, PartialEq, Message)]
struct Map {
    #[prost(message, repeated, tag = "1")]
    entries: Vec<Entry>,
}

/// All features of steps.
#[derive(Clone, PartialEq, Message)]
struct ListMap {
    #[prost(message, repeated, tag = "1")]
    entries: Vec<ListEntry>,
}

/// A `tf.Example`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WireExample {
    #[prost(message, optional, tag = "1")]
    features: Option<Map>,
}

/// A `tf.SequenceExample`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WireSequence {
    #[prost(message, optional, tag = "1")]
    context: Option<Map>,
    #[prost(message, optional, tag = "2")]
    feature_lists: Option<ListMap>,
}

/// An `ExampleListWithContext`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WireList {
    #[prost(message, repeated, tag = "1")]
    examples: Vec<WireExample>,
    #[prost(message, optional, tag = "2")]
    context: Option<WireExample>,
}

impl From<Features> for Map {
    fn from(features: Features) -> Self {
        let entry = |(key, value)| Entry { key: Some(key), value: Some(value) };
        Self { entries: features.feature.into_iter().map(entry).collect() }
    }
}

impl From<Example> for WireExample {
    fn from(example: Example) -> Self {
        Self { features: example.features.map(Map::from) }
    }
}

impl From<SequenceExample> for WireSequence {
    fn from(sequence: SequenceExample) -> Self {
        let entry = |(key, value)| ListEntry { key: Some(key), value: Some(value) };
        let lists = sequence.feature_lists;
        Self {
            context: sequence.context.map(Map::from),
            feature_lists: lists
                .map(|lists| ListMap { entries: lists.feature_list.into_iter().map(entry).collect() }),
        }
    }
}

impl From<ExampleListWithContext> for WireList {
    fn from(list: ExampleListWithContext) -> Self {
        Self {
            examples: list.examples.into_iter().map(WireExample::from).collect(),
            context: list.context.map(WireExample::from),
        }
    }
}
