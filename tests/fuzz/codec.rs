//! The codec's readers as the targets call them, and the limits that they call them with.

use bytes::Bytes;
use tfbridge::codec::example::{self, Examples, MultiInference};
use tfbridge::codec::predict::{self, Predict};
use tfbridge::codec::signature::Signatures;
use tfbridge::codec::stream::Stream;
use tfbridge::codec::{Limits, MAX_RANK};
use tfbridge::error::Result;

/// Limits that no fuzzer's input reaches, but for the rank that tensors can have.
pub const WIDE: Limits =
    Limits { depth: usize::MAX, rank: MAX_RANK, elements: 1 << 28, string_size: 256 << 20, inflated: 1 << 20 };

/// Limits that many inputs go beyond.
pub const TIGHT: Limits = Limits { depth: 6, rank: 3, elements: 12, string_size: 8, inflated: 600 };

pub fn check(body: &[u8], limits: &Limits) -> Result<()> {
    predict::check(body, limits)
}

pub fn decode(body: &Bytes, signatures: &Signatures, limits: &Limits) -> Result<Predict> {
    predict::decode(body, signatures, limits)
}

pub fn decode_guessed(body: &Bytes, limits: &Limits) -> Result<Predict> {
    predict::decode_guessed(body, limits)
}

/// Decodes a body that arrives in steps of these sizes, over and over.
pub fn decode_in_steps(
    body: &Bytes,
    steps: &[u8],
    signatures: &Signatures,
    limits: &Limits,
) -> Result<Predict> {
    let mut stream = Stream::new(*limits);
    let mut end = 0;
    for step in steps.iter().cycle() {
        end += usize::from(*step) + 1;
        if end > body.len() {
            break;
        }
        stream.feed(&body[..end], body.len(), signatures);
    }
    predict::decode_after(body, signatures, limits, Some(stream))
}

pub fn decode_examples(body: &Bytes, limits: &Limits) -> Result<Examples> {
    example::decode(body, "classify", limits)
}

pub fn decode_multi_inference(body: &Bytes, limits: &Limits) -> Result<MultiInference> {
    example::decode_multi_inference(body, "multi_inference", limits)
}
