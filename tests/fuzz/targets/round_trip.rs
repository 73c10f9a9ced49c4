//! What is printed reads back: decode after encode is the identity, for every dtype, in both
//! formats, from either encoding of the elements.

#![no_main]

use std::collections::HashMap;

use bytes::Bytes;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use tfbridge::codec::NanStyle;
use tfbridge::codec::predict::{self, Format};
use tfbridge::codec::signature::{Input, Signature, Signatures};
use tfbridge::proto::tensorflow::TensorProto;
use tfbridge_fuzz::codec::{self, WIDE};
use tfbridge_fuzz::tensors;

fuzz_target!(|data: &[u8]| {
    let _ = check(&mut Unstructured::new(data));
});

fn check(input: &mut Unstructured<'_>) -> Result<()> {
    let format = if input.arbitrary()? { Format::Row } else { Format::Columnar };
    let rows = if format == Format::Row { Some(usize::from(input.int_in_range(1..=9_u8)?)) } else { None };
    let count = input.int_in_range(1..=3)?;
    let outputs: HashMap<String, TensorProto> = ["x_bytes", "y_bytes", "z_bytes"]
        .into_iter()
        .take(count)
        .map(|name| Ok((name.to_owned(), tensors::tensor(input, rows)?)))
        .collect::<Result<_>>()?;

    let text = predict::encode(&outputs, format, NanStyle::Literal).expect("sound tensors");
    let typed = outputs.iter().map(|(name, tensor)| (name.clone(), tensors::typed(tensor))).collect();
    let typed_text = predict::encode(&typed, format, NanStyle::Literal).expect("sound tensors");
    assert_eq!(Bytes::from(typed_text), Bytes::from(text.clone()));

    let request = to_request(&text, format);
    let decoded = codec::decode(&request, &signatures(&outputs), &WIDE).expect("what was printed");
    assert_eq!(decoded.format, format);
    for (name, tensor) in &outputs {
        assert_eq!(decoded.inputs[name], tensors::canonical(tensor), "{name}");
    }
    Ok(())
}

/// The reply put back as a request.
fn to_request(text: &[u8], format: Format) -> Bytes {
    let (key, request_key) = match format {
        Format::Row => ("{\"predictions\":", "{\"instances\":"),
        Format::Columnar => ("{\"outputs\":", "{\"inputs\":"),
    };
    let values = text.strip_prefix(key.as_bytes()).expect("the key");
    [request_key.as_bytes(), values].concat().into()
}

fn signatures(outputs: &HashMap<String, TensorProto>) -> Signatures {
    let input = |(name, tensor): (&String, &TensorProto)| Input {
        name: name.clone(),
        dtype: tensor.dtype(),
        shape: None,
    };
    [("serving_default".to_owned(), Signature::new(outputs.iter().map(input).collect()))]
        .into_iter()
        .collect()
}
