//! How much memory the tensors of a request take once they are there, and those of a reply.

use bytes::Bytes;

use crate::codec::{self, predict};
use crate::proto::tensorflow::TensorProto;
use crate::proto::tensorflow::serving::PredictResponse;

/// How many bytes a decoded tensor takes besides those that it shares with the body.
pub(crate) fn of_tensor(tensor: &TensorProto) -> usize {
    tensor.tensor_content.len() + tensor.string_val.len() * size_of::<Bytes>()
}

/// How many bytes the numbers of a tensor take that are in typed fields, as those of a message may be.
pub(crate) fn of_typed(tensor: &TensorProto) -> usize {
    size_of_val(tensor.half_val.as_slice())
        + size_of_val(tensor.float_val.as_slice())
        + size_of_val(tensor.double_val.as_slice())
        + size_of_val(tensor.int_val.as_slice())
        + size_of_val(tensor.scomplex_val.as_slice())
        + size_of_val(tensor.int64_val.as_slice())
        + size_of_val(tensor.bool_val.as_slice())
        + size_of_val(tensor.dcomplex_val.as_slice())
        + size_of_val(tensor.uint32_val.as_slice())
        + size_of_val(tensor.uint64_val.as_slice())
}

/// About how many bytes the elements of a reply's tensors have, in whatever form they came: as many
/// as the shapes say, but not more than what is there can stand for. Strings and the brackets of lists
/// come on top.
pub(crate) fn of_reply(reply: &PredictResponse) -> usize {
    let size = |tensor: &TensorProto| {
        let strings = tensor.string_val.iter().map(Bytes::len).sum::<usize>();
        elements(tensor).saturating_mul(8).saturating_add(strings).saturating_add(2 * lists(tensor))
    };
    reply.outputs.values().map(size).fold(0, usize::saturating_add)
}

/// What the strings of a reply's tensors take besides their bytes, in which they lie.
pub(crate) fn of_list(reply: &PredictResponse) -> usize {
    reply.outputs.values().map(|tensor| tensor.string_val.len() * size_of::<Bytes>()).sum()
}

/// How many bytes a reply of this size takes at most while it is written as JSON, or as a type that takes less.
pub(crate) fn of_text(reply: &PredictResponse, size: usize) -> usize {
    size.saturating_add(predict::escapes(&reply.outputs)).saturating_mul(2)
}

/// The same where each row is an object of its own, with all names.
pub(crate) fn of_rows(reply: &PredictResponse, size: usize) -> usize {
    of_text(reply, size).saturating_add(predict::names(&reply.outputs).saturating_mul(2))
}

/// How many lists there are around the elements, up to more than are written.
fn lists(tensor: &TensorProto) -> usize {
    let (mut lists, mut product) = (0_usize, 1_usize);
    for dim in tensor.tensor_shape.iter().flat_map(|shape| &shape.dim) {
        lists = lists.saturating_add(product);
        product = product.saturating_mul(usize::try_from(dim.size).unwrap_or(0).max(1));
    }
    lists.min(codec::MAX_LISTS)
}

fn elements(tensor: &TensorProto) -> usize {
    let dimensions = tensor.tensor_shape.iter().flat_map(|shape| &shape.dim);
    let claimed =
        dimensions.fold(1, |size: usize, dim| size.saturating_mul(usize::try_from(dim.size).unwrap_or(0)));
    let typed = [
        tensor.half_val.len(),
        tensor.float_val.len(),
        tensor.double_val.len(),
        tensor.int_val.len(),
        tensor.string_val.len(),
        tensor.scomplex_val.len(),
        tensor.int64_val.len(),
        tensor.bool_val.len(),
        tensor.dcomplex_val.len(),
        tensor.uint32_val.len(),
        tensor.uint64_val.len(),
    ];
    // The last of the typed values may stand for more, up to a limit.
    let there = tensor.tensor_content.len() + typed.iter().sum::<usize>();
    claimed.min(there.max(codec::MAX_REPEATED))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::tensorflow::TensorShapeProto;
    use crate::proto::tensorflow::tensor_shape_proto::Dim;

    #[test]
    fn replies_are_as_large_as_what_is_in_them() {
        let check = |shape: &[i64], tensor: TensorProto, expected: usize| {
            let dim = shape.iter().map(|&size| Dim { size, ..Dim::default() }).collect();
            let tensor_shape = Some(TensorShapeProto { dim, ..TensorShapeProto::default() });
            let tensor = TensorProto { tensor_shape, ..tensor };
            let outputs = [("output".to_owned(), tensor)].into();
            assert_eq!(of_reply(&PredictResponse { outputs, ..PredictResponse::default() }), expected);
        };
        let floats = |count| TensorProto { float_val: vec![1.0; count], ..TensorProto::default() };
        check(&[], floats(1), 8);
        check(&[4], floats(4), 4 * 8 + 2);
        check(&[4, 1, 1], floats(4), 4 * 8 + 2 * (1 + 4 + 4));
        check(&[-1], floats(4), 2);
        let far = codec::MAX_REPEATED * 8 + 2 * codec::MAX_LISTS;
        check(&[i64::MAX, i64::MAX], floats(1), far);
        let strings = vec![vec![b'x'; 1000].into(), Bytes::new()];
        check(&[2], TensorProto { string_val: strings, ..TensorProto::default() }, 2 * 8 + 1000 + 2);
    }
}
