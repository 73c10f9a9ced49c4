"""The rules of Classify, Regress and MultiInference: tf.Examples in, labels
with scores or plain numbers out, and what is refused on the way.

It knows nothing of gRPC calls or of how a model is found.
"""

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, regression_pb2

from errors import ServingError, invalid

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"


def find_signature(version, name, kind, method):
    """The signature of a Classify or Regress request."""
    name = name or "serving_default"
    if name not in version.signatures:
        raise invalid(f"No signature was found with the name: {name}")
    signature = version.signatures[name]
    check_method(signature, kind, method)
    return signature


def check_method(signature, kind, method):
    """Refuses a signature that was exported for another method."""
    if signature.method_name != method:
        raise invalid(
            f"Expected {kind} signature method_name to be {method}. Was: "
            f"{signature.method_name}")


def input_name(signature, kind):
    """The name of the tensor that takes the tf.Examples."""
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if "inputs" not in signature.inputs:
        raise ServingError(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"No {kind} inputs found in SignatureDef: {signature}")
    return signature.inputs["inputs"].name


def classify_names(signature):
    """The tensors that a Classify call needs: the input and the outputs."""
    check_method(signature, "classification", CLASSIFY)
    name = input_name(signature, "classification")
    if len(signature.outputs) not in (1, 2):
        raise invalid("Expected one or two output Tensors, found "
                      f"{len(signature.outputs)}")
    outputs = {alias: signature.outputs[alias].name
               for alias in ("classes", "scores")
               if alias in signature.outputs}
    if not outputs:
        raise ServingError(
            grpc.StatusCode.FAILED_PRECONDITION,
            "Expected classification signature outputs to contain at least "
            f'one of "classes" or "scores". Signature was: {signature}')
    return name, outputs


def regress_names(signature):
    """The tensors that a Regress call needs: the input and the output."""
    check_method(signature, "regression", REGRESS)
    name = input_name(signature, "regression")
    if len(signature.outputs) != 1:
        raise invalid("Expected one output Tensor.")
    if "outputs" not in signature.outputs:
        raise ServingError(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"No regression outputs found in SignatureDef: {signature}")
    return name, {"outputs": signature.outputs["outputs"].name}


def serialized(message):
    """The bytes of every tf.Example in an Input, the context put in front."""
    kind = message.WhichOneof("kind")
    part = getattr(message, kind) if kind else None
    if part is None or not part.examples:
        raise invalid("Input is empty.")
    context = b""
    if kind == "example_list_with_context":
        context = part.context.SerializeToString()
    return np.array([context + example.SerializeToString()
                     for example in part.examples], object)


def shape_text(array):
    """A shape as TensorFlow prints it."""
    return "[" + ",".join(str(size) for size in array.shape) + "]"


def check_classes(array, alias, wanted, count):
    """Checks the shape and dtype of one output of Classify."""
    if array.ndim != 2:
        raise invalid("Expected Tensor shape: [batch_size num_classes] but "
                      f"got {shape_text(array)}")
    right = array.dtype == (object if alias == "classes" else np.float32)
    if not right:
        raise invalid(f"Expected {alias} Tensor of {wanted}. Got: "
                      f"{dtype_number(array)}")
    if array.shape[0] != count:
        raise invalid(f"Expected {alias} output batch size of {count}. Got: "
                      f"{array.shape[0]}")


def dtype_number(array):
    """The enum value of an array's dtype, as those messages show it."""
    return tf.dtypes.as_dtype(array.dtype).as_datatype_enum


def classifications(outputs, count):
    """Makes a ClassificationResult of the fetched arrays."""
    classes, scores = outputs.get("classes"), outputs.get("scores")
    if classes is not None:
        check_classes(classes, "classes", "DT_STRING", count)
    if scores is not None:
        check_classes(scores, "scores", "DT_FLOAT", count)
    widths = [array.shape[1] for array in (classes, scores)
              if array is not None]
    if len(set(widths)) > 1:
        raise invalid("Tensors class and score should match in dim_size(1). "
                      f"Got {widths[0]} vs. {widths[1]}")
    result = classification_pb2.ClassificationResult()
    for row in range(count):
        entry = result.classifications.add()
        for column in range(widths[0]):
            found = entry.classes.add()
            if classes is not None:
                found.label = classes[row, column].decode("utf-8", "replace")
            if scores is not None:
                found.score = scores[row, column]
    return result


def regressions(outputs, count):
    """Makes a RegressionResult of the fetched array."""
    array = outputs["outputs"]
    if not (array.ndim == 1 or array.ndim == 2 and array.shape[1] == 1):
        raise invalid("Expected output Tensor shape to be either [batch_size] "
                      f"or [batch_size, 1] but got {shape_text(array)}")
    if array.shape[0] != count:
        raise invalid("Input batch size did not match output batch size: "
                      f"{count} vs. {array.shape[0]}")
    if array.dtype != np.float32:
        raise invalid("Expected output Tensor of DT_FLOAT.  Got: "
                      f"{dtype_number(array)}")
    result = regression_pb2.RegressionResult()
    for value in array.reshape(-1).tolist():
        result.regressions.add(value=value)
    return result
