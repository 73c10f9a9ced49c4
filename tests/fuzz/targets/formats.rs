//! A body of any bytes, taken for an array, an archive, a table, a form, a message or a stream, is refused or becomes
//! tensors that are whole, of the dtypes that were wanted and within the limits; and what it has become is
//! written and read again as the same.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tfbridge::codec::body::{self, Form, Rules};
use tfbridge::codec::media::Agreement;
use tfbridge::codec::signature::{Input, Signature, Signatures};
use tfbridge::codec::{Limits, NanStyle, dtype, protobuf};
use tfbridge::proto::tensorflow::serving::PredictResponse;
use tfbridge::proto::tensorflow::{DataType, TensorProto};
use tfbridge_fuzz::codec::{TIGHT, WIDE};
use tfbridge_fuzz::reference;

const TYPES: [&str; 7] = [
    "application/x-npy",
    "application/x-npz",
    "text/csv",
    "text/csv; header=absent",
    "multipart/form-data; boundary=b",
    "application/x-protobuf",
    "application/vnd.apache.arrow.stream",
];

fuzz_target!(|data: &[u8]| {
    let Some((&[choice, wanted], body)) = data.split_first_chunk::<2>() else { return };
    let content_type = TYPES[usize::from(choice & 0x7f) % TYPES.len()];
    let agreement = Agreement::new(Some(content_type), [], None).expect("a known type");
    let dtype = reference::DTYPES[usize::from(wanted) % reference::DTYPES.len()];
    let input = |name: &str, dtype| Input { name: name.to_owned(), dtype, shape: None };
    let mut inputs = vec![input("x", dtype)];
    if choice & 0x80 != 0 {
        inputs.push(input("y", DataType::DtFloat));
    }
    let signatures = Signatures::from_iter([("serving_default".to_owned(), Signature::new(inputs))]);
    let body = Bytes::copy_from_slice(body);
    let decode = |body: &Bytes, signatures, limits: Limits| {
        let rules = Rules { limits, check_shapes: false };
        body::decode(&agreement, body, signatures, &rules, None).map(|decoded| decoded.inputs)
    };
    if content_type == TYPES[5] {
        let rules = Rules { limits: WIDE, check_shapes: true };
        let _ = protobuf::pass(&agreement, &body, Some(&signatures), &rules);
        let _ = decode(&body, Some(&signatures), WIDE);
        return;
    }
    let _ = decode(&body, None, WIDE);
    let decoded = decode(&body, Some(&signatures), WIDE);
    if let Ok(tight) = decode(&body, Some(&signatures), TIGHT) {
        assert_eq!(Some(&tight), decoded.as_ref().ok());
        for tensor in tight.values() {
            assert!(
                sizes(tensor).count() <= TIGHT.rank && sizes(tensor).product::<usize>() <= TIGHT.elements
            );
            assert!(tensor.string_val.iter().all(|string| string.len() <= TIGHT.string_size));
        }
    }
    let Ok(inputs) = decoded else { return };
    for (name, tensor) in &inputs {
        assert_whole(tensor);
        assert_eq!(tensor.dtype(), if name == "x" { dtype } else { DataType::DtFloat });
    }
    // Zeros at the end of strings are lost in arrays, and a short float comes back as a longer one.
    let reply = PredictResponse { outputs: inputs.clone(), ..PredictResponse::default() };
    for form in [Form::Npz, Form::Arrow] {
        let Ok(encoded) = body::encode(&form, &reply, NanStyle::Literal) else { continue };
        let agreement = Agreement::new(Some(encoded.content_type), [], None).expect("a known type");
        // Empty dimensions make others of any size possible, which bodies of some types may not have.
        let limits = Limits { inflated: usize::MAX, elements: usize::MAX, ..WIDE };
        let rules = Rules { limits, check_shapes: false };
        let again = body::decode(&agreement, &encoded.body, Some(&signatures), &rules, None);
        let again = again.expect("what was written can be read").inputs;
        for (name, tensor) in &inputs {
            // Signalling NaNs become quiet where they are made longer.
            if tensor.dtype() != DataType::DtBfloat16 {
                assert_eq!(again[name], *tensor);
            }
        }
    }
});

fn assert_whole(tensor: &TensorProto) {
    let elements: usize = sizes(tensor).product();
    let strings = if tensor.dtype() == DataType::DtString { elements } else { 0 };
    let width = dtype::width(tensor.dtype()).unwrap_or(0);
    assert_eq!((tensor.tensor_content.len(), tensor.string_val.len()), (elements * width, strings));
}

fn sizes(tensor: &TensorProto) -> impl Iterator<Item = usize> {
    let shape = tensor.tensor_shape.as_ref().expect("a shape");
    shape.dim.iter().map(|dim| usize::try_from(dim.size).expect("a size"))
}
