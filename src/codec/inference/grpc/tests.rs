//! Requests become tensors and replies responses, for every datatype and for whatever is wrong with them.

use prost::Message;

use super::*;
use crate::codec::dense::shape;
use crate::codec::signature::{Input, Signature};
use crate::proto::tensorflow::DataType;

const RULES: Rules = Rules {
    limits: Limits { depth: 9, rank: 4, elements: 100, string_size: 9, inflated: usize::MAX },
    check_shapes: true,
};

fn tensor(datatype: &str, shape: &[i64]) -> InferInputTensor {
    InferInputTensor {
        name: "x".to_owned(),
        datatype: datatype.to_owned(),
        shape: shape.to_vec(),
        ..InferInputTensor::default()
    }
}

fn raw(datatype: &str, shape: &[i64], raw: &[u8]) -> ModelInferRequest {
    ModelInferRequest {
        inputs: vec![tensor(datatype, shape)],
        raw_input_contents: vec![Bytes::copy_from_slice(raw)],
        ..ModelInferRequest::default()
    }
}

fn typed(datatype: &str, shape: &[i64], contents: InferTensorContents) -> ModelInferRequest {
    let input = InferInputTensor { contents: Some(contents), ..tensor(datatype, shape) };
    ModelInferRequest { inputs: vec![input], ..ModelInferRequest::default() }
}

fn decoded(request: &ModelInferRequest) -> Result<Dense> {
    let decoded = decode(request, None, &RULES)?;
    Dense::new("x", &decoded.inputs["x"])
}

#[test]
fn both_places_of_elements_give_the_same_tensor() {
    let check = |datatype: &str, bytes: &[u8], contents: InferTensorContents| {
        let from_raw = decoded(&raw(datatype, &[2], bytes)).unwrap();
        assert_eq!(from_raw.elements, Elements::Numbers(Bytes::copy_from_slice(bytes)), "{datatype}");
        assert_eq!(decoded(&typed(datatype, &[2], contents)).unwrap(), from_raw, "{datatype}");
        assert_eq!(dtype::name(from_raw.dtype), Some(datatype));
    };
    type Contents = InferTensorContents;
    check("BOOL", &[1, 0], Contents { bool_contents: vec![true, false], ..Contents::default() });
    let ints = || Contents { int_contents: vec![1, -2], ..Contents::default() };
    check("INT8", &[1, 254], ints());
    check("INT16", &[1, 0, 254, 255], ints());
    check("INT32", &[1, 0, 0, 0, 254, 255, 255, 255], ints());
    let row = [1_i64.to_le_bytes(), (-2_i64).to_le_bytes()].concat();
    check("INT64", &row, Contents { int64_contents: vec![1, -2], ..Contents::default() });
    let uints = || Contents { uint_contents: vec![1, 200], ..Contents::default() };
    check("UINT8", &[1, 200], uints());
    check("UINT16", &[1, 0, 200, 0], uints());
    check("UINT32", &[1, 0, 0, 0, 200, 0, 0, 0], uints());
    let row = [1_u64.to_le_bytes(), u64::MAX.to_le_bytes()].concat();
    check("UINT64", &row, Contents { uint64_contents: vec![1, u64::MAX], ..Contents::default() });
    let row = [1.5_f32.to_le_bytes(), f32::NAN.to_le_bytes()].concat();
    check("FP32", &row, Contents { fp32_contents: vec![1.5, f32::NAN], ..Contents::default() });
    let row = [1.5_f64.to_le_bytes(), (-0.0_f64).to_le_bytes()].concat();
    check("FP64", &row, Contents { fp64_contents: vec![1.5, -0.0], ..Contents::default() });
    let strings = Contents { bytes_contents: vec!["a".into(), Bytes::new()], ..Contents::default() };
    let from_raw = decoded(&raw("BYTES", &[2, 1], b"\x01\0\0\0a\0\0\0\0")).unwrap();
    assert_eq!(decoded(&typed("BYTES", &[2, 1], strings)).unwrap(), from_raw);
    assert_eq!(from_raw.elements, Elements::Strings(vec!["a".into(), Bytes::new()]));
    for datatype in ["FP16", "BF16"] {
        let half = decoded(&raw(datatype, &[1], &[0, 0x3c])).unwrap();
        assert_eq!(half.elements, Elements::Numbers(Bytes::from_static(&[0, 0x3c])));
    }
    // A scalar, and nothing at all.
    assert_eq!(decoded(&raw("INT8", &[], &[7])).unwrap().len(), 1);
    assert_eq!(decoded(&typed("FP32", &[0, 3], InferTensorContents::default())).unwrap().len(), 0);
    let nothing = ModelInferRequest { inputs: vec![tensor("BYTES", &[0])], ..ModelInferRequest::default() };
    assert_eq!(decoded(&nothing).unwrap().len(), 0);
}

#[test]
fn raw_elements_are_not_copied() {
    let message = Bytes::from(raw("UINT8", &[100], &[5; 100]).encode_to_vec());
    let request = read(message.clone()).unwrap();
    let Elements::Numbers(elements) = decoded(&request).unwrap().elements else { panic!() };
    let (from, to) = (message.as_ptr() as usize, message.as_ptr() as usize + message.len());
    assert!((from..to).contains(&(elements.as_ptr() as usize)));
}

#[test]
fn what_is_wrong_is_told_with_the_input() {
    let check = |request: ModelInferRequest, expected: &str| {
        let error = decode(&request, None, &RULES).unwrap_err();
        assert!(error.message().contains(expected), "{error}");
        assert_eq!(error.status(), 400);
    };
    check(
        raw("FP32", &[2], &[0; 7]),
        "inputs[0] \"x\": 7 bytes of binary data for 2 elements of FP32, which take 8",
    );
    check(raw("FLOAT", &[1], &[0; 4]), "\"FLOAT\" is no datatype; these are: BOOL, ");
    check(raw("UINT8", &[-1], &[0]), "a shape with the negative size -1");
    check(raw("UINT8", &[101], &[0; 101]), "a shape of more than 100 elements");
    check(raw("UINT8", &[i64::MAX, i64::MAX], &[]), "a shape of more than 100 elements");
    check(raw("UINT8", &[1, 1, 1, 1, 1], &[0]), "a shape of 5 dimensions, of at most 4");
    check(raw("BYTES", &[1], b"\x02\0\0\0a"), "ends within element 0 of 1");
    check(raw("BYTES", &[1], b"\x01\0\0\0ab"), "1 bytes of binary data behind 1 elements");
    check(raw("BYTES", &[2], b"\x01\0\0\0a"), "for 2 elements of BYTES, which take 4");
    check(raw("BYTES", &[1], b"\x0a\0\0\0aaaaaaaaaa"), "more than 9 bytes in element 0");
    let ints = |value| InferTensorContents { int_contents: vec![value], ..InferTensorContents::default() };
    check(typed("INT8", &[1], ints(128)), "128 in element 0, which is out of the range of INT8");
    check(typed("INT16", &[1], ints(-32_769)), "out of the range of INT16");
    check(typed("INT16", &[2], ints(1)), "1 elements in int_contents for the shape [2], which takes 2");
    check(typed("INT64", &[1], ints(1)), "0 elements in int64_contents for the shape [1]");
    check(typed("FP16", &[1], ints(1)), "FP16 has no contents; it needs raw_input_contents");
    let mut both = typed("INT32", &[1], ints(1));
    both.raw_input_contents = vec![Bytes::from_static(&[0; 4])];
    check(both.clone(), "there are both contents and raw_input_contents");
    both.raw_input_contents.push(Bytes::new());
    check(both, "There are 2 raw_input_contents for 1 inputs");
    let mut twice = typed("INT32", &[1], ints(1));
    twice.inputs.push(twice.inputs[0].clone());
    check(twice, "inputs[1] \"x\": an input of this name stands before it");
    let output = InferRequestedOutputTensor { name: "y".to_owned(), ..InferRequestedOutputTensor::default() };
    let mut twice = raw("INT8", &[1], &[0]);
    twice.outputs = vec![output.clone(), output];
    assert_eq!(decode(&twice, None, &RULES).unwrap().output_filter, ["y"]);
    let nothing = ModelInferRequest { inputs: vec![tensor("INT8", &[1])], ..ModelInferRequest::default() };
    check(nothing, "there are neither contents nor raw_input_contents");
}

#[test]
fn the_signature_is_looked_at() {
    let input = Input { name: "x".to_owned(), dtype: DataType::DtFloat, shape: Some(vec![-1, 2]) };
    let signature = |input: &Input| Signature::new(vec![input.clone()]);
    let signatures = Signatures::from_iter([
        ("serving_default".to_owned(), signature(&input)),
        ("other".to_owned(), signature(&Input { name: "y".to_owned(), ..input.clone() })),
    ]);
    let check = |request: &ModelInferRequest, expected: &str| {
        let error = decode(request, Some(&signatures), &RULES).unwrap_err();
        assert!(error.message().contains(expected), "{error}");
    };
    let mut request = raw("FP32", &[1, 2], &[0; 8]);
    let decoded = decode(&request, Some(&signatures), &RULES).unwrap();
    assert_eq!(decoded.signature_name, "");
    check(&ModelInferRequest::default(), "Missing named input: x in 'inputs'.");
    check(
        &raw("INT32", &[1, 2], &[0; 8]),
        "The input \"x\" is of datatype INT32, but the signature wants FP32",
    );
    check(&raw("FP32", &[2], &[0; 8]), "has shape [2]");
    let named = |name: &str| {
        let choice = ParameterChoice::StringParam(name.to_owned());
        [(SIGNATURE_NAME.to_owned(), InferParameter { parameter_choice: Some(choice) })].into()
    };
    request.parameters = named("other");
    check(&request, "There is no input \"x\" in the signature; it has: y");
    request.parameters = named("none");
    check(&request, "\"none\" not found in signature def");
    let choice = Some(ParameterChoice::BoolParam(true));
    request.parameters = [(SIGNATURE_NAME.to_owned(), InferParameter { parameter_choice: choice })].into();
    check(&request, "The parameter signature_name is no string");
}

#[test]
fn what_only_others_can_do_is_refused() {
    let parameter = |name: &str| [(name.to_owned(), InferParameter::default())].into();
    let mut request = raw("UINT8", &[1], &[0]);
    request.inputs[0].parameters = parameter("shared_memory_region");
    let error = decode(&request, None, &RULES).unwrap_err();
    assert_eq!(error.message(), "inputs[0] \"x\": Shared memory is not supported");
    let mut request = raw("UINT8", &[1], &[0]);
    let parameters = parameter("classification");
    request.outputs = vec![InferRequestedOutputTensor { name: "y".to_owned(), parameters }];
    let error = decode(&request, None, &RULES).unwrap_err();
    assert_eq!(error.message(), "outputs[0] \"y\": The parameter classification is not supported");
}

#[test]
fn replies_have_raw_elements_in_the_order_that_was_asked_for() {
    let output = |dtype: DataType, tensor: TensorProto| TensorProto {
        dtype: dtype.into(),
        tensor_shape: Some(shape(&[2])),
        ..tensor
    };
    let floats = TensorProto { float_val: vec![1.0, 2.0], ..TensorProto::default() };
    let strings = TensorProto { string_val: vec!["ab".into(), "".into()], ..TensorProto::default() };
    let pairs = TensorProto { scomplex_val: vec![1.0; 4], ..TensorProto::default() };
    let reply = |outputs: &[(&str, TensorProto)]| PredictResponse {
        outputs: outputs.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())).collect(),
        ..PredictResponse::default()
    };
    let two = reply(&[("b", output(DataType::DtFloat, floats)), ("a", output(DataType::DtString, strings))]);
    let form = |outputs: &[&str]| Form {
        model_name: "m".to_owned(),
        id: "7".to_owned(),
        outputs: outputs.iter().map(|name| (*name).to_owned()).collect(),
        top_k: None,
    };
    let response = encode(&form(&[]), &two, Some(3)).unwrap();
    let described: Vec<_> = response
        .outputs
        .iter()
        .map(|output| (output.name.as_str(), output.datatype.as_str(), output.shape.as_slice()))
        .collect();
    assert_eq!(described, [("a", "BYTES", &[2][..]), ("b", "FP32", &[2])]);
    let floats = [1_f32.to_le_bytes(), 2_f32.to_le_bytes()].concat();
    assert_eq!(response.raw_output_contents, [&b"\x02\0\0\0ab\0\0\0\0"[..], &floats]);
    let ModelInferResponse { model_name, model_version, id, .. } = &response;
    assert_eq!([model_name, model_version, id], ["m", "3", "7"]);
    let response = encode(&form(&["b"]), &two, None).unwrap();
    assert_eq!((response.outputs.len(), response.model_version.as_str()), (1, ""));
    assert_eq!(encode(&form(&["c"]), &two, None).unwrap_err().status(), 500);
    let complex = reply(&[("c", output(DataType::DtComplex64, pairs))]);
    let error = encode(&form(&[]), &complex, None).unwrap_err();
    assert!(
        error.message().contains("\"c\" is of type complex64, for which the protocol has no datatype"),
        "{error}"
    );
}

#[test]
fn the_best_scores_stand_in_place_of_all() {
    let wanting = |choice: ParameterChoice| {
        let mut request = raw("UINT8", &[1], &[0]);
        let parameter = InferParameter { parameter_choice: Some(choice) };
        request.parameters.insert(TOP_K.to_owned(), parameter);
        decode(&request, None, &RULES).map(|decoded| decoded.form)
    };
    for choice in [ParameterChoice::Int64Param(2), ParameterChoice::Uint64Param(2)] {
        assert_eq!(wanting(choice).unwrap().top_k, NonZeroUsize::new(2));
    }
    let wrong =
        [ParameterChoice::Int64Param(0), ParameterChoice::Int64Param(-1), ParameterChoice::DoubleParam(2.0)];
    for choice in wrong {
        let error = wanting(choice).unwrap_err();
        assert_eq!(error.message(), "The parameter top_k must be a whole number from 1");
    }
    let tensor = |dtype: DataType, tensor: TensorProto| TensorProto {
        dtype: dtype.into(),
        tensor_shape: Some(shape(&[3])),
        ..tensor
    };
    let scores = TensorProto { float_val: vec![0.25, 0.5, 0.125], ..TensorProto::default() };
    let counts = TensorProto { int_val: vec![7, 8, 9], ..TensorProto::default() };
    let outputs = [("p", tensor(DataType::DtFloat, scores)), ("n", tensor(DataType::DtInt32, counts))];
    let reply = |outputs: &[(&str, TensorProto)]| PredictResponse {
        outputs: outputs.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())).collect(),
        ..PredictResponse::default()
    };
    let form = Form { top_k: NonZeroUsize::new(2), ..Form::default() };
    let names = |response: &ModelInferResponse| -> Vec<String> {
        response.outputs.iter().map(|output| output.name.clone()).collect()
    };
    let response = encode(&form, &reply(&outputs[..1]), None).unwrap();
    assert_eq!(names(&response), ["indices", "scores"]);
    let best = [0.5_f32.to_le_bytes(), 0.25_f32.to_le_bytes()].concat();
    assert_eq!(response.raw_output_contents, [&b"\x01\0\0\0\0\0\0\0"[..], &best]);
    // Those that are no scores are as they were, and all stand in the order that was asked for.
    let asked = Form { outputs: vec!["p".to_owned(), "n".to_owned()], ..form.clone() };
    let response = encode(&asked, &reply(&outputs), None).unwrap();
    assert_eq!(names(&response), ["p_indices", "p_scores", "n"]);
    let error = encode(&form, &reply(&outputs[1..]), None).unwrap_err();
    assert_eq!(error.status(), 400);
}

#[test]
fn no_message_is_too_broken_to_be_refused() {
    let mut random = fastrand::Rng::with_seed(7);
    let contents = InferTensorContents { fp32_contents: vec![1.0, 2.0], ..InferTensorContents::default() };
    let mut request = raw("BYTES", &[2], b"\x01\0\0\0a\0\0\0\0");
    let choice = Some(ParameterChoice::StringParam("s".to_owned()));
    request.parameters.insert(SIGNATURE_NAME.to_owned(), InferParameter { parameter_choice: choice });
    request.outputs.push(InferRequestedOutputTensor { name: "y".to_owned(), ..Default::default() });
    let messages = [request.encode_to_vec(), typed("FP32", &[2], contents).encode_to_vec()];
    let mut understood = 0;
    for _ in 0..20_000 {
        let mut message = messages[random.usize(..messages.len())].clone();
        for _ in 0..random.usize(..4) {
            let at = random.usize(..message.len());
            message[at] = if random.bool() { random.u8(..) } else { message[at] ^ (1 << random.u8(..8)) };
        }
        if random.bool() {
            message.truncate(random.usize(..=message.len()));
        }
        if room(&message).is_ok()
            && let Ok(request) = read(message.into())
        {
            understood += usize::from(decode(&request, None, &RULES).is_ok());
        }
    }
    assert!((500..19_000).contains(&understood), "{understood}");
}
