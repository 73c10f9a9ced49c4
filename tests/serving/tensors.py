"""Turns TensorProtos into arrays and back, as TensorFlow Serving does.

Reading is TensorFlow's own `Tensor::FromProto`, reached through the operation
that parses serialized tensors. Writing fills the typed `*_val` fields, one
entry for every element, or `tensor_content` when asked. Nothing is converted
between dtypes here.
"""

import numpy as np
import tensorflow as tf
from google.protobuf.internal import encoder
from tensorflow.core.framework import tensor_pb2, types_pb2

# The typed field of each dtype, and how to see an array as that field's items.
FIELDS = {
    types_pb2.DT_FLOAT: ("float_val", None),
    types_pb2.DT_DOUBLE: ("double_val", None),
    types_pb2.DT_HALF: ("half_val", np.uint16),
    types_pb2.DT_BFLOAT16: ("half_val", np.uint16),
    types_pb2.DT_INT8: ("int_val", None),
    types_pb2.DT_INT16: ("int_val", None),
    types_pb2.DT_INT32: ("int_val", None),
    types_pb2.DT_UINT8: ("int_val", None),
    types_pb2.DT_UINT16: ("int_val", None),
    types_pb2.DT_INT64: ("int64_val", None),
    types_pb2.DT_UINT32: ("uint32_val", None),
    types_pb2.DT_UINT64: ("uint64_val", None),
    types_pb2.DT_BOOL: ("bool_val", None),
    types_pb2.DT_COMPLEX64: ("scomplex_val", np.float32),
    types_pb2.DT_COMPLEX128: ("dcomplex_val", np.float64),
}


def from_proto(proto):
    """Reads a tensor; raises ValueError for one that TensorFlow refuses."""
    try:
        dtype = tf.dtypes.as_dtype(proto.dtype)
        parsed = tf.io.parse_tensor(proto.SerializeToString(), dtype)
        return parsed.numpy()
    except (TypeError, tf.errors.OpError) as error:
        raise ValueError(str(error)) from error


def to_proto(array, dtype, as_content=False):
    """Writes an array that a model has returned for an output of `dtype`."""
    # As objects, or numpy would cut the zero bytes off the end of strings.
    array = np.asarray(
        array, object if dtype == types_pb2.DT_STRING else None)
    proto = tensor_pb2.TensorProto(dtype=dtype)
    # Setting the message makes it present for scalars, too.
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if dtype == types_pb2.DT_STRING:
        write_strings(proto, array.reshape(-1).tolist(), as_content)
        return proto
    if dtype not in FIELDS:
        raise ValueError(f"no field for {types_pb2.DataType.Name(dtype)}")
    flat = np.ascontiguousarray(array).reshape(-1)
    if as_content:
        proto.tensor_content = flat.tobytes()
        return proto
    field, view = FIELDS[dtype]
    items = flat if view is None else flat.view(view)
    getattr(proto, field).extend(items.tolist())
    return proto


def write_strings(proto, strings, as_content):
    """Writes strings; as content it is all the lengths, then all the bytes."""
    if not as_content:
        proto.string_val.extend(strings)
        return
    parts = []
    for string in strings:
        # pylint: disable-next=protected-access
        encoder._EncodeVarint(parts.append, len(string))
    proto.tensor_content = b"".join(parts + strings)
