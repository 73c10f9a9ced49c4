//! Any message that a backend may send for another verb than predict is printed as JSON in
//! proportion to it, or refused. Signatures that are printed can be read from a file.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use prost::Message;
use prost_types::Any;
use serde::de::IgnoredAny;
use tfbridge::codec::signature::{self, Signatures};
use tfbridge::codec::{NanStyle, example, model};
use tfbridge::error::Result;
use tfbridge::proto::tensorflow::serving::{
    ClassificationResponse, GetModelMetadataResponse, GetModelStatusResponse, MultiInferenceResponse,
    RegressionResponse, SignatureDefMap,
};
use tfbridge_fuzz::json;

/// The most text that may come of a byte: names of fields that are written though they are not set.
const TEXT_PER_BYTE: usize = 512;

const NAN_STYLES: [NanStyle; 4] = [NanStyle::Literal, NanStyle::Null, NanStyle::String, NanStyle::Error];

fuzz_target!(|data: &[u8]| {
    let Some((&kind, data)) = data.split_first() else { return };
    match kind % 6 {
        0 => {
            let Ok(reply) = ClassificationResponse::decode(data) else { return };
            let result = reply.result.unwrap_or_default();
            each_style(data, |nan| example::encode_classifications(&result, nan));
        }
        1 => {
            let Ok(reply) = RegressionResponse::decode(data) else { return };
            let result = reply.result.unwrap_or_default();
            each_style(data, |nan| example::encode_regressions(&result, nan));
        }
        2 => {
            let Ok(reply) = MultiInferenceResponse::decode(data) else { return };
            each_style(data, |nan| example::encode_multi_inference(&reply, nan));
        }
        3 => {
            let Ok(reply) = GetModelStatusResponse::decode(data) else { return };
            assert_json(data, model::encode_status(&reply).expect("whatever it says"));
        }
        4 => {
            let Ok(reply) = GetModelMetadataResponse::decode(data) else { return };
            metadata(data, &reply);
        }
        // The signatures themselves, so that not every change of them has to correct lengths.
        _ => {
            let signatures = Any {
                type_url: "type.googleapis.com/tensorflow.serving.SignatureDefMap".to_owned(),
                value: data.to_vec(),
            };
            let metadata_map = [(model::SIGNATURE_DEF.to_owned(), signatures)].into_iter().collect();
            let reply = GetModelMetadataResponse { metadata: metadata_map, ..Default::default() };
            metadata(data, &reply);
        }
    }
});

fn each_style(data: &[u8], encode: impl Fn(NanStyle) -> Result<Vec<u8>>) {
    for nan in NAN_STYLES {
        if let Ok(text) = encode(nan) {
            match nan {
                NanStyle::Literal => {
                    assert!(text.len() <= TEXT_PER_BYTE * (data.len() + 1), "too much text");
                    std::str::from_utf8(&text).expect("UTF-8");
                    assert_json(data, json::to_proper(&text).into_bytes());
                }
                _ => assert_json(data, text),
            }
        }
    }
}

fn assert_json(data: &[u8], text: Vec<u8>) {
    assert!(text.len() <= TEXT_PER_BYTE * (data.len() + 1), "too much text");
    serde_json::from_slice::<IgnoredAny>(&text).expect("JSON");
}

fn metadata(data: &[u8], reply: &GetModelMetadataResponse) {
    let (decoded, text) = (model::decode_signatures(reply), model::encode_metadata(reply));
    // What prints them is not as strict: it ignores the end of a group that never began.
    let Ok(text) = text else { return assert!(decoded.is_err(), "decoded, but not printed") };
    let file = [b"{\"model\":", text.as_slice(), b"}"].concat();
    assert_json(data, text);
    let Ok(map) = decoded else { return };
    let read = signature::file::parse(&file);
    if has_only_sizes(&map) {
        let expected = BTreeMap::from([("model".to_owned(), Signatures::from(&map))]);
        assert_eq!(read, Ok(expected));
    } else {
        read.expect_err("no size");
    }
}

/// True if every dimension of an input whose rank is known is a size or open.
fn has_only_sizes(map: &SignatureDefMap) -> bool {
    let inputs = map.signature_def.values().flat_map(|definition| definition.inputs.values());
    let shapes = inputs.filter_map(|input| input.tensor_shape.as_ref()).filter(|shape| !shape.unknown_rank);
    shapes.flat_map(|shape| &shape.dim).all(|dim| dim.size >= -1)
}
