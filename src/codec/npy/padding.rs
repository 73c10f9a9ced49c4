//! What strings of different lengths are filled up with: all of an array's have the width of the longest.

use bytes::Bytes;

use super::MAX_PADDING;
use crate::codec::dtype;
use crate::proto::tensorflow::{DataType, TensorProto};

/// The most bytes that the strings of an output gain while they are written as an array. What is refused gains
/// nothing.
pub(crate) fn padding(tensor: &TensorProto) -> usize {
    if dtype::from_wire(tensor.dtype) != DataType::DtString {
        return 0;
    }
    let dimensions = tensor.tensor_shape.iter().flat_map(|shape| &shape.dim);
    let count = dimensions
        .fold(1, |size: usize, dim| size.saturating_mul(usize::try_from(dim.size).unwrap_or_default()));
    if !tensor.tensor_content.is_empty() {
        // No string is longer than all of them.
        return count.saturating_mul(tensor.tensor_content.len()).min(MAX_PADDING);
    }
    let strings = &tensor.string_val;
    let width = strings.iter().map(Bytes::len).max().unwrap_or_default().max(1);
    let used = strings.iter().map(Bytes::len).fold(0, usize::saturating_add);
    let last = strings.last().map_or(0, Bytes::len);
    let used = used.saturating_add(count.saturating_sub(strings.len()).saturating_mul(last));
    // What repeats is no part of the reply, and is written, too.
    let gain = count.saturating_mul(width).saturating_sub(used.min(count.saturating_mul(width)));
    if gain > MAX_PADDING { 0 } else { gain }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::dense::shape;
    use crate::codec::npy;

    #[test]
    fn an_array_is_no_longer_than_its_strings_and_their_padding() {
        let check = |count: usize, lengths: &[usize], expected: usize| {
            let tensor = TensorProto {
                dtype: DataType::DtString.into(),
                tensor_shape: Some(shape(&[count])),
                string_val: lengths.iter().map(|length| vec![b'x'; *length].into()).collect(),
                ..TensorProto::default()
            };
            assert_eq!(padding(&tensor), expected);
            let used: usize = lengths.iter().sum();
            let mut out = Vec::new();
            let written = npy::append("y", &tensor, &mut out).is_ok();
            assert_eq!(written, expected > 0 || lengths.len() < 2, "{lengths:?}");
            assert!(out.len() <= used + expected + 128, "{}", out.len());
        };
        check(1, &[100], 0);
        check(3, &[100, 0, 40], 100 + 60);
        check(2, &[0, 0], 2);
        check(1001, &[&[16_000][..], &[0; 1000]].concat(), 16_000_000);
        check(20_001, &[&[16_000][..], &vec![0; 20_000]].concat(), 0);
    }
}
