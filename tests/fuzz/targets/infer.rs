//! A body of the Open Inference Protocol of any bytes is refused, or makes whole tensors that come back the
//! same in binary form, and whose JSON reads back to itself.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tfbridge::codec::body::{Decoded, Rules};
use tfbridge::codec::inference::reply::{self, Encoded};
use tfbridge::codec::inference::request::{self, Form};
use tfbridge::codec::parameters::Parameters;
use tfbridge::codec::{Limits, NanStyle};
use tfbridge::error::Result;
use tfbridge::proto::tensorflow::serving::PredictResponse;
use tfbridge_fuzz::codec::{TIGHT, WIDE};
use tfbridge_fuzz::tensors::{assert_whole, sizes};

fuzz_target!(|data: &[u8]| {
    let Some((header, body)) = data.split_first_chunk::<2>() else { return };
    // The largest number stands for no header.
    let json_length = Some(usize::from(u16::from_le_bytes(*header))).filter(|length| *length < 0xffff);
    let body = Bytes::copy_from_slice(body);
    if let Some(json_length) = json_length {
        assert!(request::most_strings(&body, json_length, &WIDE) <= body.len() / 4);
    }
    let decoded = decode(&body, json_length, WIDE);
    if let Ok(tight) = decode(&body, json_length, TIGHT) {
        assert_eq!(Some(&tight), decoded.as_ref().ok());
        tight.inputs.values().for_each(|tensor| {
            assert!(sizes(tensor).len() <= TIGHT.rank);
            assert!(sizes(tensor).iter().product::<usize>() <= TIGHT.elements);
            assert!(tensor.string_val.iter().all(|string| string.len() <= TIGHT.string_size));
        });
    }
    let Ok(Decoded { inputs, .. }) = decoded else { return };
    inputs.values().for_each(assert_whole);
    let reply = PredictResponse { outputs: inputs.clone(), ..PredictResponse::default() };
    // Lists around nothing are more than any reply may have.
    let Ok(binary) = encode(&reply, true) else { return };
    let (body, json_length) = as_request(&binary);
    assert_eq!(decode(&body, json_length, WIDE).expect("what we wrote").inputs, inputs);
    // Not all strings are text.
    let Ok(json) = encode(&reply, false) else { return };
    let (body, json_length) = as_request(&json);
    let outputs = decode(&body, json_length, WIDE).expect("what we wrote").inputs;
    let again = PredictResponse { outputs, ..PredictResponse::default() };
    assert_eq!(encode(&again, false).expect("as before"), json);
});

fn decode(body: &Bytes, json_length: Option<usize>, limits: Limits) -> Result<Decoded<Form>> {
    let rules = Rules { limits, check_shapes: true };
    request::decode(body, json_length, &Parameters::default(), None, &rules)
}

fn encode(reply: &PredictResponse, binary: bool) -> Result<Encoded> {
    reply::encode(&Form { binary, ..Form::default() }, "m", reply, NanStyle::Literal)
}

/// A reply as the request that gives its outputs as inputs.
fn as_request(reply: &Encoded) -> (Bytes, Option<usize>) {
    const START: &[u8] = b"{\"model_name\":\"m\",\"outputs\":";
    const MEANT: &[u8] = b"{\"inputs\":";
    let rest = reply.body.strip_prefix(START).expect("what replies begin with");
    let length = reply.json_length.map(|length| length - START.len() + MEANT.len());
    ([MEANT, rest].concat().into(), length)
}
