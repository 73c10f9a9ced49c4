"""ModelService: which versions of a model there are, and its labels.

Everything that was loaded is AVAILABLE, always. Of a new configuration only
the labels are taken over; no model is loaded or unloaded.
"""

import grpc
from tensorflow_serving.apis import (
    get_model_status_pb2, model_management_pb2, model_service_pb2_grpc)

from errors import ServingError, answers, invalid, needs_spec

AVAILABLE = get_model_status_pb2.ModelVersionStatus.AVAILABLE


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """Tells which versions are there, and moves labels."""

    def __init__(self, models):
        self.models = models

    @answers
    def GetModelStatus(self, request):
        needs_spec(request)
        spec = request.model_spec
        numbers = sorted(self.models.versions.get(spec.name, {}))
        if spec.HasField("version"):
            wanted = spec.version.value
            if wanted not in numbers:
                raise ServingError(
                    grpc.StatusCode.NOT_FOUND,
                    f"Could not find version {wanted} of model {spec.name}")
            numbers = [wanted]
        if not numbers:
            raise ServingError(
                grpc.StatusCode.NOT_FOUND,
                f"Could not find any versions of model {spec.name}")
        reply = get_model_status_pb2.GetModelStatusResponse()
        for number in reversed(numbers):
            entry = reply.model_version_status.add(
                version=number, state=AVAILABLE)
            # Present although it holds nothing but OK.
            entry.status.SetInParent()
        return reply

    @answers
    def HandleReloadConfigRequest(self, request):
        """Takes over the labels of the models that are named; no more."""
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid("ServerModelConfig type not supported by "
                          "HandleReloadConfigRequest. Only ModelConfigList "
                          "is currently supported")
        for config in request.config.model_config_list.config:
            self.models.set_labels(config.name, config.version_labels)
        reply = model_management_pb2.ReloadConfigResponse()
        reply.status.SetInParent()
        return reply
