//! The protocol buffers of TensorFlow Serving, compiled from `proto/` by the build script.
//!
//! Module paths follow the packages: [`tensorflow`] holds tensors, examples and signatures,
//! [`tensorflow::serving`] the requests, the replies, the clients and the servers.

#![allow(missing_docs, missing_debug_implementations, unreachable_pub, clippy::all, clippy::pedantic)]

include!(concat!(env!("OUT_DIR"), "/protos.rs"));

/// The encoded `FileDescriptorSet` of everything above.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
