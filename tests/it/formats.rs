//! Bodies of every type: what goes in as one comes out as any other, for every dtype that both can carry.

use bytes::Bytes;
use prost::Message as _;
use tfbridge::codec::body::{self, Form, Rules};
use tfbridge::codec::media::Agreement;
use tfbridge::codec::predict::Format;
use tfbridge::codec::signature::{Input, Signature, Signatures};
use tfbridge::codec::{Limits, NanStyle, dtype};
use tfbridge::proto::tensorflow::serving::{ModelSpec, PredictRequest, PredictResponse};
use tfbridge::proto::tensorflow::{DataType, TensorProto};

use crate::bridge::{Bridge, models};
use crate::client::Response;
use crate::support::shape;

const TYPES: [&str; 6] = [
    "application/json",
    "application/x-npy",
    "application/x-npz",
    "application/x-protobuf",
    "text/csv",
    "application/vnd.apache.arrow.stream",
];

/// A type that requests can have and replies cannot.
const FORM: &str = "multipart/form-data; boundary=b";

/// Six elements of each dtype, the ends of its range among them.
fn tensors() -> Vec<TensorProto> {
    macro_rules! content {
        ($($dtype:ident: $values:expr;)*) => {
            vec![$((DataType::$dtype, $values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>()),)*]
        };
    }
    let numbers = content! {
        DtFloat: [0.1_f32, -0.0, f32::MAX, f32::MIN_POSITIVE, 1e-45, f32::INFINITY];
        DtDouble: [0.1_f64, -0.0, f64::MAX, f64::MIN_POSITIVE, 5e-324, f64::NEG_INFINITY];
        DtHalf: [0x3c00_u16, 0x8000, 0x7bff, 1, 0x7c00, 0xfc00];
        DtBfloat16: [0x3f80_u16, 0x8000, 0x7f7f, 1, 0x7f80, 0xff80];
        DtInt8: [i8::MIN, -1, 0, 1, 2, i8::MAX];
        DtInt16: [i16::MIN, -1, 0, 1, 2, i16::MAX];
        DtInt32: [i32::MIN, -1, 0, 1, 2, i32::MAX];
        DtInt64: [i64::MIN, -1, 0, 1, 2, i64::MAX];
        DtUint8: [0_u8, 1, 2, 3, 4, u8::MAX];
        DtUint16: [0_u16, 1, 2, 3, 4, u16::MAX];
        DtUint32: [0_u32, 1, 2, 3, 4, u32::MAX];
        DtUint64: [0_u64, 1, 2, 3, 4, u64::MAX];
        DtBool: [0_u8, 1, 1, 0, 0, 1];
        DtComplex64: [1.5_f32, -2.0, 0.0, -0.0, 0.1, 1e30, 1.0, 2.0, 3.0, 4.0, 5.0, f32::INFINITY];
        DtComplex128: [1.5_f64, -2.0, 0.0, -0.0, 0.1, 1e300, 1.0, 2.0, 3.0, 4.0, 5.0, f64::INFINITY];
    };
    let tensor = |dtype: DataType, tensor| TensorProto {
        dtype: dtype.into(),
        tensor_shape: Some(shape(&[2, 3])),
        ..tensor
    };
    let with_content = |(dtype, content): (DataType, Vec<u8>)| {
        tensor(dtype, TensorProto { tensor_content: content.into(), ..TensorProto::default() })
    };
    let strings = ["a", "", "é,\"b\"", " \n", "0", "long enough to be no short one"];
    let strings = strings.map(Bytes::from).to_vec();
    let strings = TensorProto { string_val: strings, ..TensorProto::default() };
    numbers.into_iter().map(with_content).chain([tensor(DataType::DtString, strings)]).collect()
}

fn carries(content_type: &str, dtype: DataType) -> bool {
    let is_table = matches!(content_type, "text/csv" | "application/vnd.apache.arrow.stream");
    !is_table || !matches!(dtype, DataType::DtComplex64 | DataType::DtComplex128)
}

/// A body of this type that holds a tensor as the input `x`.
fn body_of(content_type: &str, tensor: &TensorProto, signature_name: &str) -> Vec<u8> {
    let tensors = [("x".to_owned(), tensor.clone())].into();
    let form = match content_type {
        "application/json" => Form::Json(Format::Columnar),
        "application/x-npy" => Form::Npy,
        "application/x-npz" => Form::Npz,
        "text/csv" => Form::Csv,
        "application/vnd.apache.arrow.stream" => Form::Arrow,
        FORM => {
            let array = if tensor.dtype() == DataType::DtBfloat16 {
                b"application/json\r\n\r\n[[1.0,-0.0,3.3895314e38],[9.184e-41,Infinity,-Infinity]]".to_vec()
            } else {
                [b"application/x-npy\r\n\r\n", &body_of("application/x-npy", tensor, "")[..]].concat()
            };
            let head = b"--b\r\nContent-Disposition: form-data; name=\"x\"\r\nContent-Type: ";
            return [head, &array[..], b"\r\n--b--\r\n"].concat();
        }
        _ => {
            let model_spec = ModelSpec { signature_name: signature_name.to_owned(), ..ModelSpec::default() };
            let model_spec = Some(model_spec);
            return PredictRequest { model_spec, inputs: tensors, ..PredictRequest::default() }
                .encode_to_vec();
        }
    };
    let reply = PredictResponse { outputs: tensors, ..PredictResponse::default() };
    let body = body::encode(&form, &reply, NanStyle::Literal).unwrap().body;
    if content_type != "application/json" {
        return body.to_vec();
    }
    let text = std::str::from_utf8(&body).unwrap().replacen("outputs", "inputs", 1);
    text.replacen('{', &format!("{{\"signature_name\":\"{signature_name}\","), 1).into_bytes()
}

/// The tensor `x` of a reply, which is read as if it were a request.
fn tensor_of(content_type: &str, reply: Response, dtype: DataType) -> TensorProto {
    assert_eq!(reply.status, 200, "{content_type}: {}", String::from_utf8_lossy(&reply.body));
    assert_eq!(reply.headers["content-type"], content_type);
    if content_type == "application/x-protobuf" {
        return PredictResponse::decode(Bytes::from(reply.body)).unwrap().outputs["x"].clone();
    }
    let body = if content_type == "application/json" {
        let text = reply.text().replacen("outputs", "inputs", 1).replacen("predictions", "instances", 1);
        Bytes::from(text)
    } else {
        Bytes::from(reply.body)
    };
    let input = Input { name: "x".to_owned(), dtype, shape: None };
    let signatures = Signatures::from_iter([("serving_default".to_owned(), Signature::new(vec![input]))]);
    let agreement = Agreement::new(Some(content_type), [], None).unwrap();
    let rules = Rules { limits: Limits::default(), check_shapes: false };
    body::decode(&agreement, &body, Some(&signatures), &rules, None).unwrap().inputs["x"].clone()
}

#[tokio::test]
async fn what_goes_in_as_any_type_comes_out_as_any_other() {
    // Typed fields would be another tensor with the same elements.
    let bridge = Bridge::start(models().tensor_content(true)).await;
    let mut client = bridge.connect().await;
    let mut pairs = 0;
    for tensor in tensors() {
        let dtype = dtype::from_wire(tensor.dtype);
        let name = dtype::name(dtype);
        for request in TYPES.into_iter().chain([FORM]).filter(|it| carries(it, dtype)) {
            let body = body_of(request, &tensor, &name);
            for reply in TYPES.into_iter().filter(|it| carries(it, dtype)) {
                let path = format!("/v1/models/echo:predict?signature_name={name}");
                let headers = [("Content-Type", request), ("Accept", reply)];
                let response = client.request("POST", &path, &headers, &body).await;
                let found = tensor_of(reply, response, dtype);
                if dtype == DataType::DtString {
                    assert_eq!(strings(&found), strings(&tensor), "{name}: {request} to {reply}");
                    assert_eq!(found.tensor_shape, tensor.tensor_shape);
                } else {
                    assert_eq!(found, tensor, "{name}: {request} to {reply}");
                }
                pairs += 1;
            }
        }
    }
    assert_eq!(pairs, 14 * 42 + 2 * 20);
}

/// The strings of a tensor in either of their encodings.
fn strings(tensor: &TensorProto) -> Vec<Bytes> {
    if tensor.tensor_content.is_empty() {
        return tensor.string_val.clone();
    }
    let mut rest = tensor.tensor_content.clone();
    let lengths: Vec<_> = (0..6).map(|_| prost::decode_length_delimiter(&mut rest).unwrap()).collect();
    lengths.into_iter().map(|length| rest.split_to(length)).collect()
}

#[tokio::test]
async fn the_reply_is_of_the_type_that_is_wanted() {
    let bridge = Bridge::start(models()).await;
    let mut client = bridge.connect().await;
    let floats = tensors().remove(0);
    let npy = body_of("application/x-npy", &floats, "");
    for (accept, status, expected) in [
        ("", 200, "application/x-npy"),
        ("*/*", 200, "application/x-npy"),
        ("application/json, */*;q=0.1", 200, "application/json"),
        ("text/csv;q=0.5, application/x-npz;q=0.7", 200, "application/x-npz"),
        ("application/protobuf", 200, "application/x-protobuf"),
        ("text/html", 406, "application/json"),
        ("text/csv; header=absent", 200, "text/csv; header=absent"),
        ("application/json;q=0, text/csv;q=0.5, */*;q=0.1", 200, "text/csv"),
    ] {
        let headers = [("Content-Type", "application/x-npy"), ("Accept", accept)];
        let response = client.request("POST", "/v1/models/echo:predict", &headers, &npy).await;
        assert_eq!(
            (response.status, response.headers["content-type"].as_str()),
            (status, expected),
            "{accept}"
        );
    }
    // Three outputs make no array.
    let body = br#"{"signature_name": "mixed", "inputs": {"a": [1.5], "b": [2], "s": ["c"]}}"#;
    let path = "/v1/models/echo:predict";
    let response = client.request("POST", path, &[("Accept", "application/x-npy")], body).await;
    assert_eq!(response.status, 406);
    assert!(
        response.error().contains("?outputs=NAME, of a, b, s, or accept application/x-npz"),
        "{response:?}"
    );
    let response = client.request("POST", path, &[("Accept", "application/x-npz")], body).await;
    let headers = [("Content-Type", "application/x-npz"), ("Accept", "application/x-npy")];
    let path = "/v1/models/echo:predict?signature_name=mixed&outputs=b";
    let response = client.request("POST", path, &headers, &response.body).await;
    assert_eq!((response.status, &response.body[response.body.len() - 8..]), (200, &2_i64.to_le_bytes()[..]));
    let response = client.request("POST", path, &[("Content-Type", "application/cbor")], b"x").await;
    let expected = "these can: application/json, application/x-npy, application/x-npz, application/x-protobuf, \
                    application/vnd.apache.arrow.stream, text/csv, application/x-ndjson, multipart/form-data, ";
    assert_eq!(response.status, 415);
    assert!(response.error().contains(expected), "{response:?}");
}

#[tokio::test]
async fn arrays_are_not_compressed() {
    let bridge = Bridge::start_with(models(), |config| config.access.compress_min_size = Some(100)).await;
    let mut client = bridge.connect().await;
    let body = format!("{{\"inputs\": {:?}}}", vec![1; 1000]);
    for (accept, is_compressed) in TYPES.into_iter().zip([true, false, false, false, true, false]) {
        let headers = [("Accept", accept), ("Accept-Encoding", "gzip")];
        let response = client.request("POST", "/v1/models/echo:predict", &headers, body.as_bytes()).await;
        assert_eq!(response.headers.contains_key("content-encoding"), is_compressed, "{accept}");
    }
}

#[tokio::test]
async fn arrays_of_other_dtypes_are_converted() {
    let bridge = Bridge::start(models()).await;
    let mut client = bridge.connect().await;
    let double = |values: &[f64]| TensorProto {
        dtype: DataType::DtDouble.into(),
        tensor_shape: Some(shape(&[values.len() as i64])),
        double_val: values.to_vec(),
        ..TensorProto::default()
    };
    let headers = [("Content-Type", "application/npy"), ("Accept", "application/json")];
    let body = body_of("application/x-npy", &double(&[1.0, 5.0]), "");
    let response = client.request("POST", "/v1/models/half_plus_two:predict", &headers, &body).await;
    assert_eq!((response.status, response.text()), (200, "{\"outputs\":[2.5,4.5]}"));
    let body = body_of("application/x-npy", &double(&[1.0, 1e300]), "");
    let response = client.request("POST", "/v1/models/half_plus_two:predict", &headers, &body).await;
    assert_eq!(response.status, 400);
    assert!(response.error().starts_with("x[1]: 1"), "{response:?}");
}

/// `curl --data-binary @x.npy` calls a file a form, other clients leave the type out or call everything bytes.
#[tokio::test]
async fn arrays_are_known_by_how_they_begin() {
    let bridge = Bridge::start(models()).await;
    let mut client = bridge.connect().await;
    let tensor = TensorProto {
        dtype: DataType::DtDouble.into(),
        tensor_shape: Some(shape(&[2])),
        double_val: vec![1.0, 5.0],
        ..TensorProto::default()
    };
    let body = body_of("application/x-npy", &tensor, "");
    let types = ["application/octet-stream", "application/x-www-form-urlencoded", "application/json"];
    for content_type in types.map(Some).into_iter().chain([None]) {
        let headers: Vec<_> = content_type.map(|name| ("Content-Type", name)).into_iter().collect();
        let response = client.request("POST", "/v1/models/half_plus_two:predict", &headers, &body).await;
        assert_eq!((response.status, response.text()), (200, "{\"outputs\":[2.5,4.5]}"), "{content_type:?}");
        assert_eq!(response.headers["content-type"], "application/json");
        let broken = &body[..body.len() - 1];
        let response = client.request("POST", "/v1/models/half_plus_two:predict", &headers, broken).await;
        assert_eq!(response.status, 400, "{content_type:?}");
        assert!(response.error().starts_with("x: "), "{content_type:?}: {}", response.text());
        // An input of strings takes any bytes.
        let path = "/v1/models/echo:predict?signature_name=string";
        let accept = [("Accept", "application/x-npy")];
        let headers: Vec<_> = headers.into_iter().chain(accept).collect();
        let response = client.request("POST", path, &headers, &body).await;
        assert_eq!((response.status, response.body.ends_with(&body)), (200, true), "{content_type:?}");
    }
}

#[tokio::test]
async fn messages_are_passed_to_the_model_of_the_path() {
    let bridge = Bridge::start(models()).await;
    let mut client = bridge.connect().await;
    let headers = [("Content-Type", "application/vnd.google.protobuf")];
    let tensor = TensorProto {
        dtype: DataType::DtFloat.into(),
        tensor_shape: Some(shape(&[2])),
        float_val: vec![1.0],
        ..TensorProto::default()
    };
    let request = PredictRequest {
        model_spec: Some(ModelSpec { name: "another".to_owned(), ..ModelSpec::default() }),
        inputs: [("x".to_owned(), tensor)].into(),
        ..PredictRequest::default()
    };
    let body = request.encode_to_vec();
    let path = "/v1/models/half_plus_two/versions/123:predict";
    let response = client.request("POST", path, &headers, &body).await;
    assert_eq!((response.status, response.headers["x-model-version"].as_str()), (200, "123"));
    let reply = PredictResponse::decode(Bytes::from(response.body)).unwrap();
    assert_eq!(reply.model_spec.unwrap().name, "half_plus_two");
    assert_eq!(reply.outputs["y"].float_val, [2.5, 2.5]);
    let response = client.request("POST", path, &headers, b"{\"instances\": [1]}").await;
    assert_eq!(response.status, 400);
    assert!(response.error().starts_with("The body is no PredictRequest: "), "{response:?}");
    let response = client.request("POST", "/v1/models/none:predict", &headers, &body).await;
    assert_eq!(response.status, 404);
    let mut request = request;
    request.inputs.clear();
    let response = client.request("POST", path, &headers, &request.encode_to_vec()).await;
    assert_eq!(response.status, 400);
    assert!(response.error().contains("input size does not match signature"), "{response:?}");
}

#[tokio::test]
async fn archives_inflate_no_further_than_gzip() {
    let bridge = Bridge::start_with(models(), |config| config.api.max_inflate_ratio = 20).await;
    let mut client = bridge.connect().await;
    let zeros = TensorProto {
        dtype: DataType::DtFloat.into(),
        tensor_shape: Some(shape(&[1 << 20])),
        tensor_content: vec![0; 4 << 20].into(),
        ..TensorProto::default()
    };
    let headers = [("Content-Type", "application/x-npz")];
    let whole = body_of("application/x-npz", &zeros, "");
    // The member is 4 MiB, whatever it takes in the archive: cut its data out, deflated.
    let bomb = deflated(&whole);
    assert!(bomb.len() < 10_000);
    let response = client.request("POST", "/v1/models/echo:predict", &headers, &bomb).await;
    assert_eq!(response.status, 413);
    assert!(response.error().contains("inflate to more than the 1048576 bytes"), "{response:?}");
    let response = client.request("POST", "/v1/models/echo:predict", &headers, &whole).await;
    assert_eq!(response.status, 200);
}

/// The same archive of one member with its data deflated.
fn deflated(archive: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let name = usize::from(u16::from_le_bytes([archive[26], archive[27]]));
    let size = u32::from_le_bytes(archive[22..26].try_into().unwrap()) as usize;
    let (head, rest) = archive.split_at(30 + name);
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&rest[..size]).unwrap();
    let data = encoder.finish().unwrap();
    let length = u32::try_from(data.len()).unwrap().to_le_bytes();
    let mut head = head.to_vec();
    head[8] = 8;
    head[18..22].copy_from_slice(&length);
    let mut tail = rest[size..].to_vec();
    tail[10] = 8;
    tail[20..24].copy_from_slice(&length);
    let end = tail.len() - 22;
    let start = u32::try_from(head.len() + data.len()).unwrap();
    tail[end + 16..end + 20].copy_from_slice(&start.to_le_bytes());
    [head, data, tail].concat()
}

#[tokio::test]
async fn json_may_be_called_bytes() {
    let bridge = Bridge::start(models()).await;
    let mut client = bridge.connect().await;
    let mut post = async |path: &'static str, body: &'static str| {
        let headers = [("Content-Type", "application/octet-stream")];
        client.request("POST", path, &headers, body.as_bytes()).await
    };
    let half = "/v1/models/half_plus_two:predict";
    let response = post(half, " {\"instances\": [1.0, 5.0]}").await;
    assert_eq!((response.status, response.text()), (200, "{\"predictions\":[2.5,4.5]}"));
    assert_eq!(response.headers["content-type"], "application/json");
    // What is wrong with it is told as for JSON.
    let response = post(half, "{\"instances\": [1.0, \"x\"]}").await;
    assert!(response.error().starts_with("/instances/1: "), "{response:?}");
    // An input of strings takes what is no request, even if it looks like one.
    let strings = "/v1/models/echo:predict?signature_name=string";
    for (body, expected) in [
        ("{\"instances\": [\"a\"]}", "{\"predictions\":[\"a\"]}"),
        ("{\"a\": 1}", "{\"predictions\":[\"{\\\"a\\\": 1}\"]}"),
    ] {
        let response = post(strings, body).await;
        assert_eq!((response.status, response.text()), (200, expected), "{body}");
    }
}
