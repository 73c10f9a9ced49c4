"""Loads SavedModels and runs their signatures the way TensorFlow Serving does:
one session for each version, feeding and fetching by tensor name.

Versions are found once, at the start, and all are kept; nothing is unloaded.
This is not a batching or scheduling server, and it never checks shapes.
"""

import json

import grpc
import tensorflow as tf

from errors import CODES, ServingError, invalid
from tensors import from_proto


class Version:
    """One version of a model, ready to run."""

    def __init__(self, number, directory):
        self.number = number
        options = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
        self.session = tf.compat.v1.Session(
            graph=tf.Graph(), config=options)
        with self.session.graph.as_default():
            meta_graph = tf.compat.v1.saved_model.load(
                self.session, [tf.saved_model.SERVING], str(directory))
        self.signatures = dict(meta_graph.signature_def)

    def run(self, feeds, fetches):
        """Feeds arrays by tensor name and returns the fetched ones."""
        # `Session.run` would compare shapes before it starts and decorate
        # errors. The real server does neither, so this calls what is below.
        # pylint: disable=protected-access
        def output(name):
            return self.session.graph.get_tensor_by_name(name)._as_tf_output()
        try:
            return self.session._call_tf_sessionrun(
                None, {output(name): array for name, array in feeds.items()},
                [output(name) for name in fetches], [], None)
        except tf.errors.OpError as error:
            raise ServingError(CODES[error.error_code], error.message) \
                from error

    def predict(self, signature, inputs, output_filter):
        """Runs a signature on TensorProtos; returns arrays by output name."""
        check_input_count(signature, inputs)
        feeds = read_inputs(signature, inputs)
        aliases = choose_outputs(signature, output_filter)
        fetches = [signature.outputs[alias].name for alias in aliases]
        return dict(zip(aliases, self.run(feeds, fetches)))


def joined(names):
    """Names as they are listed in error texts."""
    return ",".join(sorted(names))


def check_input_count(signature, inputs):
    """Refuses a call with the wrong number of inputs."""
    given, wanted = set(inputs), set(signature.inputs)
    if len(given) > len(wanted) or (
            len(given) < len(wanted) and not signature.defaults):
        raise invalid(
            f"input size does not match signature: {len(given)}!="
            f"{len(wanted)} len({{{joined(given)}}}) != "
            f"len({{{joined(wanted)}}}). Sent extra: "
            f"{{{joined(given - wanted)}}}. Missing but required: "
            f"{{{joined(wanted - given)}}}.")


def read_inputs(signature, inputs):
    """Takes each input from the request or from the signature's defaults."""
    feeds, used = {}, set()
    for alias, info in sorted(signature.inputs.items()):
        if alias in inputs:
            proto = inputs[alias]
            used.add(alias)
        elif alias in signature.defaults:
            proto = signature.defaults[alias]
        else:
            raise invalid(
                f"Signature input alias: {alias}(feed name: {info.name}) not "
                "found in request and no default value provided. Inputs "
                f"expected to be in the request {{{joined(inputs)}}}, or "
                f"default input alias set: {joined(signature.defaults)}")
        try:
            feeds[info.name] = from_proto(proto)
        except ValueError:
            raise invalid(f"tensor parsing error: {alias}") from None
    if len(used) != len(inputs):
        raise invalid(
            "Inputs contains invalid name. Used request inputs: "
            f"{joined(used)}, request input: {joined(inputs)}")
    return feeds


def choose_outputs(signature, output_filter):
    """The outputs to fetch: those asked for, or all."""
    seen = []
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {alias} Outputs "
                "expected to be in the set "
                f"{{{joined(signature.outputs)}}}.")
        if alias in seen:
            raise invalid(f"duplicate output tensor alias: {alias}")
        seen.append(alias)
    return seen or sorted(signature.outputs)


class Models:
    """All the models under a directory, with their versions and labels."""

    def __init__(self, root):
        self.versions = {}
        self.labels = {}
        for home in sorted(path for path in root.iterdir() if path.is_dir()):
            numbers = sorted(int(path.name) for path in home.iterdir()
                             if path.name.isdecimal())
            self.versions[home.name] = {
                number: Version(number, home / str(number))
                for number in numbers}
            labels = home / "labels.json"
            self.labels[home.name] = (
                json.loads(labels.read_text("utf-8"))
                if labels.exists() else {})

    def find(self, spec):
        """The version that a ModelSpec asks for."""
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        versions = self.versions.get(spec.name, {})
        request = f"Latest({spec.name})"
        number = max(versions, default=None)
        if spec.HasField("version_label"):
            number = self.labels.get(spec.name, {}).get(spec.version_label)
            if number is None:
                raise invalid("Unrecognized servable version label: "
                              f"{spec.version_label}")
        elif spec.HasField("version"):
            number = spec.version.value
        if spec.WhichOneof("version_choice"):
            request = f"Specific({spec.name}, {number})"
        if number not in versions:
            raise ServingError(
                grpc.StatusCode.NOT_FOUND,
                f"Servable not found for request: {request}")
        return versions[number]

    def set_labels(self, name, labels):
        """Replaces the labels of a model, if all their versions exist."""
        for number in labels.values():
            if number not in self.versions.get(name, {}):
                raise ServingError(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    f"Request to assign label to version {number} of model "
                    f"{name}, which is not currently available for inference")
        self.labels[name] = dict(labels)
