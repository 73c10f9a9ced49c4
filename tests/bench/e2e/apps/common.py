"""A FastAPI front as most people write it: pydantic, numpy, a blocking gRPC client.

What `tf.make_tensor_proto` and `tf.make_ndarray` do is written out, so that TensorFlow itself,
half a gigabyte of it, need not be installed; their time is that of the same numpy calls. It
never does anything to be fast that a tutorial would not.
"""

import os

import grpc
import numpy
from fastapi import FastAPI
from pydantic import BaseModel
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

LARGEST = 1 << 30

app = FastAPI()
channel = grpc.insecure_channel(os.environ["E2E_BACKEND"], options=[
    ("grpc.max_send_message_length", LARGEST), ("grpc.max_receive_message_length", LARGEST)])
stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)


class Body(BaseModel):
    """The body of a predict request."""

    instances: list


def make_tensor_proto(array):
    """A tensor of the array's values."""
    shape = tensor_shape_pb2.TensorShapeProto(
        dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in array.shape])
    return tensor_pb2.TensorProto(
        dtype=types_pb2.DT_FLOAT, tensor_shape=shape, tensor_content=array.tobytes())


def make_ndarray(tensor):
    """The array of a tensor's values."""
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_content:
        return numpy.frombuffer(tensor.tensor_content, numpy.float32).reshape(shape)
    return numpy.array(tensor.float_val, numpy.float32).reshape(shape)


@app.post("/v1/models/{model}:predict")
def predict(model: str, body: Body):
    """Answers in the row format of TensorFlow Serving."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = "serving_default"
    request.inputs["x"].CopyFrom(make_tensor_proto(numpy.array(body.instances, dtype=numpy.float32)))
    reply = stub.Predict(request, timeout=30)
    return {"predictions": make_ndarray(reply.outputs["scores"]).tolist()}
