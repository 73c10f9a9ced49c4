//! A classify or regress body of any bytes is refused, or gives an example for each item of
//! `examples` with the features that the item has.

#![no_main]

use std::collections::BTreeSet;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tfbridge::proto::tensorflow::Example;
use tfbridge::proto::tensorflow::feature::Kind;
use tfbridge::proto::tensorflow::serving::input;
use tfbridge_fuzz::codec::{self, TIGHT, WIDE};
use tfbridge_fuzz::json::{self, Document, Json};

fuzz_target!(|data: &[u8]| {
    let body = Bytes::copy_from_slice(data);
    let tasks = codec::decode_multi_inference(&body, &WIDE);
    let decoded = codec::decode_examples(&body, &WIDE);
    if let Ok(tasks) = &tasks {
        assert!(!tasks.tasks.is_empty());
    }
    let json = json::parse(data);
    // Within tight limits it is read as ever, or not at all.
    let tight = codec::decode_examples(&body, &TIGHT);
    let tight_tasks = codec::decode_multi_inference(&body, &TIGHT);
    assert!(tasks.is_ok() || tight_tasks.is_err());
    let Ok(decoded) = decoded else {
        tight.expect_err("what is refused within wide limits");
        return;
    };
    if let (Ok(tight), Document::Json(_)) = (&tight, &json) {
        assert_eq!(*tight, decoded);
    }
    if let (Ok(tasks), Document::Json(_)) = (&tasks, &json) {
        assert_eq!(tasks.input, decoded.input);
    }
    let (context, examples) = match decoded.input.kind.expect("a kind") {
        input::Kind::ExampleList(list) => (None, list.examples),
        input::Kind::ExampleListWithContext(list) => (list.context, list.examples),
    };
    let json = match json {
        Document::Beyond => return,
        Document::Malformed => panic!("read what is no JSON"),
        Document::Json(json) => json,
    };
    let Some(Json::List(items)) = json.get("examples") else { panic!("no list") };
    assert_eq!(examples.len(), items.len());
    items.iter().zip(&examples).for_each(|(item, example)| assert_same(item, example));
    assert_eq!(json.get("context").is_some(), context.is_some());
    json.get("context").iter().zip(&context).for_each(|(item, example)| assert_same(item, example));
});

fn assert_same(item: &Json, example: &Example) {
    let Json::Object(members) = item else { panic!("no object") };
    let features = &example.features.as_ref().expect("features").feature;
    let names: BTreeSet<&String> = members.iter().map(|(name, _)| name).collect();
    assert_eq!(features.keys().collect::<BTreeSet<_>>(), names);
    for (name, feature) in features {
        // The last one counts.
        let (_, value) = members.iter().rfind(|(key, _)| key == name).expect("it is among the names");
        let elements = match value {
            Json::List(items) => items.as_slice(),
            value => std::slice::from_ref(value),
        };
        match &feature.kind {
            None => assert!(elements.is_empty()),
            Some(Kind::BytesList(list)) => {
                assert_eq!(list.value.len(), elements.len());
                for (value, element) in list.value.iter().zip(elements) {
                    match element {
                        Json::String(text) => assert_eq!(value, text.as_bytes()),
                        element => assert!(matches!(element, Json::Object(_))),
                    }
                }
            }
            Some(Kind::FloatList(list)) => {
                let expected: Vec<u32> = elements.iter().map(|element| float(element).to_bits()).collect();
                assert_eq!(list.value.iter().map(|value| value.to_bits()).collect::<Vec<_>>(), expected);
            }
            Some(Kind::Int64List(list)) => {
                assert_eq!(list.value, elements.iter().map(integer).collect::<Vec<_>>());
            }
        }
    }
}

fn float(element: &Json) -> f32 {
    let Json::Number(token) = element else { panic!("no number") };
    token.parse::<f64>().expect("a number") as f32
}

fn integer(element: &Json) -> i64 {
    match element {
        Json::Bool(value) => i64::from(*value),
        Json::Number(token) => token.parse().expect("an integer"),
        _ => panic!("no integer"),
    }
}
