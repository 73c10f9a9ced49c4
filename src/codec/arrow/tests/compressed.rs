//! Streams whose batches are compressed, as pyarrow has written them.

use super::*;

#[test]
fn batches_may_be_compressed_with_lz4() {
    let singles = [[0.5_f32; 40], [1.5; 40]].concat();
    let singles: Vec<u8> = singles.iter().flat_map(|value| value.to_le_bytes()).collect();
    for (name, stream) in written! { "lz4" "lz4_dictionary" "lz4_views" } {
        let expected = match name {
            "lz4" => numbers(DataType::DtFloat, &[2, 40], &singles),
            "lz4_dictionary" => strings(&[3], &["b", "a", "b"]),
            _ => strings(&[3], &["a", "", "longer than a view"]),
        };
        let inputs = decoded(&stream, &[("x", expected.dtype)], &LIMITS).unwrap();
        assert_eq!(inputs["x"], expected.into_proto(), "{name}");
    }
    let [(_, nulls), (_, zstd)] = written! { "lz4_nulls" "zstd" };
    let refused =
        |body| decoded(body, &[("x", DataType::DtInt64)], &LIMITS).unwrap_err().message().to_owned();
    assert_eq!(refused(&nulls), "x[70]: it is null, which no tensor holds");
    assert_eq!(
        refused(&zstd),
        "The body is no Arrow stream that can be read: its batches are compressed with zstd, write them with \
         lz4 or uncompressed"
    );
}

#[test]
fn what_batches_inflate_to_is_limited() {
    let [(_, stream)] = written! { "lz4" };
    let inputs = [("x", DataType::DtFloat)];
    let within = |inflated| decoded(&stream, &inputs, &Limits { inflated, ..LIMITS });
    assert!(within(320).is_ok());
    let error = within(319).unwrap_err();
    let expected =
        "The batches of the stream inflate to more than the 319 bytes that one of its size may have";
    assert_eq!((error.message(), error.status().as_u16()), (expected, 413));
    let double = Some(signatures(&[("x", DataType::DtDouble)]));
    assert!((320..500).contains(&room(&stream, None, 1000)), "all of it at once");
    assert!((960..1100).contains(&room(&stream, double.as_ref(), 1000)), "and a copy that is twice as large");
}

/// Lengths that are not what a buffer inflates to, and one that says that it is not compressed.
#[test]
fn lengths_of_buffers_are_not_trusted() {
    let [(_, stream)] = written! { "lz4" };
    let length = 320_i64.to_le_bytes();
    let at = stream.windows(8).position(|window| window == length).expect("the buffer has 320 bytes");
    let refused = |length: i64| {
        let mut stream = stream.to_vec();
        stream[at..at + 8].copy_from_slice(&length.to_le_bytes());
        decoded(&stream.into(), &[("x", DataType::DtFloat)], &LIMITS).unwrap_err().message().to_owned()
    };
    for length in [0, 319, 321, -2, i64::MIN] {
        assert_eq!(refused(length), "x: a compressed buffer is damaged", "{length}");
    }
    assert!(refused(-1).starts_with("x: a buffer has "), "what is there is taken as it is");
    assert!(refused(i64::MAX).starts_with("The batches of the stream inflate to more than"));
}
