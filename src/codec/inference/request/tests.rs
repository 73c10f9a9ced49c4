//! What bodies of the protocol mean, and what is wrong with others.

use super::*;
use crate::codec::dense::{Dense, Elements};
use crate::codec::inference::reply;
use crate::codec::signature::Input as Wanted;
use crate::codec::writer::NanStyle;
use crate::proto::tensorflow::DataType;
use crate::proto::tensorflow::serving::PredictResponse;

fn signatures() -> Signatures {
    let input = |name: &str, dtype| Wanted { name: name.to_owned(), dtype, shape: Some(vec![-1, 2]) };
    let x = || input("x", DataType::DtFloat);
    Signatures::from_iter([
        ("serving_default".to_owned(), Signature::new(vec![x()])),
        ("two".to_owned(), Signature::new(vec![x(), input("s", DataType::DtString)])),
    ])
}

fn decode_with(json: &str, binary: &[u8], header: Option<usize>) -> Result<Decoded<Form>> {
    let limits = Limits { rank: 3, elements: 100, string_size: 5, depth: 10, inflated: usize::MAX };
    let rules = Rules { limits, check_shapes: false };
    let body = Bytes::from([json.as_bytes(), binary].concat());
    super::decode(&body, header, &Parameters::default(), Some(&signatures()), &rules)
}

fn decode(json: &str, binary: &[u8]) -> Result<Decoded<Form>> {
    decode_with(json, binary, (!binary.is_empty()).then_some(json.len()))
}

fn floats(values: &[f32]) -> Elements {
    Elements::Numbers(values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>().into())
}

fn x(members: &str) -> String {
    format!(r#"{{"inputs":[{{"name":"x",{members}}}]}}"#)
}

#[test]
fn data_is_flat_or_nested() {
    for members in [
        r#""shape":[2,2],"datatype":"FP32","data":[1,2.5,3,4]"#,
        r#""shape":[2,2],"datatype":"FP32","data":[[1,2.5],[3,4]]"#,
        r#""data":[1,2.5,3,4],"extra":{"a":[]},"parameters":null,"datatype":"FP32","shape":[2,2]"#,
    ] {
        let decoded = decode(&x(members), b"").unwrap();
        let dense = Dense::new("x", &decoded.inputs["x"]).unwrap();
        assert_eq!((dense.dimensions, dense.elements), (vec![2, 2], floats(&[1.0, 2.5, 3.0, 4.0])));
    }
    for (members, dimensions) in [
        (r#""shape":[],"datatype":"FP32","data":[1]"#, vec![]),
        (r#""shape":[],"datatype":"FP32","data":1"#, vec![]),
        (r#""shape":[1,1,1],"datatype":"FP32","data":[1]"#, vec![1, 1, 1]),
    ] {
        let decoded = decode(&x(members), b"").unwrap();
        let dense = Dense::new("x", &decoded.inputs["x"]).unwrap();
        assert_eq!((dense.dimensions, dense.elements), (dimensions, floats(&[1.0])));
    }
    let decoded = decode(&x(r#""shape":[0,2],"datatype":"FP32","data":[]"#), b"").unwrap();
    assert_eq!(Dense::new("x", &decoded.inputs["x"]).unwrap().dimensions, [0, 2]);
}

#[test]
fn binary_data_is_shared() {
    let json = concat!(
        r#"{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}},"#,
        r#"{"name":"s","shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":9}}],"#,
        r#""outputs":[{"name":"y","parameters":{"binary_data":false}},{"name":"z"}],"#,
        r#""parameters":{"signature_name":"two","binary_data_output":true},"id":"a/1"} "#
    );
    let binary = [&1_f32.to_le_bytes()[..], &2_f32.to_le_bytes(), b"\x01\0\0\0a\0\0\0\0"].concat();
    let body = Bytes::from([json.as_bytes(), &binary].concat());
    let rules = Rules { limits: Limits::default(), check_shapes: false };
    let decoded =
        super::decode(&body, Some(json.len()), &Parameters::default(), Some(&signatures()), &rules).unwrap();
    let content = &decoded.inputs["x"].tensor_content;
    assert!(body.as_ptr_range().contains(&content.as_ptr()), "it is no copy");
    assert_eq!(content, &binary[..8]);
    assert_eq!(decoded.inputs["s"].string_val, ["a", ""]);
    assert_eq!((decoded.signature_name.as_str(), decoded.output_filter.len()), ("two", 2));
    let output = |name: &str, binary| Output { name: name.to_owned(), binary };
    let outputs = vec![output("y", Some(false)), output("z", None)];
    assert_eq!(decoded.form, Form { id: Some("a/1".to_owned()), outputs, binary: true, top_k: None });
    assert_eq!(most_strings(&body, json.len(), &Limits::default()), 2);
    assert_eq!(most_strings(&body, body.len() + 1, &Limits::default()), 0);
}

fn check(json: &str, binary: &[u8], expected: &str) {
    let error = decode(json, binary).unwrap_err();
    assert_eq!((error.status().as_u16(), error.message()), (400, expected), "{json}");
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let shaped = |shape: &str, data: &str| x(&format!(r#""datatype":"FP32","shape":{shape},"data":{data}"#));
    check("", b"", "JSON Parse error: The document is empty");
    check("[]", b"", "The body must be an object, not []");
    check("{}", b"", "Missing 'inputs' key");
    check(r#"{"inputs":[]}"#, b"", "Missing named input: x in 'inputs'.");
    check(r#"{"inputs":[1]}"#, b"", "/inputs/0: An input must be an object, not 1");
    check(r#"{"inputs":[{"name":"x"}]}"#, b"", "/inputs/0: An input has no datatype");
    check(r#"{"id":1,"inputs":[]}"#, b"", "/id: The id must be a string, not 1");
    check(
        &x(r#""datatype":"FP33","shape":[1]"#),
        b"",
        "/inputs/0/datatype: \"FP33\" is no datatype; these are: BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, \
         INT32, INT64, FP16, BF16, FP32, FP64, BYTES",
    );
    check(
        &shaped("[2]", "[1,true]"),
        b"",
        "/inputs/0/data/1: JSON Value: true Type: True is not of expected type: float",
    );
    check(
        &shaped("[3]", "[1,2]"),
        b"",
        "inputs[0] \"x\": 2 elements of data for the shape [3], which takes 3",
    );
    check(
        &shaped("[2,3]", "[[1,2],[3,4],[5,6]]"),
        b"",
        "inputs[0] \"x\": data of the shape [3,2], but its shape is [2,3]",
    );
    check(&shaped("[-1]", "[1]"), b"", "inputs[0] \"x\": a shape with the negative size -1");
    check(&shaped("[1.5]", "[1]"), b"", "/inputs/0/shape/0: A size must be an integer, not 1.5");
    check(
        &shaped("[4294967296,4294967296,4294967296]", "[1]"),
        b"",
        "inputs[0] \"x\": a shape of more than 100 elements",
    );
    check(&x(r#""datatype":"FP32","shape":[1]"#), b"", "inputs[0] \"x\": there is no data");
    check(
        &x(r#""datatype":"FP32","shape":[1],"data":[1],"data":[1]"#),
        b"",
        "/inputs/0/data: An input has its data twice",
    );
    check(
        &x(r#""datatype":"FP64","shape":[1],"data":[1]"#),
        b"",
        "The input \"x\" is of datatype FP64, but the signature wants FP32",
    );
    check(
        r#"{"inputs":[{"name":"q","datatype":"FP32","shape":[1],"data":[1]}]}"#,
        b"",
        "There is no input \"q\" in the signature; it has: x",
    );
    let twice = r#"{"name":"x","datatype":"FP32","shape":[1],"data":[1]}"#;
    check(
        &format!(r#"{{"inputs":[{twice},{twice}]}}"#),
        b"",
        "inputs[1] \"x\": an input of this name stands before it",
    );
}

#[test]
fn sizes_that_disagree_are_told() {
    let sized = |size: &str| {
        x(&format!(r#""datatype":"FP32","shape":[4],"parameters":{{"binary_data_size":{size}}}"#))
    };
    check(
        &sized("12"),
        &[0; 12],
        "inputs[0] \"x\": 12 bytes of binary data for 4 elements of FP32, which take 16",
    );
    check(&sized("16"), &[0; 17], "1 bytes of binary data are left behind those of all inputs");
    check(
        &sized("16"),
        &[0; 15],
        "inputs[0] \"x\": its binary data has 16 bytes, but 15 are left of the body",
    );
    check(
        &sized("-1"),
        &[0; 4],
        "/inputs/0/parameters/binary_data_size: The size of the binary data is negative",
    );
    check(
        &x(r#""datatype":"FP32","shape":[1],"data":[1],"parameters":{"binary_data_size":4}"#),
        &[0; 4],
        "inputs[0] \"x\": there is data both in the JSON and in binary form",
    );
    check(
        &x(r#""datatype":"FP32","shape":[1],"parameters":{"shared_memory_region":"r"}"#),
        b"",
        "/inputs/0/parameters/shared_memory_region: Shared memory is not supported",
    );
    check(
        r#"{"inputs":[],"outputs":[{"name":"y","parameters":{"classification":2}}]}"#,
        b"",
        "/outputs/0/parameters/classification: The parameter classification is not supported",
    );
    check(
        r#"{"inputs":[],"parameters":{"signature_name":"no"}}"#,
        b"",
        "Serving signature name: \"no\" not found in signature def",
    );
}

#[test]
fn a_header_that_lies_is_told() {
    let json = x(r#""datatype":"FP32","shape":[1],"data":[1]"#);
    let check = |binary: &[u8], header: Option<usize>, expected: &str| {
        assert_eq!(decode_with(&json, binary, header).unwrap_err().message(), expected);
    };
    let size = json.len();
    check(
        b"",
        Some(size + 1),
        &format!("Inference-Header-Content-Length is {}, but the body has {size} bytes", size + 1),
    );
    check(
        b"abcd",
        Some(size + 4),
        &format!("The JSON ends after {size} bytes and not after {}, as its header says", size + 4),
    );
    check(b"", Some(0), "JSON Parse error: The document is empty");
    check(
        b"abcd",
        None,
        "There are 4 bytes behind the JSON; binary data needs the header Inference-Header-Content-Length",
    );
    let error = decode_with(&json, b"", Some(size - 1)).unwrap_err();
    assert!(error.message().starts_with("JSON Parse error: Missing a comma or '}'"), "{error}");
    assert!(decode_with(&json, b"", Some(size)).is_ok());
}

#[test]
fn an_output_is_answered_once_however_often_it_is_named() {
    let body = Bytes::from(x(r#""shape":[1],"datatype":"FP32","data":[1]"#));
    let parameters = Parameters { outputs: vec!["y".to_owned(); 3], ..Parameters::default() };
    let rules = Rules { limits: Limits::default(), check_shapes: false };
    let decoded = super::decode(&body, None, &parameters, None, &rules).unwrap();
    assert_eq!(decoded.output_filter, ["y"]);
}

/// Changes a few bytes, takes some out and puts some in.
fn mutate(body: &mut Vec<u8>, random: &mut fastrand::Rng) {
    for _ in 0..random.usize(1..4) {
        let at = random.usize(..=body.len());
        match random.u8(..4) {
            0 => body.insert(at, random.choice(*b"[]{},:\"-0123456789.eE\\ \0\xff").unwrap_or(b' ')),
            1 if at < body.len() => drop(body.remove(at)),
            2 if at < body.len() => body[at] = random.u8(..),
            _ => body.truncate(body.len() - random.usize(..=body.len().min(3))),
        }
    }
}

#[test]
fn mutated_bodies_are_refused_or_come_back() {
    let tensor = |datatype: &str, shape: &str, rest: &str| {
        format!(r#"{{"inputs":[{{"name":"x","shape":{shape},"datatype":"{datatype}",{rest}}}]}}"#)
    };
    let size = |size: usize| format!(r#""parameters":{{"binary_data_size":{size}}}"#);
    let seeds = [
        (tensor("FP32", "[2,1]", r#""data":[[1.5],[2]]"#), &b""[..]),
        (tensor("BYTES", "[2]", r#""data":["a",{"b64":"/w=="}]"#), b""),
        (tensor("INT16", "[2]", &size(4)), b"\x01\x02\x03\x04"),
        (tensor("BYTES", "[1,2]", &size(11)), b"\x02\0\0\0ab\x01\0\0\0\xff"),
        (tensor("BOOL", "[0,3]", &size(0)), b""),
    ];
    let mut random = fastrand::Rng::with_seed(7);
    let rules = Rules { limits: Limits::default(), check_shapes: true };
    let decode = |body: &Bytes, length| super::decode(body, length, &Parameters::default(), None, &rules);
    let mut accepted = 0;
    for _ in 0..20_000 {
        let (json, binary) = random.choice(&seeds).unwrap();
        let mut body = [json.as_bytes(), binary].concat();
        if random.u8(..10) > 0 {
            mutate(&mut body, &mut random);
        }
        let length = (!binary.is_empty() || random.bool())
            .then(|| (json.len() + random.usize(..3)).saturating_sub(random.usize(..3)));
        let body = Bytes::from(body);
        let Ok(Decoded { inputs, .. }) = decode(&body, length) else { continue };
        accepted += 1;
        assert!(most_strings(&body, length.unwrap_or(body.len()), &rules.limits) <= body.len() / 4);
        // What was read is written in binary form, and read again.
        let reply = PredictResponse { outputs: inputs.clone(), ..PredictResponse::default() };
        let form = Form { binary: true, ..Form::default() };
        let Ok(written) = reply::encode(&form, "m", &reply, NanStyle::Literal) else { continue };
        let start = br#"{"model_name":"m","outputs":"#;
        let again = [&br#"{"inputs":"#[..], written.body.strip_prefix(start).unwrap()].concat();
        let length = written.json_length.map(|length| length - start.len() + br#"{"inputs":"#.len());
        assert_eq!(decode(&again.into(), length).unwrap().inputs, inputs);
    }
    assert!(accepted > 1000, "{accepted}");
}
