"""The bodies that are posted, written to files once: seeded, as `json.dumps` would write them.

The numbers are those of `shared/targets.md`: uniform, six decimals. An image is made once and
repeated where many are wanted, since no parser can tell. Nothing here is timed.
"""

import json
import random
import struct
from dataclasses import dataclass

from workplace import WORK, say

SMALL = ("small", (100,))
IMAGE = ("image", (224, 224, 3))

REST, TRANSCODER, RAW, NPY = "rest", "transcoder", "raw", "npy"


@dataclass(frozen=True)
class Body:
    """A request: what to post, and where."""

    path: str
    file: object
    content_type: str = "application/json"

    @property
    def size(self):
        """Its length in bytes."""
        return self.file.stat().st_size

    def read(self):
        """Its bytes."""
        return self.file.read_bytes()


def body(dialect, payload, batch=1):
    """The body of a payload for a kind of front, made if it is not there yet."""
    model, shape = payload
    path = {
        REST: f"/v1/models/{model}:predict",
        TRANSCODER: "/tensorflow.serving.PredictionService/Predict",
        RAW: f"/{model}",
        NPY: f"/v1/models/{model}:predict",
    }[dialect]
    file = WORK / f"{model}-{batch}.{dialect}"
    if not file.exists():
        say(f"making {file.name}")
        # Written aside first, so that half a file is never taken for a whole one.
        partial = file.with_suffix(".partial")
        partial.write_bytes({REST: rest, TRANSCODER: transcoder, RAW: raw, NPY: npy}[dialect](model, shape, batch))
        partial.rename(file)
    return Body(path, file, "application/x-npy" if dialect == NPY else Body.content_type)


def rest(_model, shape, batch):
    """TensorFlow Serving's row format."""
    instance = json.dumps(nest(numbers(shape), shape))
    return ('{"instances": [' + ", ".join([instance] * batch) + "]}").encode()


def transcoder(model, shape, batch):
    """A PredictRequest in the JSON mapping of protocol buffers."""
    dim = [{"size": str(size)} for size in [batch, *shape]]
    tensor = {"dtype": "DT_FLOAT", "tensorShape": {"dim": dim}, "floatVal": numbers(shape) * batch}
    return json.dumps({"modelSpec": {"name": model}, "inputs": {"x": tensor}}).encode()


def raw(_model, shape, batch):
    """The bytes of the tensor alone."""
    values = numbers(shape) * batch
    return struct.pack(f"<{len(values)}f", *values)


def npy(model, shape, batch):
    """The same as numpy.save writes it."""
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {(batch, *shape)}, }}"
    head += " " * (-(10 + len(head) + 1) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + raw(model, shape, batch)


def numbers(shape):
    """The values of one instance."""
    generator = random.Random(1)
    count = 1
    for size in shape:
        count *= size
    return [round(generator.random(), 6) for _ in range(count)]


def nest(values, shape):
    """The values as lists in lists."""
    for size in reversed(shape[1:]):
        values = [values[start:start + size] for start in range(0, len(values), size)]
    return values
