//! A predict body of any bytes is read exactly as [`reference`] reads it, or refused exactly
//! where [`reference`] finds no meaning. Where serde knows no answer, or nobody tells the
//! signatures, tensors are at least whole.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tfbridge::codec::dtype;
use tfbridge::codec::predict::{self, Predict};
use tfbridge::codec::signature::{DEFAULT_SIGNATURE, Input, Signature, Signatures};
use tfbridge::proto::tensorflow::{DataType, TensorProto};
use tfbridge_fuzz::codec::{self, TIGHT, WIDE};
use tfbridge_fuzz::json::{self, Document};
use tfbridge_fuzz::reference;

fuzz_target!(|data: &[u8]| {
    let Some((signatures, body)) = reference::signatures(data) else { return };
    let body = Bytes::copy_from_slice(body);
    let checked = codec::check(&body, &WIDE);
    let decoded = codec::decode(&body, &signatures, &WIDE);
    if let Ok(predict) = &decoded {
        checked.as_ref().expect("what decodes passes the check");
        predict.inputs.values().for_each(assert_whole);
    }
    let guessed = codec::decode_guessed(&body, &WIDE);
    if let Ok(predict) = &guessed {
        predict.inputs.values().for_each(assert_whole);
        assert_good(predict, &body);
    }
    if let Err(error) = &checked {
        assert_eq!(guessed.as_ref().expect_err("what fails the check").message(), error.message());
    }
    // Within tight limits it is read as ever, or not at all.
    for (tight, wide) in [
        (codec::decode(&body, &signatures, &TIGHT), &decoded),
        (codec::decode_guessed(&body, &TIGHT), &guessed),
    ] {
        if let Ok(tight) = &tight {
            assert_eq!(Some(tight), wide.as_ref().ok());
            tight.inputs.values().for_each(assert_within);
        }
    }
    let json = match json::parse(&body) {
        Document::Beyond => return,
        Document::Malformed => {
            let error = checked.expect_err("malformed");
            // What follows a number is not looked at, but serde sees that `00` is none.
            let is_number = error.message().ends_with("Is not object");
            assert!(is_number || error.message().starts_with("JSON Parse error"), "{error}");
            return;
        }
        Document::Json(json) => json,
    };
    if let Err(error) = checked {
        assert!(!error.message().starts_with("JSON Parse error"), "{error}");
    }
    if json.get("examples").is_some() {
        let given = ["instances", "inputs"].iter().filter_map(|name| json.get(name)).count();
        assert!(given == 0 || decoded.is_err(), "{json:?}");
        return;
    }
    assert_eq!(decoded.ok(), reference::predict(&json, &signatures), "{json:?}");
});

/// What was guessed is what signatures would have told, and of a shape that they may ask for.
fn assert_good(guess: &Predict, body: &Bytes) {
    let signatures = signatures_of(guess);
    assert_eq!(codec::decode(body, &signatures, &WIDE).expect("a good guess"), *guess);
    predict::check_shapes(body, guess, &signatures).expect("its own shapes");
    let more = |tensor: &TensorProto| TensorProto {
        tensor_shape: tensor.tensor_shape.clone().map(|mut shape| {
            shape.dim.push(Default::default());
            shape
        }),
        ..tensor.clone()
    };
    let inputs = guess.inputs.iter().map(|(name, tensor)| (name.clone(), more(tensor))).collect();
    let other = Predict { inputs, ..guess.clone() };
    assert!(predict::check_shapes(body, &other, &signatures).is_err() || guess.inputs.is_empty());
}

/// The signatures by which a body means what was guessed.
fn signatures_of(predict: &Predict) -> Signatures {
    let input = |(name, tensor): (&String, &TensorProto)| Input {
        name: name.clone(),
        dtype: tensor.dtype(),
        shape: Some(sizes(tensor).map(|size| size as i64).collect()),
    };
    let signature = Signature::new(predict.inputs.iter().map(input).collect());
    let name = if predict.signature_name.is_empty() { DEFAULT_SIGNATURE } else { &predict.signature_name };
    Signatures::from_iter([(name.to_owned(), signature)])
}

/// A tensor has as many elements as its shape says.
fn assert_whole(tensor: &TensorProto) {
    let elements: usize = sizes(tensor).product();
    let strings = if tensor.dtype() == DataType::DtString { elements } else { 0 };
    let width = dtype::width(tensor.dtype()).unwrap_or(0);
    assert_eq!((tensor.tensor_content.len(), tensor.string_val.len()), (elements * width, strings));
    if width == 0 && strings == 0 {
        assert_eq!(elements, 0, "elements without a form in JSON");
    }
}

fn sizes(tensor: &TensorProto) -> impl Iterator<Item = usize> {
    let shape = tensor.tensor_shape.as_ref().expect("a shape");
    shape.dim.iter().map(|dim| usize::try_from(dim.size).expect("a size"))
}

fn assert_within(tensor: &TensorProto) {
    let elements: usize = sizes(tensor).product();
    assert!(sizes(tensor).count() <= TIGHT.rank && elements <= TIGHT.elements);
    assert!(tensor.string_val.iter().all(|string| string.len() <= TIGHT.string_size));
}
