//! Compiles `proto/` into Rust with protox, so that no protoc is needed on the machine, and finds out
//! which commit the program is built from.
//!
//! The descriptor set is written beside the generated code: a test compares it with the
//! descriptors of TensorFlow Serving's own Python package.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use prost::Message as _;

/// The roots of the tree of protos: everything else is reached from them by import.
const ROOTS: [&str; 4] = [
    "tensorflow_serving/apis/prediction_service.proto",
    "tensorflow_serving/apis/model_service.proto",
    "inference/grpc_service.proto",
    "tensorflow/core/protobuf/saved_model.proto",
];

/// What the program is made from. What else changes in a checkout makes no other program of it.
const SOURCES: [&str; 5] = ["build.rs", "proto", "src", "Cargo.toml", "Cargo.lock"];

/// What requests are kept as. It is no part of the descriptors, since no request is read by it.
const WRITTEN: [&str; 1] = ["tensorflow_serving/apis/prediction_log.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for source in SOURCES {
        println!("cargo:rerun-if-changed={source}");
    }
    set_version()?;
    let descriptors = protox::compile(ROOTS, ["proto"])?;
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    fs::write(out_dir.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // Every `bytes` field becomes `Bytes`, so that tensors are read from a reply without a copy.
        .bytes(".")
        // The features of an example are in order, so that the same ones make the same string.
        .btree_map(".tensorflow.Features")
        .btree_map(".tensorflow.FeatureLists")
        .include_file("protos.rs")
        .compile_fds(protox::compile(ROOTS.into_iter().chain(WRITTEN), ["proto"])?)?;
    Ok(())
}

/// Gives the code `TFBRIDGE_COMMIT`, if the commit is known, and `TFBRIDGE_VERSION`, which has it too.
///
/// A variable of that name counts for more than the checkout, which a build in a container has not.
fn set_version() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-env-changed=TFBRIDGE_COMMIT");
    let given = env::var("TFBRIDGE_COMMIT").unwrap_or_default();
    let is_name = |character: char| character.is_ascii_alphanumeric() || "._-+/".contains(character);
    if !given.chars().all(is_name) {
        return Err(format!("TFBRIDGE_COMMIT is no name of a commit: {given:?}").into());
    }
    let commit = if given.is_empty() { checked_out() } else { Some(given) };
    let mut version = env::var("CARGO_PKG_VERSION")?;
    if let Some(commit) = commit {
        println!("cargo:rustc-env=TFBRIDGE_COMMIT={commit}");
        version = format!("{version} ({commit})");
    }
    println!("cargo:rustc-env=TFBRIDGE_VERSION={version}");
    Ok(())
}

/// The commit that is checked out, marked if the sources are not quite those. `None` without git, or
/// for an archive that has been unpacked in somebody else's checkout.
fn checked_out() -> Option<String> {
    git(&["ls-files", "--error-unmatch", "Cargo.toml"])?;
    // Each commit and checkout adds to the log; the rest is for those who keep none.
    let branch = git(&["rev-parse", "--symbolic-full-name", "HEAD"])?;
    for name in ["HEAD", "logs/HEAD", &branch] {
        let path = git(&["rev-parse", "--git-path", name])?;
        // A file that there is not would make every build a new one.
        if Path::new(&path).is_file() {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    let commit = git(&["rev-parse", "--short=7", "HEAD"])?;
    let changes = git(&[&["status", "--porcelain", "--"][..], &SOURCES].concat())?;
    Some(if changes.is_empty() { commit } else { format!("{commit}-dirty") })
}

/// What git says, if it is there and content.
fn git(arguments: &[&str]) -> Option<String> {
    // Without the lock it does not touch the index while somebody else works on it.
    let output = Command::new("git").arg("--no-optional-locks").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
