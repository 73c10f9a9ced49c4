"""What the tests of the test server share: a server of their own on a free
port, and calls with a plain gRPC client. It holds no tests.
"""

import os
import subprocess
import sys
import unittest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import grpc  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from google.protobuf import json_format  # noqa: E402
from tensorflow_serving.apis import (  # noqa: E402
    model_service_pb2_grpc, predict_pb2, prediction_service_pb2_grpc)

from once import HERE  # noqa: E402
from tensors import to_proto  # noqa: E402


def tensor(values, dtype=tf.float32, as_content=False):
    """A TensorProto of some values."""
    array = np.array(
        values, object if dtype == tf.string else dtype.as_numpy_dtype)
    return to_proto(array, dtype.as_datatype_enum, as_content)


def spec(name, **rest):
    """A ModelSpec as keyword arguments for a request."""
    return {"name": name, **rest}


class ServerTest(unittest.TestCase):
    """One server for all tests."""

    flags = ()

    @classmethod
    def setUpClass(cls):
        cls.process = subprocess.Popen(
            [sys.executable, HERE / "server.py", "--exit-with-stdin",
             "--max-seconds", "120", *cls.flags],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            stderr=subprocess.DEVNULL)
        line = cls.process.stdout.readline()
        cls.channel = grpc.insecure_channel(line.split()[-1], [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1)])
        cls.prediction = prediction_service_pb2_grpc.PredictionServiceStub(
            cls.channel)
        cls.model = model_service_pb2_grpc.ModelServiceStub(cls.channel)

    @classmethod
    def tearDownClass(cls):
        cls.channel.close()
        cls.process.stdin.close()
        cls.process.wait(20)
        cls.process.stdout.close()

    def predict(self, model_spec, inputs, output_filter=()):
        request = predict_pb2.PredictRequest(
            inputs=inputs, output_filter=output_filter)
        if model_spec is not None:
            json_format.ParseDict(model_spec, request.model_spec)
        return self.prediction.Predict(request, timeout=20)

    def refused(self, code, text, call, *arguments):
        """The call must fail with this code and text."""
        with self.assertRaises(grpc.RpcError) as caught:
            call(*arguments)
        self.assertEqual(caught.exception.code().name, code)
        self.assertEqual(caught.exception.details(), text)
        return caught.exception.details()
