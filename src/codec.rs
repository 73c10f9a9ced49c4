//! JSON bodies to protocol buffers and back: `&[u8]` in, a value out.
//!
//! The codec is pure. It knows no tokio, no hyper and no tracing, does no IO and keeps no
//! state between calls, so that it is tested, fuzzed and measured without a port. It never
//! panics on any input, never recurses on nested input deeper than a tensor has dimensions,
//! and allocates in proportion to the input and within [`Limits`] only.
//!
//! | module | from | to |
//! |---|---|---|
//! | [`media`] | headers and a query | the types of body and reply, and [`parameters`] |
//! | [`body`] | a predict body of any type | tensors, and tensors back to a reply of any type |
//! | [`custom`] | a body of a route of one's own | tensors, and tensors back to its reply |
//! | [`protobuf`] | a `PredictRequest` | the same, for another model |
//! | [`predict`] | `instances` or `inputs` | tensors, and tensors back to `predictions` or `outputs` |
//! | [`example`] | `examples` | `tf.Example`s, also as strings for predict, and results back to `results` |
//! | `image` | a JPEG or PNG | the tensor of its pixels |
//! | `top_k` | outputs of scores | the best of them |
//! | [`model`] | status and signatures | JSON |
//! | [`catalog`] | the same of all models | JSON |
//! | [`openapi`] | all models | the document that describes the API |
//! | [`sample`] | a signature | requests that it is likely to take |
//! | [`signature::file`] | a file of signatures | what predict must know of models |
//! | [`inference`] | requests of the Open Inference Protocol | tensors, and tensors back to its replies |
//! | [`lines`] | a predict body of a value per line, in any pieces | tensors for batches of lines, and lines back |
//! | [`stream`] | a predict body that is still arriving | the tensor decoded so far |

pub(crate) mod arrow;
pub mod body;
mod cast;
pub mod catalog;
mod column;
pub(crate) mod csv;
pub mod custom;
mod dense;
mod document;
pub mod dtype;
mod element;
pub mod example;
mod fault;
pub(crate) mod half;
mod image;
pub mod inference;
mod limits;
pub mod lines;
pub mod media;
pub mod model;
pub(crate) mod multipart;
mod nested;
pub(crate) mod npy;
pub(crate) mod npz;
mod number;
pub(crate) mod octets;
pub mod openapi;
pub mod parameters;
pub mod predict;
pub mod pretty;
pub mod protobuf;
mod reader;
mod rows;
pub mod sample;
mod short;
mod shortest;
pub mod signature;
pub mod stream;
mod tensor;
mod top_k;
mod writer;

pub use limits::Limits;
pub use nested::MAX_RANK;
pub(crate) use tensor::{MAX_LISTS, MAX_REPEATED};
pub use writer::NanStyle;
