//! A message of the gRPC service of the Open Inference Protocol, of any bytes, is refused, or makes whole tensors
//! that come back the same; and what is promised of the memory that it takes holds.

#![no_main]

use std::collections::HashMap;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use prost::Message;
use tfbridge::codec::Limits;
use tfbridge::codec::body::Rules;
use tfbridge::codec::inference::grpc::{self, Form};
use tfbridge::error::Result;
use tfbridge::proto::inference::model_infer_request::InferInputTensor;
use tfbridge::proto::inference::{ModelInferRequest, ModelInferResponse};
use tfbridge::proto::tensorflow::TensorProto;
use tfbridge::proto::tensorflow::serving::PredictResponse;
use tfbridge_fuzz::allocations::{Counting, most};
use tfbridge_fuzz::codec::{TIGHT, WIDE};
use tfbridge_fuzz::tensors::{assert_whole, sizes};

#[global_allocator]
static COUNTING: Counting = Counting;

/// What an error takes, and what every list has to begin with.
const SOME: usize = 16 << 10;

/// What an input takes besides its elements: an entry of a map, its name, its dimensions.
const INPUT: usize = 2 << 10;

fuzz_target!(|data: &[u8]| {
    let message = Bytes::copy_from_slice(data);
    let (room, taken) = most(|| grpc::room(&message));
    assert!(taken < SOME, "to look at it took {taken} bytes");
    let Ok(room) = room else { return };
    let (request, taken) = most(|| grpc::read(message.clone()));
    assert!(taken <= room + SOME, "to read it took {taken} bytes and not {room}");
    let Ok(request) = request else { return };
    let room = grpc::room_for_tensors(&request);
    let (decoded, taken) = most(|| decode(&request, WIDE));
    let parts = request.inputs.len() + request.outputs.len();
    assert!(taken <= room + SOME + INPUT * parts, "to decode it took {taken} bytes and not {room}");
    if let Ok((tight, _)) = decode(&request, TIGHT) {
        assert_eq!(Some(&tight), decoded.as_ref().ok().map(|(inputs, _)| inputs));
        tight.values().for_each(|tensor| {
            assert!(sizes(tensor).len() <= TIGHT.rank);
            assert!(sizes(tensor).iter().product::<usize>() <= TIGHT.elements);
            assert!(tensor.string_val.iter().all(|string| string.len() <= TIGHT.string_size));
        });
    }
    let Ok((inputs, form)) = decoded else { return };
    inputs.values().for_each(assert_whole);
    let reply = PredictResponse { outputs: inputs.clone(), ..PredictResponse::default() };
    // The outputs that it asks for are others than its inputs, or there are no scores among them.
    let _ = grpc::encode(&form, &reply, Some(1));
    let form = Form { model_name: form.model_name, id: form.id, ..Form::default() };
    // Lists around nothing are more than any reply may have.
    let Ok(response) = grpc::encode(&form, &reply, None) else { return };
    let again = grpc::read(as_request(response).encode_to_vec().into()).expect("what we wrote");
    assert_eq!(decode(&again, WIDE).expect("what we wrote"), (inputs, form));
});

fn decode(request: &ModelInferRequest, limits: Limits) -> Result<(HashMap<String, TensorProto>, Form)> {
    let decoded = grpc::decode(request, None, &Rules { limits, check_shapes: true })?;
    assert_eq!(decoded.output_filter, decoded.form.outputs);
    Ok((decoded.inputs, decoded.form))
}

/// A response as the request that gives its outputs as inputs.
fn as_request(response: ModelInferResponse) -> ModelInferRequest {
    let ModelInferResponse { model_name, id, outputs, raw_output_contents, .. } = response;
    let inputs = outputs.into_iter().map(|output| InferInputTensor {
        name: output.name,
        datatype: output.datatype,
        shape: output.shape,
        ..InferInputTensor::default()
    });
    ModelInferRequest {
        model_name,
        id,
        inputs: inputs.collect(),
        raw_input_contents: raw_output_contents,
        ..ModelInferRequest::default()
    }
}
