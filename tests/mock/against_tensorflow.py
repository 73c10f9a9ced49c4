"""The mock beside TensorFlow: the same SavedModels, the same stubs.

What TensorFlow's own tools say of a SavedModel must be what the mock says, and
an answer of the mock must look like that of the model: the same outputs with
the same dtypes and shapes, and the same refusals.
"""

import contextlib
import io
import json
import re
import subprocess
import sys
import tempfile
import unittest
import urllib.request
from pathlib import Path

from process import MODELS, ROOT, mock

sys.path.insert(0, str(ROOT / "tests" / "serving"))

import grpc  # noqa: E402
import tensorflow as tf  # noqa: E402
from tensorflow.python.tools import saved_model_cli  # noqa: E402
from tensorflow.python.tools import saved_model_utils  # noqa: E402
from tensorflow_serving.apis import (  # noqa: E402
    classification_pb2, get_model_metadata_pb2, get_model_status_pb2,
    inference_pb2, model_service_pb2_grpc, predict_pb2,
    prediction_service_pb2_grpc, regression_pb2)

from samples import all_samples  # noqa: E402
from tensors import to_proto  # noqa: E402

EXAMPLES = [
    {"x": 80.0}, {"x": 1.0, "x2": 3.0},
]
FLOWER = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4,
          "petal_width": 0.2}


def versions():
    """Every exported version: its model, its number and its directory."""
    for path in sorted(MODELS.glob("*/*/saved_model.pb")):
        yield path.parents[1].name, int(path.parent.name), path.parent


def example(features):
    """A tf.Example of floats."""
    return tf.train.Example(features=tf.train.Features(feature={
        name: tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
        for name, value in features.items()}))


class Stubs:
    """The stubs of tensorflow-serving-api for one server."""

    def __init__(self, address):
        self.channel = grpc.insecure_channel(address, [
            ("grpc.max_receive_message_length", -1)])
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(
            self.channel)
        self.model = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def call(self, method, request):
        """A reply, or the code and the text of a refusal."""
        service = (self.model if method == "GetModelStatus"
                   else self.prediction)
        try:
            return getattr(service, method)(request, timeout=30)
        except grpc.RpcError as error:
            return error.code(), error.details()

    def signatures(self, name, version):
        """The signatures of a version, as metadata has them."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            metadata_field=["signature_def"])
        request.model_spec.name = name
        request.model_spec.version.value = version
        reply = self.call("GetModelMetadata", request)
        found = get_model_metadata_pb2.SignatureDefMap()
        assert reply.metadata["signature_def"].Unpack(found)
        return dict(found.signature_def)


@contextlib.contextmanager
def tensorflow():
    """A gRPC server that runs the same models with TensorFlow."""
    process = subprocess.Popen(
        [sys.executable, ROOT / "tests" / "serving" / "server.py",
         "--exit-with-stdin", "--max-seconds", "600"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        stderr=subprocess.DEVNULL)
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


def shown(path):
    """What `saved_model_cli show --all` prints of an export, by signature:
    the method, and of each input and output the dtype, shape and name."""
    text = io.StringIO()
    arguments = sys.argv
    sys.argv = ["saved_model_cli", "show", "--dir", str(path), "--all"]
    try:
        with contextlib.redirect_stdout(text), \
                contextlib.suppress(SystemExit):
            saved_model_cli.main()
    finally:
        sys.argv = arguments
    text = text.getvalue().split("Concrete Functions:")[0]
    found = {}
    for block in text.split("signature_def['")[1:]:
        tensors = re.findall(
            r"(input|output)s\['(.+?)'\] tensor_info:\s+dtype: (\S+)\s+"
            r"shape: (.+)\s+name: (\S+)", block)
        method = re.search(r"Method name is: (\S*)", block).group(1)
        found[block.split("'")[0]] = (method, sorted(tensors))
    return found


def as_shown(signature):
    """A signature of the mock in the words of `saved_model_cli`."""
    tensors = []
    for kind, infos in (("input", signature.inputs),
                        ("output", signature.outputs)):
        for alias, info in infos.items():
            shape = info.tensor_shape
            sizes = ", ".join(str(dim.size) for dim in shape.dim)
            text = "unknown_rank" if shape.unknown_rank else f"({sizes})"
            name = saved_model_cli.types_pb2.DataType.Name(info.dtype)
            tensors.append((kind, alias, name, text, info.name))
    return signature.method_name, sorted(tensors)


def outline(reply):
    """All of a reply but the values."""
    if isinstance(reply, tuple):
        return reply
    outputs = {alias: (tensor.dtype, [d.size for d in tensor.tensor_shape.dim])
               for alias, tensor in reply.outputs.items()}
    spec = reply.model_spec
    return spec.name, spec.version.value, spec.signature_name, outputs


class AgainstTensorFlow(unittest.TestCase):
    """A mock and a real server of the exported models."""

    @classmethod
    def setUpClass(cls):
        cls.servers = contextlib.ExitStack()
        address, cls.rest = cls.servers.enter_context(
            mock("--models", str(MODELS)))
        cls.mock = Stubs(address)
        cls.real_address = cls.servers.enter_context(tensorflow())
        cls.real = Stubs(cls.real_address)

    @classmethod
    def tearDownClass(cls):
        cls.mock.channel.close()
        cls.real.channel.close()
        cls.servers.close()

    def test_signatures_are_those_that_tensorflow_reads(self):
        count = 0
        for name, version, path in versions():
            meta_graph = saved_model_utils.get_meta_graph_def(
                str(path), "serve")
            expected = dict(meta_graph.signature_def.items())
            self.assertEqual(self.mock.signatures(name, version), expected)
            self.assertEqual(self.real.signatures(name, version), expected)
            count += len(expected)
        self.assertGreater(count, 40)

    def test_signatures_are_those_that_saved_model_cli_shows(self):
        for name, version, path in versions():
            expected = shown(path)
            found = {key: as_shown(signature) for key, signature
                     in self.mock.signatures(name, version).items()}
            self.assertEqual(found, expected, f"{name} {version}")
            self.assertTrue(found, f"{name} {version}")

    def test_versions_and_labels_are_the_same(self):
        for name in {name for name, _, _ in versions()} | {"nothing"}:
            request = get_model_status_pb2.GetModelStatusRequest()
            request.model_spec.name = name
            self.assertEqual(self.mock.call("GetModelStatus", request),
                             self.real.call("GetModelStatus", request))
        for label in ("stable", "canary", "other"):
            request = predict_pb2.PredictRequest()
            request.model_spec.name = "half_plus_two"
            request.model_spec.version_label = label
            request.inputs["x"].CopyFrom(
                tf.make_tensor_proto([[1.0]], tf.float32))
            self.assertEqual(outline(self.mock.call("Predict", request)),
                             outline(self.real.call("Predict", request)))

    def test_answers_have_the_outputs_of_the_models(self):
        count = 0
        for sample in all_samples():
            request = predict_pb2.PredictRequest()
            request.model_spec.name = sample.model
            request.model_spec.signature_name = sample.signature
            for alias, array in sample.inputs.items():
                dtype = (tf.string if array.dtype == object
                         else tf.dtypes.as_dtype(array.dtype))
                request.inputs[alias].CopyFrom(
                    to_proto(array, dtype.as_datatype_enum, False))
            real = outline(self.real.call("Predict", request))
            self.assertIsInstance(real[0], str, sample.id)
            reply = self.mock.call("Predict", request)
            self.assertEqual(outline(reply), real, sample.id)
            for tensor in reply.outputs.values():
                # TensorFlow must be able to read it.
                tf.make_ndarray(tensor)
            # The same request has the same answer.
            self.assertEqual(self.mock.call("Predict", request), reply)
            count += 1
        self.assertGreater(count, 30)

    def test_refusals_are_the_same(self):
        one = tf.make_tensor_proto([[1.0]], tf.float32)
        cases = [("half_plus_two", "", {"z": one}), ("nothing", "", {}),
                 ("half_plus_two", "nothing", {"x": one}), ("", "", {}),
                 ("half_plus_two", "", {"x": one, "z": one}),
                 ("iris", "", {"x": one})]
        for name, signature, inputs in cases:
            request = predict_pb2.PredictRequest(inputs=inputs)
            request.model_spec.name = name
            request.model_spec.signature_name = signature
            refusal = self.real.call("Predict", request)
            self.assertIsInstance(refusal, tuple)
            self.assertEqual(self.mock.call("Predict", request), refusal)

    def test_examples_have_as_many_results(self):
        for method, kind, signature, name, features in (
                ("Classify", classification_pb2.ClassificationRequest,
                 "classify_x_to_y", "half_plus_two", EXAMPLES),
                ("Classify", classification_pb2.ClassificationRequest,
                 "classify", "iris", [FLOWER, FLOWER]),
                ("Classify", classification_pb2.ClassificationRequest,
                 "regress_x_to_y", "half_plus_two", EXAMPLES),
                ("Regress", regression_pb2.RegressionRequest,
                 "regress_x_to_y2", "half_plus_three", EXAMPLES)):
            request = kind()
            request.model_spec.name = name
            request.model_spec.signature_name = signature
            request.input.example_list.examples.extend(map(example, features))
            replies = [stubs.call(method, request)
                       for stubs in (self.mock, self.real)]
            self.assertEqual(*map(results, replies))
        request = inference_pb2.MultiInferenceRequest()
        for signature, method in (("regress_x_to_y", "regress"),
                                  ("classify_x_to_y", "classify")):
            task = request.tasks.add()
            task.model_spec.name = "half_plus_two"
            task.model_spec.signature_name = signature
            task.method_name = f"tensorflow/serving/{method}"
        request.input.example_list.examples.extend(map(example, EXAMPLES))
        mocked, real = (stubs.call("MultiInference", request)
                        for stubs in (self.mock, self.real))
        self.assertEqual(len(mocked.results), len(real.results))

    def test_the_configuration_of_a_server_means_the_same(self):
        with mock("--models", str(MODELS / "models.config")) as (address, _):
            stubs = Stubs(address)
            for name, version, _ in versions():
                self.assertEqual(stubs.signatures(name, version),
                                 self.mock.signatures(name, version))
            stubs.channel.close()

    def test_rest_tells_the_same(self):
        for name, version, _ in versions():
            url = (f"http://{self.rest}/v1/models/{name}/versions/{version}"
                   "/metadata")
            with urllib.request.urlopen(url, timeout=30) as reply:
                told = json.load(reply)["metadata"]["signature_def"]
            self.assertEqual(set(told["signature_def"]),
                             set(self.mock.signatures(name, version)))

    def test_a_recorded_server_is_replayed(self):
        samples = [sample for sample in all_samples()
                   if sample.model in ("iris", "image", "mixed", "text")]
        requests = []
        for sample in samples:
            request = predict_pb2.PredictRequest()
            request.model_spec.name = sample.model
            request.model_spec.signature_name = sample.signature
            for alias, array in sample.inputs.items():
                dtype = (tf.string if array.dtype == object
                         else tf.dtypes.as_dtype(array.dtype))
                request.inputs[alias].CopyFrom(
                    to_proto(array, dtype.as_datatype_enum, True))
            requests.append(request)
        bad = predict_pb2.PredictRequest()
        bad.model_spec.name = "nothing"
        requests.append(bad)
        with tempfile.TemporaryDirectory() as directory:
            path = str(Path(directory) / "calls.jsonl")
            with mock("--record", path, "--upstream",
                      f"http://{self.real_address}") as (address, _):
                recorder = Stubs(address)
                recorded = [recorder.call("Predict", request)
                            for request in requests]
                signatures = recorder.signatures("iris", 1)
                recorder.channel.close()
            with mock("--replay", path) as (address, _):
                replay = Stubs(address)
                replayed = [replay.call("Predict", request)
                            for request in requests]
                self.assertEqual(replay.signatures("iris", 1), signatures)
                replay.channel.close()
        real = [self.real.call("Predict", request) for request in requests]
        for one, other, third in zip(recorded, replayed, real):
            # A NaN is no other NaN, but its bytes are.
            self.assertEqual(canonical(one), canonical(other))
            self.assertEqual(canonical(one), canonical(third))


def canonical(reply):
    """A reply as bytes that are the same for equal ones."""
    if isinstance(reply, tuple):
        return reply
    return reply.SerializeToString(deterministic=True)


def results(reply):
    """What is left of results without labels and numbers."""
    if isinstance(reply, tuple):
        return reply
    if reply.DESCRIPTOR.name == "RegressionResponse":
        return len(reply.result.regressions)
    return [len(entry.classes) for entry in reply.result.classifications]


if __name__ == "__main__":
    unittest.main()
