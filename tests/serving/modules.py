"""Exports models written as `tf.Module`s: affine100, image, text and mixed.

Weights come from formulas or fixed seeds, so every export is the same. Nothing
here is trained or read from a file.
"""

import tensorflow as tf

# The short names that TensorFlow's own messages use, and the dtypes.
DTYPES = {
    "float": tf.float32, "double": tf.float64, "half": tf.float16,
    "bfloat16": tf.bfloat16, "int8": tf.int8, "int16": tf.int16,
    "int32": tf.int32, "int64": tf.int64, "uint8": tf.uint8,
    "uint16": tf.uint16, "uint32": tf.uint32, "uint64": tf.uint64,
    "bool": tf.bool, "string": tf.string, "complex64": tf.complex64,
    "complex128": tf.complex128,
}


class Affine100(tf.Module):
    """One number out of a hundred: the sum of x[j] * (j - 50) / 64, plus 1/2.

    The weights are exact in binary, so small whole inputs give exact answers.
    """

    def __init__(self):
        super().__init__()
        column = (tf.range(100, dtype=tf.float32) - 50.0) / 64.0
        self.weights = tf.Variable(column[:, tf.newaxis])
        self.bias = tf.Variable([0.5])

    @tf.function(input_signature=[tf.TensorSpec([None, 100], tf.float32)])
    def serving_function(self, x):
        """The serving signature."""
        return {"predictions": x @ self.weights + self.bias}


class Image(tf.Module):
    """Scores pictures that arrive as the bytes of a JPEG or PNG file."""

    def __init__(self):
        super().__init__()
        self.weights = tf.Variable(
            tf.random.stateless_normal([8 * 8 * 3, 10], seed=[1, 2]))

    @staticmethod
    def shrink(encoded):
        """Decodes one picture and scales it to 8x8 colour values."""
        picture = tf.io.decode_image(
            encoded, channels=3, expand_animations=False)
        return tf.image.resize(picture, [8, 8])

    @staticmethod
    def thumbnail(picture):
        """Encodes one scaled picture as PNG."""
        return tf.io.encode_png(tf.cast(tf.round(picture), tf.uint8))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def serve(self, image_bytes):
        """The serving signature."""
        small = tf.map_fn(
            self.shrink, image_bytes,
            fn_output_signature=tf.TensorSpec([8, 8, 3], tf.float32))
        thumbnails = tf.map_fn(
            self.thumbnail, small,
            fn_output_signature=tf.TensorSpec([], tf.string))
        flat = tf.reshape(small / 255.0, [-1, 8 * 8 * 3])
        return {"scores": flat @ self.weights, "thumbnail_bytes": thumbnails}


class Text(tf.Module):
    """Counts the bytes of strings and puts them in capital letters."""

    @tf.function(input_signature=[tf.TensorSpec(None, tf.string)])
    def serve(self, text):
        """The serving signature."""
        return {
            "lengths": tf.cast(tf.strings.length(text, unit="BYTE"), tf.int64),
            "upper": tf.strings.upper(text, encoding="utf-8"),
        }


class Mixed(tf.Module):
    """Echoes tensors of every dtype; the default signature takes four."""

    @tf.function(input_signature=[
        tf.TensorSpec([None], tf.float32, name="a"),
        tf.TensorSpec([None], tf.int64, name="b"),
        tf.TensorSpec([None], tf.string, name="s"),
        tf.TensorSpec([None], tf.bool, name="flag")])
    def serve(self, a, b, s, flag):
        """The serving signature: the inputs, and a + b as "sum"."""
        same = {"a": a, "b": b, "s": s, "flag": flag}
        outputs = {name: tf.identity(value) for name, value in same.items()}
        return outputs | {"sum": a + tf.cast(b, tf.float32)}

    @tf.function
    def echo(self, x):
        """One input, unchanged."""
        return {"x": tf.identity(x)}

    def signatures(self):
        """The default signature, and one echo named after each dtype."""
        echoes = {
            name: self.echo.get_concrete_function(
                tf.TensorSpec(None, dtype, name="x"))
            for name, dtype in DTYPES.items()}
        return echoes | {"serving_default": self.serve}


def export_affine100(directory):
    """Writes affine100 in the way of a `serving_function` tutorial."""
    module = Affine100()
    tf.saved_model.save(
        module, str(directory), signatures=module.serving_function)


def export_image(directory):
    """Writes the picture model."""
    module = Image()
    tf.saved_model.save(module, str(directory), signatures=module.serve)


def export_text(directory):
    """Writes the string model."""
    module = Text()
    tf.saved_model.save(module, str(directory), signatures=module.serve)


def export_mixed(directory):
    """Writes the model with a signature for every dtype."""
    module = Mixed()
    tf.saved_model.save(
        module, str(directory), signatures=module.signatures())
