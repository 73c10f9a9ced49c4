#!/usr/bin/env python3
"""Sends what only tfbridge takes to a real model behind it: examples, pictures.

Exports a model of its own, serves it over gRPC as the other tests do, starts the
program in front of it, and compares its answers with what TensorFlow makes of
the same input in Python. `extras.py PROGRAM`; it says how far pictures are from
TensorFlow's own, and fails beyond the bounds below.
"""

import json
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from argparse import Namespace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from google.protobuf import descriptor_pb2  # noqa: E402
from tensorflow_serving.apis import input_pb2  # noqa: E402

import server  # noqa: E402

# How many of 255 levels a sample of a picture may be away from TensorFlow's, and
# all on average: PNG is without loss, two decoders of JPEG may round otherwise.
# By default TensorFlow takes the less exact of two transforms ("fast").
BOUNDS = {"png": (0.001, 0.001), "jpeg": (5.0, 0.5), "fast": (8.0, 1.5)}

CONTEXT = {"n": tf.io.FixedLenFeature([], tf.int64, -1)}
FEATURES = {"x": tf.io.FixedLenFeature([2], tf.float32),
            "s": tf.io.FixedLenFeature([], tf.string, "none"),
            "v": tf.io.VarLenFeature(tf.int64)}
STEPS = {"t": tf.io.RaggedFeature(tf.string),
         "f": tf.io.FixedLenSequenceFeature([2], tf.float32)}


def descriptors():
    """The messages of a list with context, for `decode_proto`."""
    files = descriptor_pb2.FileDescriptorSet()

    def add(file):
        for dependency in file.dependencies:
            add(dependency)
        if file.name not in [known.name for known in files.file]:
            file.CopyToProto(files.file.add())

    add(input_pb2.DESCRIPTOR)
    return b"bytes://" + files.SerializeToString()


class Model(tf.Module):
    """Signatures that parse examples of every kind, and some that give pictures back."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def examples(self, serialized):
        """Examples, all features."""
        parsed = tf.io.parse_example(serialized, FEATURES)
        return {"x": parsed["x"], "s": parsed["s"],
                "sum": tf.sparse.reduce_sum(parsed["v"], 1)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def sequences(self, serialized):
        """Examples of sequences."""
        context, steps, lengths = tf.io.parse_sequence_example(
            serialized, CONTEXT, STEPS)
        return {"n": context["n"], "f": steps["f"], "steps": lengths["f"],
                "t": tf.strings.reduce_join(
                    steps["t"].merge_dims(1, 2).to_tensor("-"), 1)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def elwc(self, serialized):
        """A list of examples with its context, as rankers take it."""
        _, (examples, context) = tf.io.decode_proto(
            serialized, "tensorflow.serving.ExampleListWithContext",
            ["examples", "context"], [tf.string, tf.string],
            descriptor_source=descriptors())
        parsed = tf.io.parse_example(tf.reshape(examples, [-1]), FEATURES)
        query = tf.io.parse_example(tf.reshape(context, [-1]), CONTEXT)
        return {"x": tf.reshape(parsed["x"], [tf.shape(serialized)[0], -1]),
                "n": query["n"]}

    def signatures(self):
        """All of them by name."""
        def picture(shape, dtype):
            # A function of its own, for one that is wider would do.
            return tf.function(lambda x: {"y": tf.identity(x)}).get_concrete_function(
                tf.TensorSpec(shape, dtype, name="x"))
        return {"serving_default": self.examples,
                "sequences": self.sequences, "elwc": self.elwc,
                "open": picture([None, None, None, 3], tf.float32),
                "fixed": picture([None, 24, 40, 3], tf.float32),
                "gray": picture([None, None, 1], tf.float32),
                "rgba": picture([None, None, None, 4], tf.uint8),
                "uint8": picture([None, None, None, 3], tf.uint8)}


class Bridge:
    """The program in front of a server."""

    def __init__(self, program, backend):
        self.process = subprocess.Popen(
            [program, "serve", "--backend", f"127.0.0.1:{backend}",
             "--listen", "127.0.0.1:0", "--admin-listen", "off",
             "--log-format", "json"], stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if '"message":"serving"' in line:
                listen = json.loads(json.loads(line)["listen"])
                self.url = f"http://{listen[0]}/v1/models/extras:predict"
                return
        raise AssertionError("the program does not serve")

    def post(self, body, query="", content_type="application/json"):
        """The JSON of an answer."""
        request = urllib.request.Request(
            self.url + query, body, {"Content-Type": content_type})
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise AssertionError((query, error.read())) from error

    def predict(self, **body):
        """The predictions for a JSON body."""
        return self.post(json.dumps(body).encode())["predictions"]

    def picture(self, file, kind, signature, query=""):
        """A picture as the model has got it."""
        query = f"?signature_name={signature}&{query}"
        reply = self.post(file, query, f"image/{kind}")
        return np.array(reply["predictions"], np.float32)


def check_examples(bridge):
    """Features become the examples that TensorFlow parses."""
    rows = bridge.predict(examples=[
        {"x": [1.5, -2.0], "s": "é", "v": [1, 2, 3]},
        {"x": [0.25, 1e-3], "v": []}])
    assert rows == [{"x": [1.5, -2.0], "s": "é", "sum": 6},
                    {"x": [0.25, 0.001], "s": "none", "sum": 0}], rows
    rows = bridge.predict(
        signature_name="sequences", example_format="sequence_example",
        examples=[{"context": {"n": 5}, "feature_lists": {
            "t": [["a", "b"], ["c"]], "f": [[1.0, 2.0], [3.0, 4.5]]}},
            {"feature_lists": {"t": [], "f": [[0.5, 0.25]]}}])
    assert rows == [
        {"n": 5, "f": [[1.0, 2.0], [3.0, 4.5]], "steps": 2, "t": "abc"},
        {"n": -1, "f": [[0.5, 0.25], [0.0, 0.0]], "steps": 1, "t": "---"}], rows
    rows = bridge.predict(
        signature_name="elwc", example_format="elwc", context={"n": 7},
        examples=[{"x": [1.0, 2.0]}, {"x": [3.0, 4.0]}])
    assert rows == [{"x": [1.0, 2.0, 3.0, 4.0], "n": 7}], rows


def samples():
    """Files of pictures, with what kind they are."""
    rng = np.random.default_rng(7)
    down, across = np.mgrid[0:75, 0:113]
    smooth = np.stack([down * 3, across * 2, down + across], -1) % 256
    blobs = 128 + 100 * np.sin(down / 9.0)[..., None] * np.cos(
        across[..., None] / [5.0, 9.0, 17.0])
    noise = rng.integers(0, 256, [33, 50, 3])
    for name, picture in ("smooth", smooth), ("blobs", blobs), ("noise", noise):
        picture = picture.astype(np.uint8)
        gray, alpha = picture[..., :1], picture[..., [0, 2]]
        rgba = np.concatenate([picture, picture[..., :1]], -1)
        wide = picture.astype(np.uint16) * 251 + 3
        for form in picture, gray, alpha, rgba, wide:
            file = tf.io.encode_png(form).numpy()
            yield f"{name} {form.shape} {form.dtype}", "png", file
        if name == "noise":
            continue
        for form in picture, gray:
            for progressive in False, True:
                for downsampled in False, True:
                    file = tf.io.encode_jpeg(
                        form, "grayscale" if form is gray else "rgb",
                        quality=92, progressive=progressive,
                        chroma_downsampling=downsampled).numpy()
                    about = f"{name} {form.shape} {progressive} {downsampled}"
                    yield about, "jpeg", file


def check_pictures(bridge):
    """Pictures become the pixels that TensorFlow makes of them."""
    found = dict.fromkeys(BOUNDS, (0.0, 0.0))
    count = 0
    for about, kind, file in samples():
        if kind == "png":
            pixels = {channels: tf.io.decode_png(file, channels)
                      for channels in (1, 3, 4)}
        else:
            pixels = {channels: tf.io.decode_jpeg(
                file, channels, dct_method="INTEGER_ACCURATE")
                for channels in (1, 3)}

        def near(got, wanted, bounds=kind):
            wanted = np.asarray(wanted, np.float32)
            assert got.shape == wanted.shape, (about, got.shape)
            distances = np.abs(got - wanted)
            distance = float(distances.max()), float(distances.mean())
            if isinstance(bounds, str):
                found[bounds] = tuple(map(max, zip(found[bounds], distance)))
                bounds = BOUNDS[bounds]
            assert distance <= bounds and distance[1] <= bounds[1], (
                about, distance)

        color = pixels[3]
        near(bridge.picture(file, kind, "open")[0], color)
        near(bridge.picture(file, kind, "uint8")[0], color)
        # 16 bits become 8 before they become gray, and not after that.
        near(bridge.picture(file, kind, "gray"), pixels[1],
             (1.0, 1.0) if "uint16" in about else kind)
        near(bridge.picture(file, kind, "fixed")[0],
             tf.image.resize(color, [24, 40]))
        for size in (16, 16), (150, 31), (224, 224):
            query = f"resize={size[0]}x{size[1]}"
            wanted = tf.image.resize(color, size)
            near(bridge.picture(file, kind, "open", query)[0], wanted)
            scaled = bridge.picture(
                file, kind, "open", query + "&scale=1/255&offset=-0.5")[0]
            near((scaled + 0.5) * 255, wanted)
        if kind == "png":
            near(bridge.picture(file, kind, "rgba")[0], pixels[4])
        else:
            near(bridge.picture(file, kind, "uint8")[0],
                 tf.io.decode_jpeg(file, channels=3), "fast")
        count += 1
    print(f"{count} pictures are TensorFlow's; levels of 255 away from it, "
          f"at most and on average: {found}")


def main():
    """Exports, serves, compares."""
    program = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory) / "extras"
        home.mkdir()
        (home / "labels.json").write_text("{}\n", encoding="utf-8")
        module = Model()
        tf.saved_model.save(module, str(home / "1"), module.signatures())
        backend, port = server.start(Namespace(
            models=Path(directory), port=0, tensor_content=True))
        bridge = Bridge(program, port)
        try:
            check_examples(bridge)
            check_pictures(bridge)
        finally:
            bridge.process.terminate()
            bridge.process.wait(10)
            backend.stop(grace=1).wait()
    print("TensorFlow has parsed the examples")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
