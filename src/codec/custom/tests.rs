//! What routes of one's own make of bodies and replies, case by case.

use super::*;
use crate::codec::dtype;
use crate::codec::limits::Limits;
use crate::codec::signature::Input;
use crate::proto::tensorflow::DataType;
use crate::proto::tensorflow::TensorShapeProto;

const RULES: Rules = Rules { limits: Limits::NONE, check_shapes: true };

fn signatures() -> Signatures {
    let input = |name: &str, dtype, shape: &[i64]| Input {
        name: name.to_owned(),
        dtype,
        shape: Some(shape.to_vec()),
    };
    let x = || input("x", DataType::DtFloat, &[-1, 2]);
    let n = || input("n", DataType::DtInt64, &[-1]);
    let keep = || input("keep_prob", DataType::DtFloat, &[]);
    let s = || input("s", DataType::DtString, &[-1]);
    [("one", vec![x()]), ("kept", vec![x(), keep()]), ("two", vec![x(), n(), keep()]), ("text", vec![s()])]
        .into_iter()
        .map(|(name, inputs)| (name.to_owned(), Signature::new(inputs)))
        .collect()
}

fn mapping(signature_name: &str, format: Format, input_key: Option<&str>) -> Mapping {
    let fixed = match signature_name {
        "kept" | "two" => [("keep_prob".to_owned(), Bytes::from("0.5"))].into(),
        _ => BTreeMap::new(),
    };
    Mapping {
        signature_name: signature_name.to_owned(),
        format,
        input_key: input_key.map(str::to_owned),
        fixed,
        ..Mapping::default()
    }
}

fn agreement(content_type: &str) -> Agreement {
    Agreement::new(Some(content_type), [], None).unwrap()
}

/// The inputs as `name: dtype[sizes]`, sorted, or what is wrong.
fn decoded(mapping: &Mapping, content_type: &str, body: impl Into<Bytes>) -> String {
    let result = decode(mapping, &agreement(content_type), &body.into(), Some(&signatures()), &RULES);
    let decoded = match result {
        Ok(decoded) => decoded,
        Err(error) => return format!("{} {}", error.status().as_u16(), error.message()),
    };
    let mut inputs: Vec<_> = decoded
        .inputs
        .iter()
        .map(|(name, tensor)| {
            let shape = tensor.tensor_shape.as_ref().unwrap();
            let sizes: Vec<_> = shape.dim.iter().map(|dim| dim.size).collect();
            format!("{name}: {}{sizes:?}", dtype::name(tensor.dtype()))
        })
        .collect();
    inputs.sort();
    inputs.join("; ")
}

fn check(mapping: &Mapping, cases: &[(&str, &str)]) {
    for (body, expected) in cases {
        assert_eq!(decoded(mapping, "", body.to_string()), *expected, "{mapping:?} {body}");
    }
}

#[test]
fn a_key_leads_to_whole_tensors() {
    let one = mapping("one", Format::Columnar, Some("input"));
    check(
        &one,
        &[
            (r#"{"input": [[1, 2], [3, 4]]}"#, "x: float[2, 2]"),
            (r#"{"id": [1, {}], "input": {"x": [[1, 2]]}, "input": 5}"#, "x: float[1, 2]"),
            (r#"{"inputs": [[1, 2]]}"#, "400 Missing 'input' key"),
            ("{}", "400 Missing 'input' key"),
            ("[[1, 2]]", "400 JSON Value: [[1, 2]] Is not object"),
            ("", "400 JSON Parse error: The document is empty"),
            (
                r#"{"input": [[1, "2"]]}"#,
                "400 /input/0/1: JSON Value: \"2\" Type: String is not of expected type: float",
            ),
            (
                r#"{"input": {"x": [[1, null]]}}"#,
                "400 /input/x/0/1: JSON Value: null Type: Null is not of expected type: float",
            ),
            (
                r#"{"input": [[1, 2, 3]]}"#,
                "400 /input: Input \"x\" has shape [1,3], but the signature wants [-1,2]",
            ),
            (
                r#"{"input": {"x": [1, 2]}}"#,
                "400 /input/x: Input \"x\" has shape [2], but the signature wants [-1,2]",
            ),
            (r#"{"input": {"y": 1}}"#, "400 /input: Missing named input: x in 'input' object."),
            // What is no JSON further on comes first.
            (r#"{"input": ["a"], "b": tru}"#, "400 JSON Parse error: Invalid value. at offset: 25"),
            (
                r#"{"input": ["a"], "input": [[1, 2]]}"#,
                "400 /input/0: JSON Value: \"a\" Type: String is not of expected type: float",
            ),
        ],
    );
}

#[test]
fn several_inputs_are_an_object_without_those_that_are_fixed() {
    let two = mapping("two", Format::Columnar, Some("in put"));
    check(
        &two,
        &[
            (r#"{"in put": {"x": [[1, 2]], "n": [1]}}"#, "keep_prob: float[]; n: int64[1]; x: float[1, 2]"),
            // It is fixed, whatever a client says.
            (
                r#"{"in put": {"keep_prob": [9], "x": [[1, 2]], "n": [1]}}"#,
                "keep_prob: float[]; n: int64[1]; x: float[1, 2]",
            ),
            (r#"{"in put": {"x": [[1, 2]]}}"#, "400 /in put: Missing named input: n in 'in put' object."),
            (
                r#"{"in put": [[1, 2]]}"#,
                "400 /in put: in put is a plain value/list, but expecting an object as multiple input tensors \
                 required as per tensorinfo_map",
            ),
        ],
    );
    check(
        &mapping("two", Format::Row, Some("rows")),
        &[
            (
                r#"{"rows": [{"x": [1, 2], "n": 1}, {"n": 2, "x": [3, 4]}]}"#,
                "keep_prob: float[]; n: int64[2]; x: float[2, 2]",
            ),
            (
                r#"{"rows": [{"x": [1, 2], "n": 1}, {"x": [1, 2], "n": 1.5}]}"#,
                "400 /rows/1/n: JSON Value: 1.5 Type: Number is not of expected type: int64",
            ),
            (
                r#"{"rows": [{"x": [1, 2], "n": 1, "keep_prob": 1}]}"#,
                "400 /rows/0/keep_prob: JSON object: does not have named input: keep_prob",
            ),
            (r#"{"rows": []}"#, "400 /rows: JSON Value: [] No values in 'rows' array"),
            (r#"{"rows": 5}"#, "400 /rows: JSON Value: 5 Expecting 'rows' to be an list/array"),
        ],
    );
    check(
        &mapping("two", Format::Single, Some("row")),
        &[
            (r#"{"row": {"x": [1, 2], "n": 1}}"#, "keep_prob: float[]; n: int64[1]; x: float[1, 2]"),
            (
                r#"{"row": {"x": [1, 2], "n": [1]}}"#,
                "400 /row/n: Input \"n\" has shape [1,1], but the signature wants [-1]",
            ),
        ],
    );
}

#[test]
fn a_body_without_a_key_is_the_value() {
    let one = mapping("one", Format::Columnar, None);
    check(
        &one,
        &[
            ("[[1, 2]]", "x: float[1, 2]"),
            ("\u{FEFF} {\"x\": [[1, 2]]} ", "x: float[1, 2]"),
            (" ", "400 JSON Parse error: The document is empty. at offset: 1"),
            ("[[1, true]]", "400 /0/1: JSON Value: true Type: True is not of expected type: float"),
            (
                "[[1, 2]] x",
                "400 JSON Parse error: The document root must not be followed by other values. at offset: 9",
            ),
            (
                "[[1, true]",
                "400 JSON Parse error: Missing a comma or ']' after an array element. at offset: 10",
            ),
            ("{\"y\": 1}", "400 Missing named input: x in 'body' object."),
            ("[1, 2]", "400 Input \"x\" has shape [2], but the signature wants [-1,2]"),
        ],
    );
    check(&mapping("kept", Format::Single, None), &[("[1, 2]", "keep_prob: float[]; x: float[1, 2]")]);
    check(&mapping("kept", Format::Row, None), &[("[[1, 2]]", "keep_prob: float[]; x: float[1, 2]")]);
    check(
        &mapping("text", Format::Single, None),
        &[
            ("\"a\"", "s: string[1]"),
            (r#"{"b64": "YQ=="}"#, "s: string[1]"),
            (r#"{"s": "a"}"#, "s: string[1]"),
        ],
    );
}

#[test]
fn what_does_not_fit_the_model_is_no_fault_of_the_client() {
    let fixed = |name: &str, text: &'static str| Mapping {
        fixed: [(name.to_owned(), Bytes::from(text))].into(),
        ..mapping("kept", Format::Columnar, None)
    };
    for (mapping, expected) in [
        (
            fixed("keep_prob", "[true]"),
            "The fixed input \"keep_prob\" is of no use: /0: JSON Value: true Type: True is not of expected type: float",
        ),
        (fixed("keep_prob", "[1]"), "Input \"keep_prob\" has shape [1], but the signature wants []"),
        (mapping("none", Format::Row, None), "Serving signature name: \"none\" not found in signature def"),
    ] {
        assert_eq!(decoded(&mapping, "", "[[1, 2]]"), format!("500 {expected}"));
    }
    let found = decoded(&fixed("keep", "1"), "", "[[1, 2]]");
    assert!(found.starts_with("500 The fixed input \"keep\" is of no use: "), "{found}");
    let untold = decode(&fixed("keep", "1"), &agreement(""), &Bytes::from("1"), None, &RULES);
    assert_eq!(untold.unwrap_err().status(), 500);
}

#[test]
fn all_inputs_may_be_fixed() {
    let fixed = |key| Mapping {
        fixed: [("s".to_owned(), Bytes::from(r#"["a", {"b64": "YQ=="}]"#))].into(),
        ..mapping("text", Format::Row, key)
    };
    check(
        &fixed(None),
        &[
            ("{}", "s: string[2]"),
            ("[]", "s: string[2]"),
            ("{", "400 JSON Parse error: Missing a name for object member. at offset: 1"),
        ],
    );
    check(&fixed(Some("input")), &[("{}", "s: string[2]"), (r#"{"input": 1}"#, "s: string[2]")]);
}

#[test]
fn bodies_of_other_types_are_for_the_free_inputs() {
    let text = mapping("text", Format::Columnar, Some("input"));
    assert_eq!(decoded(&text, "application/octet-stream", "bytes"), "s: string[1]");
    assert_eq!(decoded(&text, "application/octet-stream", r#"{"input": ["a", "b"]}"#), "s: string[2]");
    assert_eq!(decoded(&text, "application/octet-stream", "{bytes"), "s: string[1]");
    let kept = mapping("kept", Format::Row, None);
    assert_eq!(
        decoded(&kept, "application/x-ndjson", "[1, 2]\n[3, 4]\n"),
        "keep_prob: float[]; x: float[2, 2]"
    );
    let error = decoded(&mapping("two", Format::Row, None), "application/octet-stream", "bytes");
    assert!(error.starts_with("400 The body is for one input and the signature has several"), "{error}");
}

fn reply(outputs: &[(&str, &[i64], &[f32])]) -> PredictResponse {
    let tensor = |sizes: &[i64], values: &[f32]| TensorProto {
        dtype: DataType::DtFloat.into(),
        tensor_shape: Some(TensorShapeProto {
            dim: sizes.iter().map(|size| Dim { size: *size, ..Dim::default() }).collect(),
            unknown_rank: false,
        }),
        float_val: values.to_vec(),
        ..TensorProto::default()
    };
    let outputs = outputs.iter().map(|(name, sizes, values)| ((*name).to_owned(), tensor(sizes, values)));
    PredictResponse { outputs: outputs.collect(), ..PredictResponse::default() }
}

/// What a reply is for a key and names of outputs.
fn encoded(format: Format, key: Option<&str>, outputs: &[(&str, &str)], reply: PredictResponse) -> String {
    let outputs = outputs.iter().map(|(output, name)| ((*output).to_owned(), (*name).to_owned()));
    let reply_key = key.map(str::to_owned);
    let mapping = Mapping { format, reply_key, outputs: outputs.collect(), ..Mapping::default() };
    match encode(&mapping, MediaType::Json, reply, NanStyle::Literal) {
        Ok(encoded) => String::from_utf8(encoded.body.to_vec()).unwrap(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn replies_are_laid_out_as_bodies_are() {
    let one = || reply(&[("y", &[2, 1], &[1.0, 2.0])]);
    let two = || reply(&[("y", &[2, 1], &[1.0, 2.0]), ("a", &[2], &[3.0, 4.0])]);
    let single = || reply(&[("y", &[1, 2], &[1.0, 2.0])]);
    let both = || reply(&[("y", &[1, 2], &[1.0, 2.0]), ("a", &[1], &[3.0])]);
    let check = |format, reply: PredictResponse, bare: &str| {
        assert_eq!(encoded(format, None, &[], reply.clone()), bare);
        assert_eq!(encoded(format, Some("out\"put"), &[], reply), format!(r#"{{"out\"put":{bare}}}"#));
    };
    check(Format::Columnar, one(), "[[1.0],[2.0]]");
    check(Format::Row, one(), "[[1.0],[2.0]]");
    check(Format::Columnar, two(), r#"{"a":[3.0,4.0],"y":[[1.0],[2.0]]}"#);
    check(Format::Row, two(), r#"[{"a":3.0,"y":[1.0]},{"a":4.0,"y":[2.0]}]"#);
    check(Format::Single, single(), "[1.0,2.0]");
    check(Format::Single, both(), r#"{"a":3.0,"y":[1.0,2.0]}"#);
    check(Format::Columnar, reply(&[("y", &[], &[1.0])]), "1.0");
    let scalar = encoded(Format::Single, None, &[], reply(&[("y", &[], &[1.0])]));
    assert_eq!(scalar, "INVALID_ARGUMENT: Tensor name: y has no shape information ");
    let several = encoded(Format::Single, None, &[], one());
    assert_eq!(several, "INVALID_ARGUMENT: Tensor name: y has inconsistent batch size: 2 expecting: 1");
}

#[test]
fn outputs_have_the_names_that_they_are_given() {
    let two = || reply(&[("y", &[1, 2], &[1.0, 2.0]), ("a", &[1], &[3.0])]);
    let check = |format, key, outputs: &[(&str, &str)], expected: &str| {
        assert_eq!(encoded(format, key, outputs, two()), expected);
    };
    check(Format::Columnar, None, &[("y", "b"), ("a", "c")], r#"{"b":[[1.0,2.0]],"c":[3.0]}"#);
    check(Format::Row, Some("rows"), &[("y", "b"), ("a", "a")], r#"{"rows":[{"a":3.0,"b":[1.0,2.0]}]}"#);
    check(Format::Single, None, &[("y", "b")], r#"{"b":[1.0,2.0]}"#);
    check(Format::Row, None, &[("y", "b")], r#"[{"b":[1.0,2.0]}]"#);
    check(Format::Columnar, None, &[("y", "b")], r#"{"b":[[1.0,2.0]]}"#);
    // The key is the name then.
    check(Format::Single, Some("output"), &[("y", "b")], r#"{"output":[1.0,2.0]}"#);
    check(Format::Row, None, &[("z", "b")], "INTERNAL: The backend's reply has no output \"z\"");
}

#[test]
fn outputs_of_bytes_stay_bytes_under_any_name() {
    let strings = |name: &str| {
        let mut reply = reply(&[(name, &[1], &[])]);
        reply.outputs.values_mut().for_each(|tensor| {
            tensor.dtype = DataType::DtString.into();
            tensor.string_val = vec![Bytes::from("a")];
        });
        reply
    };
    for (output, name, expected) in [
        ("image_bytes", "image", r#"{"image":[{"b64":"YQ=="}]}"#),
        ("image", "image_bytes", r#"{"image_bytes":[{"b64":"YQ=="}]}"#),
        ("image", "text", r#"{"text":["a"]}"#),
    ] {
        assert_eq!(encoded(Format::Columnar, None, &[(output, name)], strings(output)), expected);
    }
}

#[test]
fn replies_of_other_types_have_the_new_names() {
    let outputs = [("y".to_owned(), "score".to_owned())].into();
    let mapping = Mapping { outputs, ..Mapping::default() };
    let two = reply(&[("y", &[2], &[1.0, 2.0]), ("a", &[2], &[3.0, 4.0])]);
    let encoded = encode(&mapping, MediaType::Csv, two, NanStyle::Literal).unwrap();
    assert_eq!(encoded.content_type, "text/csv");
    assert_eq!(std::str::from_utf8(&encoded.body).unwrap(), "score\n1.0\n2.0\n");
}
