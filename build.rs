//! Compiles `proto/` into Rust with protox, so that no protoc is needed on the machine.
//!
//! The descriptor set is written beside the generated code: a test compares it with the
//! descriptors of TensorFlow Serving's own Python package.

use std::path::PathBuf;
use std::{env, fs};

use prost::Message as _;

/// The roots of the tree of protos: everything else is reached from them by import.
const ROOTS: [&str; 2] =
    ["tensorflow_serving/apis/prediction_service.proto", "tensorflow_serving/apis/model_service.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(ROOTS, ["proto"])?;
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    fs::write(out_dir.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // Every `bytes` field becomes `Bytes`, so that tensors are read from a reply without a copy.
        .bytes(".")
        .include_file("protos.rs")
        .compile_fds(descriptors)?;
    Ok(())
}
