#!/usr/bin/env python3
"""Writes requests for the bridge with the answers that TensorFlow gives.

Each answer comes from loading the SavedModel in Python and running its
signature in a session, as TensorFlow Serving does, with no server between.
(Called as a function it may be rewritten in another way, which rounds
otherwise: a division by a constant may become a product.) The result, `reference.json`, is a list of

    id        a name for messages
    path      where to POST, such as /v1/models/affine100:predict
    body      the JSON text to send
    format    "row" or "columnar": where the reply has its tensors
    outputs   how many outputs the reply has; names appear from two on
    output    the output that this entry is about
    dtype     such as DT_FLOAT
    shape     sizes, outermost first
    values_hex    the elements as little-endian bytes in hex, or
    values_b64    for DT_STRING, every element in base64

NaN is to be compared as NaN: its sign and payload do not survive JSON.
"""

import argparse
import base64
import json
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

from export_models import SOURCES  # noqa: E402
from once import HERE, TARGET, once  # noqa: E402


def literal(value, as_base64):
    """One element as JSON text; floats in their shortest decimal form."""
    import numpy as np
    if isinstance(value, bytes):
        if as_base64:
            return json.dumps({"b64": base64.b64encode(value).decode()})
        return json.dumps(value.decode("utf-8"), ensure_ascii=False)
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if np.iscomplexobj(value):
        parts = (literal(part, False) for part in (value.real, value.imag))
        return "[" + ", ".join(parts) + "]"
    if value.dtype.kind in "iu":
        return str(int(value))
    if np.isnan(value):
        return "NaN"
    if np.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    # Of float32 and float64 this is the shortest text that reads back the
    # same; the narrow dtypes are written as the double they equal.
    narrow = value.dtype.itemsize < 4
    return repr(float(value)) if narrow else str(value)


def text(array, as_base64=False):
    """An array as nested JSON lists."""
    if array.ndim == 0:
        return literal(array[()], as_base64)
    # The dots make an array even of a single element.
    rows = (text(array[row, ...], as_base64) for row in range(len(array)))
    return "[" + ", ".join(rows) + "]"


def member(name, value):
    """One member of a JSON object."""
    return f"{json.dumps(name)}: {value}"


def body(inputs, layout, signature, as_base64):
    """The request's JSON text in the row or the columnar format."""
    def named(values):
        return "{" + ", ".join(
            member(name, text(value, as_base64))
            for name, value in values.items()) + "}"
    members = []
    if signature != "serving_default":
        members.append(member("signature_name", json.dumps(signature)))
    if layout == "columnar":
        only, = inputs.values() if len(inputs) == 1 else (None,)
        value = named(inputs) if only is None else text(only, as_base64)
        members.append(member("inputs", value))
    elif len(inputs) == 1:
        only, = inputs.values()
        members.append(member("instances", text(only, as_base64)))
    else:
        count = len(next(iter(inputs.values())))
        rows = (named({name: value[row, ...]
                       for name, value in inputs.items()})
                for row in range(count))
        members.append(member("instances", "[" + ", ".join(rows) + "]"))
    return "{" + ", ".join(members) + "}"


def expected(tensor):
    """The answer's dtype, shape and elements."""
    import numpy as np
    from tensorflow.core.framework import types_pb2
    entry = {"dtype": types_pb2.DataType.Name(tensor.dtype.as_datatype_enum),
             "shape": tensor.shape.as_list()}
    if entry["dtype"] == "DT_STRING":
        flat = np.array(tensor.numpy(), object).reshape(-1)
        entry["values_b64"] = [base64.b64encode(value).decode()
                               for value in flat]
    else:
        entry["values_hex"] = tensor.numpy().tobytes().hex()
    return entry


def load(directory):
    """Makes a function of a signature's name and its inputs by name."""
    import tensorflow as tf
    options = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    session = tf.compat.v1.Session(graph=tf.Graph(), config=options)
    with session.graph.as_default():
        signatures = tf.compat.v1.saved_model.load(
            session, [tf.saved_model.SERVING], str(directory)).signature_def

    def run(name, inputs):
        signature = signatures[name]
        outputs = session.run(
            {key: info.name for key, info in signature.outputs.items()},
            {signature.inputs[key].name: value
             for key, value in inputs.items()})
        return {key: tf.constant(value) for key, value in outputs.items()}
    return run


def write(models, out):
    """Runs every model on every sample and writes the file."""
    import samples
    loaded, entries = {}, []
    for sample in samples.all_samples():
        if sample.model not in loaded:
            newest = max((models / sample.model).glob("[0-9]*"),
                         key=lambda path: int(path.name))
            loaded[sample.model] = load(newest)
        outputs = loaded[sample.model](sample.signature, sample.inputs)
        for layout in sample.layouts:
            for name, tensor in sorted(outputs.items()):
                entries.append({
                    "id": f"{sample.id}/{layout}/{name}",
                    "path": f"/v1/models/{sample.model}:predict",
                    "body": body(sample.inputs, layout, sample.signature,
                                 sample.as_base64),
                    "format": layout, "outputs": len(outputs),
                    "output": name, **expected(tensor)})
    out.write_text(
        json.dumps(entries, indent=1, ensure_ascii=False) + "\n", "utf-8")


def main():
    """Reads the arguments and writes the file where that is needed."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path,
                        default=TARGET / "serving-models")
    models = parser.parse_args().models
    out = models / "reference.json"
    sources = SOURCES + [HERE / "reference.py", HERE / "samples.py"]
    once(models / "reference.stamp", sources, lambda: write(models, out))
    print(out)


if __name__ == "__main__":
    main()
