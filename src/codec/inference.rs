//! The Open Inference Protocol, version 2: what KServe, Triton and their clients speak.

pub mod dtype;
pub mod grpc;
