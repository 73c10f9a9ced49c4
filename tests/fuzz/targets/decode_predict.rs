//! A predict body of any bytes is read exactly as [`reference`] reads it, or refused exactly
//! where [`reference`] finds no meaning. Where serde knows no answer, or nobody tells the
//! signatures, tensors are at least whole.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tfbridge::codec::{Limits, dtype, predict};
use tfbridge::proto::tensorflow::{DataType, TensorProto};
use tfbridge_fuzz::json::{self, Document, Json};
use tfbridge_fuzz::reference;

fuzz_target!(|data: &[u8]| {
    let Some((signatures, body)) = reference::signatures(data) else { return };
    let body = Bytes::copy_from_slice(body);
    let checked = predict::check(&body, &Limits::default());
    let decoded = predict::decode(&body, &signatures, &Limits::default());
    if let Ok(predict) = &decoded {
        checked.as_ref().expect("what decodes passes the check");
        predict.inputs.values().for_each(assert_whole);
    }
    let guessed = predict::decode_guessed(&body, &Limits::default());
    if let Ok(predict) = &guessed {
        predict.inputs.values().for_each(assert_whole);
    }
    if let Err(error) = &checked {
        assert_eq!(guessed.expect_err("what fails the check").message(), error.message());
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
    assert_eq!(decoded.ok(), reference::predict(&json, &signatures), "{json:?}");
});

/// A tensor has as many elements as its shape says.
fn assert_whole(tensor: &TensorProto) {
    let shape = tensor.tensor_shape.as_ref().expect("a shape");
    let elements: usize = shape.dim.iter().map(|dim| usize::try_from(dim.size).expect("a size")).product();
    let strings = if tensor.dtype() == DataType::DtString { elements } else { 0 };
    let width = dtype::width(tensor.dtype()).unwrap_or(0);
    assert_eq!((tensor.tensor_content.len(), tensor.string_val.len()), (elements * width, strings));
    if width == 0 && strings == 0 {
        assert_eq!(elements, 0, "elements without a form in JSON");
    }
}
