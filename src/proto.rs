//! The protocol buffers of TensorFlow Serving and of the Open Inference Protocol, compiled from `proto/` by the build script.
//!
//! Module paths follow the packages: [`tensorflow`] holds tensors, examples and signatures,
//! [`tensorflow::serving`] the requests, the replies, the clients and the servers, and [`inference`] those of
//! the Open Inference Protocol.

#![allow(missing_docs, missing_debug_implementations, unreachable_pub, clippy::all, clippy::pedantic)]

include!(concat!(env!("OUT_DIR"), "/protos.rs"));

/// The encoded `FileDescriptorSet` of everything above.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
