//! The Open Inference Protocol, version 2: what KServe, Triton and their clients speak.
//!
//! A request is a JSON object, behind which elements may stand in binary form; so is a reply.
//!
//! | module | what |
//! |---|---|
//! | [`request`] | a body to tensors |
//! | [`reply`] | tensors to a body |
//! | [`grpc`] | the same for the messages of the gRPC service |
//! | `raw` | elements in binary form to tensors, and back |
//! | [`metadata`] | what server and models are |
//! | [`dtype`] | the protocol's names of dtypes |

pub mod dtype;
pub mod grpc;
pub mod metadata;
pub(crate) mod raw;
pub mod reply;
pub mod request;
