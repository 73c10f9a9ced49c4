"""PredictionService over loaded models, with the status codes and texts of
TensorFlow Serving.

It holds no state of its own and does not listen; server.py does. A deadline
does not interrupt a run, and requests are not logged.
"""

import grpc
from tensorflow_serving.apis import (
    classification_pb2, get_model_metadata_pb2, inference_pb2, predict_pb2,
    prediction_service_pb2_grpc, regression_pb2)

import examples
from errors import ServingError, answers, invalid, needs_spec
from tensors import to_proto


def set_spec(spec, request_spec, version):
    """Says which model, version and signature answered."""
    spec.name = request_spec.name
    spec.signature_name = request_spec.signature_name or "serving_default"
    spec.version.value = version.number


class PredictionService(
        prediction_service_pb2_grpc.PredictionServiceServicer):
    """Runs models."""

    def __init__(self, models, tensor_content=False):
        self.models = models
        self.tensor_content = tensor_content

    @answers
    def Predict(self, request):
        needs_spec(request)
        version = self.models.find(request.model_spec)
        name = request.model_spec.signature_name or "serving_default"
        if name not in version.signatures:
            raise ServingError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f'Serving signature key "{name}" not found.')
        signature = version.signatures[name]
        if not signature.method_name.startswith("tensorflow/serving/"):
            raise ServingError(
                grpc.StatusCode.INTERNAL,
                "Expected prediction signature method_name to be one of "
                "{tensorflow/serving/predict, tensorflow/serving/classify, "
                "tensorflow/serving/regress}. Was: " + signature.method_name)
        outputs = version.predict(
            signature, request.inputs, request.output_filter)
        reply = predict_pb2.PredictResponse()
        set_spec(reply.model_spec, request.model_spec, version)
        for alias, array in outputs.items():
            reply.outputs[alias].CopyFrom(to_proto(
                array, signature.outputs[alias].dtype, self.tensor_content))
        return reply

    @answers
    def Classify(self, request):
        needs_spec(request)
        version = self.models.find(request.model_spec)
        signature = examples.find_signature(
            version, request.model_spec.signature_name,
            "classification", examples.CLASSIFY)
        name, fetches = examples.classify_names(signature)
        rows = examples.serialized(request.input)
        outputs = self.fetch(version, name, rows, fetches)
        reply = classification_pb2.ClassificationResponse(
            result=examples.classifications(outputs, len(rows)))
        set_spec(reply.model_spec, request.model_spec, version)
        return reply

    @answers
    def Regress(self, request):
        needs_spec(request)
        version = self.models.find(request.model_spec)
        signature = examples.find_signature(
            version, request.model_spec.signature_name,
            "regression", examples.REGRESS)
        name, fetches = examples.regress_names(signature)
        rows = examples.serialized(request.input)
        outputs = self.fetch(version, name, rows, fetches)
        reply = regression_pb2.RegressionResponse(
            result=examples.regressions(outputs, len(rows)))
        set_spec(reply.model_spec, request.model_spec, version)
        return reply

    @staticmethod
    def fetch(version, name, rows, fetches):
        """Feeds the examples and returns the arrays by output alias."""
        arrays = version.run({name: rows}, list(fetches.values()))
        return dict(zip(fetches, arrays))

    @answers
    def MultiInference(self, request):
        if not request.tasks:
            raise invalid("ModelSpec has no name specified.")
        version = self.models.find(request.tasks[0].model_spec)
        plans = list(multi_plans(version, request.tasks))
        if len({name for name, _ in plans}) > 1:
            raise invalid("Input tensor must be the same for all Signatures.")
        rows = examples.serialized(request.input)
        reply = inference_pb2.MultiInferenceResponse()
        # The real server runs all tasks in one go; the answer is the same.
        for task, (name, fetches) in zip(request.tasks, plans):
            outputs = self.fetch(version, name, rows, fetches)
            result = reply.results.add()
            set_spec(result.model_spec, task.model_spec, version)
            if task.method_name == examples.CLASSIFY:
                result.classification_result.CopyFrom(
                    examples.classifications(outputs, len(rows)))
            else:
                result.regression_result.CopyFrom(
                    examples.regressions(outputs, len(rows)))
        return reply

    @answers
    def GetModelMetadata(self, request):
        needs_spec(request)
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one "
                          "metadata_field")
        for field in request.metadata_field:
            if field != "signature_def":
                raise invalid(f"Metadata field {field} is not supported")
        version = self.models.find(request.model_spec)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in version.signatures.items():
            signatures.signature_def[name].CopyFrom(signature)
        reply = get_model_metadata_pb2.GetModelMetadataResponse()
        reply.model_spec.name = request.model_spec.name
        reply.model_spec.version.value = version.number
        reply.metadata["signature_def"].Pack(signatures)
        return reply


def multi_plans(version, tasks):
    """For each task, the tensor to feed and the ones to fetch."""
    seen = set()
    for task in tasks:
        if not task.model_spec.name:
            raise invalid("Found ModelSpec with an empty model name.")
        if task.model_spec.name != tasks[0].model_spec.name:
            raise invalid("All ModelSpecs in a MultiInferenceRequest must "
                          "access the same model name.")
        name = task.model_spec.signature_name or "serving_default"
        if name in seen:
            raise invalid(f"Duplicate evaluation of signature: {name}")
        seen.add(name)
        if name not in version.signatures:
            raise invalid("Requested signature not found in model graph: "
                          f"{name}")
        signature = version.signatures[name]
        if task.method_name == examples.CLASSIFY:
            yield examples.classify_names(signature)
        elif task.method_name == examples.REGRESS:
            yield examples.regress_names(signature)
        else:
            raise ServingError(
                grpc.StatusCode.UNIMPLEMENTED,
                f"Unsupported signature method_name: {task.method_name}")
