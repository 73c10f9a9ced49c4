//! Indented JSON says what the compact JSON said, to the letter but for white space.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde_json::Value;
use tfbridge::codec::pretty;

fuzz_target!(|data: &[u8]| {
    let Some(value) = parse(data) else { return };
    let compact = serde_json::to_vec(&value).expect("a value");
    let indented = pretty::indent(&compact);
    let read = parse(&indented).expect("JSON");
    assert_eq!(serde_json::to_vec(&read).expect("a value"), compact);
});

fn parse(json: &[u8]) -> Option<Value> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    deserializer.disable_recursion_limit();
    let value = Value::deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    Some(value)
}
