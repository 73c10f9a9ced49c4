#!/usr/bin/env python3
"""Calls pythie-serving as the bridge does, without the bridge.

What holds here is what the bridge can count on: the dtypes and shapes that the server takes, what
it answers, and its codes. If this passes and the tests of the bridge do not, it is the bridge.

    check.py SKLEARN_HOST:PORT TABLE_HOST:PORT
"""

import sys

import grpc
import numpy as np
from pythie_serving.tensorflow_proto.tensorflow.core.framework import (
    tensor_pb2, tensor_shape_pb2, types_pb2)
from pythie_serving.tensorflow_proto.tensorflow_serving.apis import (
    get_model_metadata_pb2, get_model_status_pb2, model_service_pb2_grpc, predict_pb2,
    prediction_service_pb2_grpc)

REPLIES = {types_pb2.DT_FLOAT: np.float32, types_pb2.DT_INT32: np.int32, types_pb2.DT_INT64: np.int64}
RAISED = "Exception calling application: "


def tensor(dtype, values, shape=None):
    """A tensor in the form that the bridge sends: a column, as bytes unless it holds strings."""
    shape = shape if shape is not None else [len(values), 1]
    dims = [tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in shape]
    proto = tensor_pb2.TensorProto(
        dtype=dtype, tensor_shape=tensor_shape_pb2.TensorShapeProto(dim=dims))
    if dtype == types_pb2.DT_STRING:
        proto.string_val.extend(values)
    else:
        content = {types_pb2.DT_DOUBLE: np.float64, types_pb2.DT_BOOL: np.bool_} | REPLIES
        proto.tensor_content = np.array(values, content[dtype]).tobytes()
    return proto


def values(proto):
    """The values of a reply, flat."""
    if proto.dtype == types_pb2.DT_STRING:
        return list(proto.string_val)
    return np.frombuffer(proto.tensor_content, REPLIES[proto.dtype]).tolist()


class Server:
    """A client of one server."""

    def __init__(self, address):
        channel = grpc.insecure_channel(address)
        grpc.channel_ready_future(channel).result(timeout=30)
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self.model = model_service_pb2_grpc.ModelServiceStub(channel)

    def predict(self, name, inputs):
        request = predict_pb2.PredictRequest(model_spec={"name": name}, inputs=inputs)
        reply = self.prediction.Predict(request, timeout=10)
        assert list(reply.outputs) == ["predictions"], reply
        assert not reply.model_spec.HasField("version"), reply
        return reply.outputs["predictions"]

    def check(self, name, inputs, dtype, shape, expected):
        output = self.predict(name, inputs)
        found = (output.dtype, [dim.size for dim in output.tensor_shape.dim], values(output))
        assert found == (dtype, shape, expected), (name, found)

    def check_error(self, call, code, text):
        try:
            reply = call()
        except grpc.RpcError as error:
            assert (error.code(), text in error.details()) == (code, True), error
        else:
            raise AssertionError(reply)


def check_sklearn(server):
    """Any dtype of numbers does; the shape must be that of a column."""
    floats, ints = tensor(types_pb2.DT_FLOAT, [2, 5]), tensor(types_pb2.DT_INT64, [1, -1])
    doubles, bools = tensor(types_pb2.DT_DOUBLE, [1, -1]), tensor(types_pb2.DT_BOOL, [True, False])
    for b in [tensor(types_pb2.DT_FLOAT, [1, -1]), ints, tensor(types_pb2.DT_INT32, [1, -1]), doubles]:
        server.check("linear", {"a": floats, "b": b}, types_pb2.DT_FLOAT, [2], [2.0, 1.5])
    server.check("count", {"p": bools, "q": ints}, types_pb2.DT_INT32, [2], [2, -1])
    large = tensor(types_pb2.DT_INT64, [2 ** 40])
    server.check("count", {"p": large, "q": large}, types_pb2.DT_INT64, [1], [2 ** 41])
    strings = tensor(types_pb2.DT_STRING, ["naïve".encode(), b"b"])
    server.check("shout", {"s": strings}, types_pb2.DT_STRING, [2, 1], ["naïve".encode().upper(), b"B"])

    unknown, unimplemented = grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNIMPLEMENTED
    for shape in [[2], [1, 2], [2, 1, 1]]:
        flat = tensor(types_pb2.DT_FLOAT, [1, 2], shape)
        server.check_error(lambda flat=flat: server.predict("linear", {"a": flat, "b": flat}), unknown,
                           RAISED + "All input vectors should be 1D tensor")
    server.check_error(lambda: server.predict("linear", {"a": floats}), unknown,
                       RAISED + "Features names mismatch. Missing features: {'b'}")
    server.check_error(lambda: server.predict("none", {}), unknown, RAISED + "Unknown model: none.")
    metadata = get_model_metadata_pb2.GetModelMetadataRequest(model_spec={"name": "linear"})
    server.check_error(lambda: server.prediction.GetModelMetadata(metadata), unimplemented,
                       "Method not implemented!")
    status = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "linear"})
    server.check_error(lambda: server.model.GetModelStatus(status), unimplemented, "Method not found!")


def check_table(server):
    """Keys are compared as Python compares them: 2.0 finds 2."""
    colors = tensor(types_pb2.DT_STRING, [b"red", b"blue", b"green"])
    for dtype in [types_pb2.DT_INT64, types_pb2.DT_FLOAT]:
        inputs = {"color": colors, "size": tensor(dtype, [2, 1, 7])}
        server.check("prices", inputs, types_pb2.DT_INT32, [3], [20, 30, -1])


if __name__ == "__main__":
    check_sklearn(Server(sys.argv[1]))
    check_table(Server(sys.argv[2]))
    print("pythie-serving answers as expected")
