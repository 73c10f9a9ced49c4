"""Checks what the test server answers to Predict: every model, dtype and
refusal. It needs the exported models, and never goes through the bridge.
"""

import grpc
import numpy as np
import tensorflow as tf

from modules import DTYPES
from tensors import from_proto
from testbase import ServerTest, spec, tensor


class Predict(ServerTest):
    """The models, and what Predict refuses."""

    def test_versions_and_labels(self):
        for choice, served in (({}, 124), ({"version": 123}, 123),
                               ({"version_label": "stable"}, 123)):
            reply = self.predict(spec("half_plus_two", **choice),
                                 {"x": tensor([[1, 2], [3, 4]])})
            self.assertEqual(reply.model_spec.version.value, served)
            self.assertEqual(
                reply.model_spec.signature_name, "serving_default")
            self.assertEqual(
                list(reply.outputs["y"].float_val), [2.5, 3, 3.5, 4])

    def test_any_shape_and_short_forms(self):
        def values(**fields):
            shape = fields.pop("shape")
            proto = tensor(1.0)
            proto.ClearField("float_val")
            for size in shape:
                proto.tensor_shape.dim.add(size=size)
            proto.float_val.extend(fields["values"])
            reply = self.predict(spec("half_plus_three"), {"x": proto})
            return list(reply.outputs["y"].float_val)
        self.assertEqual(values(shape=[], values=[2]), [4])
        self.assertEqual(values(shape=[0], values=[]), [])
        self.assertEqual(values(shape=[3], values=[2, 4]), [4, 5, 5])
        self.assertEqual(values(shape=[2], values=[2, 4, 6]), [4, 5])
        self.assertEqual(values(shape=[2], values=[]), [3, 3])

    def test_every_dtype(self):
        samples = {"bool": [True, False], "string": [b"", b"\xff\0", b"a\0"],
                   "complex64": [1 - 2j], "complex128": [0.1 + 3j]}
        for name, dtype in DTYPES.items():
            for as_content in (False, True):
                sent = tensor(samples.get(name, [0, 1, 100]), dtype,
                              as_content)
                reply = self.predict(
                    spec("mixed", signature_name=name), {"x": sent})
                got = reply.outputs["x"]
                self.assertEqual(got.dtype, dtype.as_datatype_enum)
                self.assertEqual(got.tensor_content, b"", name)
                np.testing.assert_array_equal(
                    from_proto(got), from_proto(sent), name)

    def test_mixed(self):
        reply = self.predict(spec("mixed"), {
            "a": tensor([0.5, 1.5]), "b": tensor([1, 2**40], tf.int64),
            "s": tensor([b"\xc3\xa9", b""], tf.string),
            "flag": tensor([True, False], tf.bool)}, ["sum", "s"])
        self.assertEqual(sorted(reply.outputs), ["s", "sum"])
        self.assertEqual(list(reply.outputs["sum"].float_val),
                         [1.5, np.float32(2**40) + np.float32(1.5)])

    def test_text_and_image(self):
        reply = self.predict(spec("text"), {
            "text": tensor(["straße Ωμέγα".encode(), b""], tf.string)})
        self.assertEqual(list(reply.outputs["lengths"].int64_val), [18, 0])
        self.assertEqual(list(reply.outputs["upper"].string_val),
                         ["STRASSE ΩΜΈΓΑ".encode(), b""])
        picture = tf.zeros([4, 6, 3], tf.uint8)
        files = [tf.io.encode_png(picture).numpy(),
                 tf.io.encode_jpeg(picture).numpy()]
        outputs = self.predict(spec("image"), {
            "image_bytes": tensor(files, tf.string)}).outputs
        self.assertEqual(from_proto(outputs["scores"]).shape, (2, 10))
        for value in outputs["thumbnail_bytes"].string_val:
            self.assertEqual(tf.io.decode_png(value).shape, [8, 8, 3])

    def test_numeric_models(self):
        reply = self.predict(spec("affine100"), {"x": tensor([range(100)])})
        expected = sum(j * (j - 50) / 64 for j in range(100)) + 0.5
        self.assertEqual(
            list(reply.outputs["predictions"].float_val), [expected])
        reply = self.predict(
            spec("iris"), {"measurements": tensor([[5.1, 3.5, 1.4, 0.2]])})
        self.assertEqual(np.argmax(reply.outputs["output_0"].float_val), 0)

    def test_refusals(self):
        x = {"x": tensor([1.0])}
        two = spec("half_plus_two")
        extra = {"x": tensor([1.0]), "z": tensor([1.0])}
        no_value = tensor([1.0])
        no_value.float_val.append(2.0)
        no_value.tensor_content = b"abc"
        unknown = "Servable not found for request: "
        bad = "INVALID_ARGUMENT"
        for code, text, arguments in (
                (bad, "Missing ModelSpec", (None, x)),
                (bad, "ModelSpec has no name specified.", (spec(""), x)),
                ("NOT_FOUND", unknown + "Latest(foo)", (spec("foo"), x)),
                ("NOT_FOUND", unknown + "Specific(half_plus_two, 5)",
                 (spec("half_plus_two", version=5), x)),
                (bad, "Unrecognized servable version label: no",
                 (spec("foo", version_label="no"), x)),
                ("FAILED_PRECONDITION", 'Serving signature key "s" not found.',
                 (spec("half_plus_two", signature_name="s"), x)),
                ("INTERNAL", "Expected prediction signature method_name to be "
                 "one of {tensorflow/serving/predict, tensorflow/serving/"
                 "classify, tensorflow/serving/regress}. Was: ",
                 (spec("text", signature_name="__saved_model_init_op"), {})),
                (bad, "input size does not match signature: 2!=1 len({x,z}) "
                 "!= len({x}). Sent extra: {z}. Missing but required: {}.",
                 (two, extra)),
                (bad, "input size does not match signature: 0!=1 len({}) != "
                 "len({x}). Sent extra: {}. Missing but required: {x}.",
                 (two, {})),
                (bad, "Signature input alias: x(feed name: x:0) not found in "
                 "request and no default value provided. Inputs expected to "
                 "be in the request {z}, or default input alias set: ",
                 (two, {"z": tensor([1.0])})),
                (bad, "output tensor alias not found in signature: q Outputs "
                 "expected to be in the set {y}.", (two, x, ["q"])),
                (bad, "duplicate output tensor alias: y",
                 (two, x, ["y", "y"])),
                (bad, "tensor parsing error: x", (two, {"x": no_value}))):
            with self.subTest(text):
                self.refused(code, text, self.predict, *arguments)

    def test_refusals_of_the_graph(self):
        for name, inputs, words in (
                ("affine100", {"x": tensor([[1.0]])}, "Matrix size-incompat"),
                ("affine100", {"x": tensor(1.0)}, "is not a matrix"),
                ("half_plus_two", {"x": tensor([1], tf.int32)},
                 "Expects arg[0] to be float but int32 is provided"),
                ("image", {"image_bytes": tensor([b"no"], tf.string)},
                 "Unknown image file format")):
            with self.subTest(words), self.assertRaises(
                    grpc.RpcError) as caught:
                self.predict(spec(name), inputs)
            self.assertEqual(
                caught.exception.code().name, "INVALID_ARGUMENT")
            self.assertIn(words, caught.exception.details())
        with self.assertRaises(grpc.RpcError) as caught:
            self.predict(spec("m" * 2000), {})
        details = caught.exception.details()
        self.assertEqual(len(details), 1024 + len("...TRUNCATED"))
        self.assertTrue(details.endswith("mm...TRUNCATED"))


class Content(ServerTest):
    """Replies with --tensor-content."""

    flags = ("--tensor-content",)

    def test_content(self):
        reply = self.predict(spec("mixed"), {
            "a": tensor([0.5, 1.5]), "b": tensor([1, -2], tf.int64),
            "s": tensor([b"ab", b"c" * 200], tf.string),
            "flag": tensor([True, False], tf.bool)})
        content = {name: value.tensor_content
                   for name, value in reply.outputs.items()}
        self.assertEqual(content["a"], np.float32([0.5, 1.5]).tobytes())
        self.assertEqual(content["b"], np.int64([1, -2]).tobytes())
        self.assertEqual(content["s"], b"\x02\xc8\x01ab" + b"c" * 200)
        self.assertEqual(content["flag"], b"\1\0")
