//! Text of any kind is to every reader of JSON what it is to serde, and indented it says the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tfbridge::codec::{model, pretty, signature};
use tfbridge_fuzz::codec::{self, TIGHT, WIDE};
use tfbridge_fuzz::json::{self, Json};

fuzz_target!(|data: &[u8]| {
    let checked = codec::check(data, &WIDE);
    let is_syntax = checked.as_ref().is_err_and(|error| error.message().starts_with("JSON Parse error"));
    match json::parse_proper(&json::to_proper(data)) {
        // What follows a number is not looked at, but serde sees that `00` is none.
        None => assert!(
            is_syntax || checked.is_err_and(|error| error.message().ends_with("Is not object")),
            "malformed"
        ),
        Some(json) => {
            assert!(!is_syntax, "{checked:?}");
            let has_name = matches!(json.get("signature_name"), None | Some(Json::String(_)));
            assert_eq!(checked.is_ok(), matches!(json, Json::Object(_)) && has_name);
            let is_within = json.depth() <= TIGHT.depth;
            assert_eq!(codec::check(data, &TIGHT).is_ok(), checked.is_ok() && is_within);
        }
    }

    // Within serde's own limit on nesting.
    let value = serde_json::from_slice::<Value>(data).ok();
    if value.is_none() {
        assert!(signature::file::parse(data).is_err() && model::decode_reload(data).is_err());
    }
    let Some(value) = value else { return };
    let _ = (signature::file::parse(data), model::decode_reload(data));
    let compact = serde_json::to_vec(&value).expect("a value");
    let indented = pretty::indent(&compact);
    assert!(indented.len() <= 64 * compact.len() + 1, "too much space");
    let read: Value = serde_json::from_slice(&indented).expect("JSON");
    assert_eq!(serde_json::to_vec(&read).expect("a value"), compact);
});
