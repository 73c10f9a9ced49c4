//! What the fuzz targets share: a second, slow reading of the same rules to compare with.
//!
//! Nothing here is taken from the codec. Syntax is serde's, numbers are the standard library's,
//! and [`reference`] says in the plainest way what a body means.
//!
//! ```text
//! tests/fuzz/seed                                  # corpora from tests/fixtures/vectors
//! tests/fuzz/campaign --seconds 1200 json route    # a table of what came of it
//! RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir tests/fuzz decode_predict -- -dict=tests/fuzz/json.dict
//! ```

pub mod allocations;
pub mod codec;
pub mod json;
pub mod reference;
pub mod short_float;
pub mod tensors;
