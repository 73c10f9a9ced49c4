"""Checks the other verbs of the test server: Classify, Regress,
MultiInference, metadata, status, reload and health. It needs the exported
models, and never goes through the bridge.
"""

from google.protobuf import json_format
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    classification_pb2, get_model_metadata_pb2, get_model_status_pb2,
    inference_pb2, model_management_pb2, regression_pb2)

from testbase import ServerTest, spec, tensor

EXAMPLES = {"example_list": {"examples": [
    {"features": {"feature": {"x": {"float_list": {"value": [80.0]}}}}}]}}
IRIS = {"example_list": {"examples": [{"features": {"feature": {
    name: {"float_list": {"value": [value]}} for name, value in (
        ("sepal_length", 5.1), ("sepal_width", 3.5),
        ("petal_length", 1.4), ("petal_width", 0.2))}}}]}}


class OtherVerbs(ServerTest):
    """Classify, Regress, MultiInference, metadata, status and health."""

    def call(self, method, message, fields, **model_spec):
        request = json_format.ParseDict(fields, message())
        if model_spec:
            json_format.ParseDict(spec(**model_spec), request.model_spec)
        return method(request, timeout=20)

    def classify(self, name, signature, fields):
        return self.call(
            self.prediction.Classify, classification_pb2.ClassificationRequest,
            {"input": fields}, name=name, signature_name=signature)

    def regress(self, name, signature, fields):
        return self.call(
            self.prediction.Regress, regression_pb2.RegressionRequest,
            {"input": fields}, name=name, signature_name=signature)

    def metadata(self, fields, **model_spec):
        return self.call(
            self.prediction.GetModelMetadata,
            get_model_metadata_pb2.GetModelMetadataRequest,
            {"metadata_field": fields}, **model_spec)

    def status(self, **model_spec):
        return self.call(
            self.model.GetModelStatus,
            get_model_status_pb2.GetModelStatusRequest, {}, **model_spec)

    def test_classify(self):
        reply = self.classify("half_plus_two", "classify_x_to_y", EXAMPLES)
        entry, = reply.result.classifications
        self.assertEqual([(c.label, c.score) for c in entry.classes],
                         [("", 42.0)])
        reply = self.classify("iris", "classify", IRIS)
        self.assertEqual(reply.model_spec.signature_name, "classify")
        entry, = reply.result.classifications
        self.assertEqual([c.label for c in entry.classes],
                         ["setosa", "versicolor", "virginica"])
        self.assertGreater(entry.classes[0].score, 0.8)

    def test_regress(self):
        for name, value in (("regress_x_to_y", 42), ("regress_x_to_y2", 43)):
            reply = self.regress("half_plus_two", name, EXAMPLES)
            self.assertEqual(reply.result.regressions[0].value, value)

    def test_context_comes_before_the_example(self):
        context = {"features": {"feature": {
            "x": {"float_list": {"value": [2]}},
            "sepal_length": {"int64_list": {"value": [2]}}}}}
        examples = EXAMPLES["example_list"]["examples"] + [{}]
        reply = self.regress(
            "half_plus_two", "regress_x_to_y", {"example_list_with_context": {
                "context": context, "examples": examples}})
        self.assertEqual(
            [r.value for r in reply.result.regressions], [42, 3])

    def test_refused_examples(self):
        bad = "INVALID_ARGUMENT"
        self.refused(bad, "No signature was found with the name: s",
                     self.classify, "half_plus_two", "s", EXAMPLES)
        self.refused(bad, "No signature was found with the name: s",
                     self.regress, "half_plus_two", "s", EXAMPLES)
        self.refused(
            bad, "Expected classification signature method_name to be "
            "tensorflow/serving/classify. Was: tensorflow/serving/predict",
            self.classify, "half_plus_two", "", EXAMPLES)
        self.refused(
            bad, "Expected regression signature method_name to be "
            "tensorflow/serving/regress. Was: tensorflow/serving/classify",
            self.regress, "half_plus_two", "classify_x_to_y", EXAMPLES)
        self.refused(bad, "Input is empty.", self.regress, "half_plus_two",
                     "regress_x_to_y", {})
        for call, name in ((self.regress, "regress_x2_to_y3"),
                           (self.classify, "classify_x2_to_y3")):
            self.refused(
                bad, "Expects arg[0] to be float but string is provided",
                call, "half_plus_two", name, EXAMPLES)

    def test_multi_inference(self):
        def infer(*signatures):
            tasks = [{"model_spec": {"name": "half_plus_two",
                                     "signature_name": name},
                      "method_name": "tensorflow/serving/" +
                                     name.split("_")[0]}
                     for name in signatures]
            return self.call(
                self.prediction.MultiInference,
                inference_pb2.MultiInferenceRequest,
                {"tasks": tasks, "input": EXAMPLES})
        reply = infer("regress_x_to_y", "classify_x_to_y")
        self.assertEqual(
            reply.results[0].regression_result.regressions[0].value, 42)
        self.assertEqual(
            reply.results[1].classification_result.classifications[0]
            .classes[0].score, 42)
        bad = "INVALID_ARGUMENT"
        self.refused(bad, "Requested signature not found in model graph: s",
                     infer, "s")
        self.refused(bad, "ModelSpec has no name specified.", infer)
        self.refused(bad, "Input tensor must be the same for all Signatures.",
                     infer, "regress_x_to_y", "regress_x2_to_y3")
        self.refused(bad, "Duplicate evaluation of signature: regress_x_to_y",
                     infer, "regress_x_to_y", "regress_x_to_y")

    def test_metadata(self):
        reply = self.metadata(["signature_def"], name="half_plus_two",
                              version_label="stable")
        self.assertEqual(reply.model_spec.version.value, 123)
        self.assertEqual(reply.model_spec.signature_name, "")
        signatures = get_model_metadata_pb2.SignatureDefMap()
        self.assertTrue(
            reply.metadata["signature_def"].Unpack(signatures))
        self.assertEqual(len(signatures.signature_def), 6)
        bad = "INVALID_ARGUMENT"
        self.refused(bad, "Missing ModelSpec", self.metadata, [])
        self.refused(
            bad, "GetModelMetadataRequest must specify at least one "
            "metadata_field", lambda: self.metadata([], name="text"))
        self.refused(bad, "Metadata field f is not supported",
                     lambda: self.metadata(["f"], name="text"))

    def test_status(self):
        def versions(**model_spec):
            return [(v.version, v.state, v.status.error_code) for v in
                    self.status(**model_spec).model_version_status]
        self.assertEqual(versions(name="half_plus_two"),
                         [(124, 30, 0), (123, 30, 0)])
        self.assertEqual(
            versions(name="half_plus_two", version_label="no"),
            [(124, 30, 0), (123, 30, 0)])
        self.assertEqual(versions(name="half_plus_two", version=123),
                         [(123, 30, 0)])
        self.refused("NOT_FOUND", "Could not find any versions of model m",
                     lambda: self.status(name="m"))
        self.refused("NOT_FOUND", "Could not find version 9 of model text",
                     lambda: self.status(name="text", version=9))
        self.refused("INVALID_ARGUMENT", "Missing ModelSpec", self.status)

    def test_reload_and_health(self):
        def reload(labels):
            return self.call(
                self.model.HandleReloadConfigRequest,
                model_management_pb2.ReloadConfigRequest,
                {"config": {"model_config_list": {"config": [
                    {"name": "half_plus_three",
                     "version_labels": labels}]}}})
        reload({"stable": 124})
        reply = self.predict(spec("half_plus_three", version_label="stable"),
                             {"x": tensor([1.0])})
        self.assertEqual(reply.model_spec.version.value, 124)
        self.refused(
            "FAILED_PRECONDITION", "Request to assign label to version 9 of "
            "model half_plus_three, which is not currently available for "
            "inference", reload, {"stable": 9})
        reply = health_pb2_grpc.HealthStub(self.channel).Check(
            health_pb2.HealthCheckRequest(), timeout=20)
        self.assertEqual(reply.status, 1)
