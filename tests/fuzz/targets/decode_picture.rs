//! A picture of any bytes is refused, or becomes a tensor whose elements are as many as its shape says and within
//! the limits.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tfbridge::codec::Limits;
use tfbridge::codec::body::{self, Rules};
use tfbridge::codec::dtype;
use tfbridge::codec::media::Agreement;
use tfbridge::codec::signature::{Input, Signature, Signatures};
use tfbridge::proto::tensorflow::DataType;

/// What the input may be, by the first byte.
const DTYPES: [DataType; 4] = [DataType::DtFloat, DataType::DtUint8, DataType::DtInt32, DataType::DtBfloat16];
const SHAPES: [&[i64]; 4] = [&[-1, -1, -1, 3], &[-1, 5, 7, 1], &[-1, -1, 4], &[3, 3, 3]];

/// Small enough for a fuzzer's memory.
const LIMITS: Limits = Limits { depth: 8, rank: 4, elements: 1 << 18, string_size: 1 << 20, inflated: 1 << 24 };

fuzz_target!(|data: &[u8]| {
    let Some((&choice, file)) = data.split_first() else { return };
    let dtype = DTYPES[usize::from(choice % 4)];
    let shape = SHAPES[usize::from(choice / 4 % 4)].to_vec();
    let input = Input { name: "x".to_owned(), dtype, shape: Some(shape) };
    let signatures = Signatures::from_iter([("serving_default".to_owned(), Signature::new(vec![input]))]);
    let query = if choice >= 128 { "resize=9x4" } else { "" };
    let agreement = Agreement::new(Some("image/any"), [], Some(query)).expect("it can be read");
    let rules = Rules { limits: LIMITS, check_shapes: false };
    let Ok(decoded) =
        body::decode(&agreement, &Bytes::copy_from_slice(file), Some(&signatures), &rules, None)
    else {
        return;
    };
    let tensor = &decoded.inputs["x"];
    let sizes = tensor.tensor_shape.iter().flat_map(|shape| &shape.dim).map(|dim| dim.size as usize);
    let elements: usize = sizes.product();
    assert!(elements <= LIMITS.elements);
    assert_eq!(tensor.tensor_content.len(), elements * dtype::width(dtype).expect("a number"));
    assert!(body::memory(&agreement, file, Some(&signatures)) >= tensor.tensor_content.len());
});
