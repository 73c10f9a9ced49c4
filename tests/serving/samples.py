"""The inputs that reference.py sends: the same at every run, chosen so that
every model and every dtype is met. It computes no answers.
"""

from dataclasses import dataclass

import ml_dtypes
import numpy as np
import tensorflow as tf

BOTH = ("row", "columnar")


@dataclass
class Sample:
    """The inputs of one call, and in which formats to write it."""

    id: str
    model: str
    inputs: dict
    signature: str = "serving_default"
    layouts: tuple = BOTH
    as_base64: bool = False


def strings(values):
    """An array of byte strings of their own lengths."""
    return np.array(values, object)


def float_samples():
    """Plain float32 models."""
    random = np.random.default_rng(8501)
    wide = random.standard_normal([3, 100]).astype(np.float32)
    yield Sample("affine100/normal", "affine100", {"x": wide})
    scales = 10.0 ** random.integers(-20, 20, [2, 100])
    spread = (random.standard_normal([2, 100]) * scales).astype(np.float32)
    yield Sample("affine100/spread", "affine100", {"x": spread})
    counted = np.arange(100, dtype=np.float32).reshape(1, 100)
    yield Sample("affine100/counted", "affine100", {"x": counted})
    edges = np.array([[0.1], [-0.0], [1e-3], [16777217], [3.4028235e38],
                      [1.1754944e-38]], np.float32)
    nonfinite = np.array([[np.nan], [np.inf], [-np.inf]], np.float32)
    for model in ("half_plus_two", "half_plus_three"):
        yield Sample(f"{model}/edges", model, {"x": edges})
        yield Sample(f"{model}/nonfinite", model, {"x": nonfinite})
    flowers = np.array([[5.1, 3.5, 1.4, 0.2], [6.4, 3.2, 4.5, 1.5],
                        [6.3, 3.3, 6.0, 2.5]], np.float32)
    yield Sample("iris/flowers", "iris", {"measurements": flowers})


def picture(size, turn):
    """A small picture with a gradient in every colour."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    planes = [x * 255 // width, y * 255 // height, (x + y + turn) * 7 % 256]
    return tf.constant(np.stack(planes, axis=-1).astype(np.uint8))


def byte_samples():
    """Pictures and texts."""
    files = strings([
        tf.io.encode_png(picture([12, 16], 0)).numpy(),
        tf.io.encode_jpeg(picture([16, 16], 5), quality=90).numpy(),
        tf.io.encode_png(picture([3, 5], 9)).numpy()])
    yield Sample("image/files", "image", {"image_bytes": files},
                 as_base64=True)
    words = ["Straße", "naïve café", "Ωμέγα", "привет", "日本語", "🙂 emoji",
             'quote " slash \\ / tab \t line \n', ""]
    texts = strings([word.encode() for word in words])
    yield Sample("text/words", "text", {"text": texts})
    yield Sample("text/base64", "text", {"text": texts}, as_base64=True)
    yield Sample("text/grid", "text", {"text": texts.reshape(4, 2)})
    yield Sample("text/scalar", "text", {"text": strings(words[0].encode())},
                 layouts=("columnar",))


def dtype_samples():
    """The mixed model: four inputs together, then each dtype alone."""
    yield Sample("mixed/four", "mixed", {
        "a": np.array([0.1, -2.5, 1e10], np.float32),
        "b": np.array([1, -2**63, 2**53 + 1], np.int64),
        "s": strings(["é".encode(), b"", "日本".encode()]),
        "flag": np.array([True, False, True])})
    for dtype in (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16,
                  np.uint32, np.uint64):
        limits = np.iinfo(dtype)
        values = np.array([limits.min, 0, 1, limits.max], dtype)
        yield echo(np.dtype(dtype).name, values)
    fractions = [0.1, -1 / 3, 2.5, 65000.0, -0.0, 1e-3]
    for name, dtype in (("float", np.float32), ("double", np.float64),
                        ("half", np.float16),
                        ("bfloat16", ml_dtypes.bfloat16)):
        yield echo(name, np.array(fractions, dtype))
    extremes = [1.7976931348623157e308, 0.1 + 0.2, 2.0**53 + 2]
    yield echo("double", np.array(extremes), "extremes")
    # Some servers answer zero for these; they have an id of their own.
    yield echo("double", np.array([5e-324, -1e-310]), "denormals")
    yield echo("float", np.array([1e-45, -1e-40], np.float32), "denormals")
    for name, dtype in (("complex64", np.complex64),
                        ("complex128", np.complex128)):
        yield echo(name, np.array([0.1 - 2j, 1 / 3 + 1e10j], dtype))
    yield echo("bool", np.array([[True, False], [False, False]]))
    yield echo("string", strings([b"plain", "ünï".encode(), b""]))
    deep = np.arange(24, dtype=np.int32).reshape(1, 2, 3, 1, 4)
    yield echo("int32", deep, "deep")
    yield echo("int32", np.int32(7).reshape([]), "scalar", ("columnar",))
    yield echo("float", np.zeros([0], np.float32), "empty", ("columnar",))
    yield echo("int64", np.zeros([2, 0], np.int64), "hollow")


def echo(name, values, kind="values", layouts=BOTH):
    """A call of the signature that gives back what it gets."""
    return Sample(f"mixed/{name}/{kind}", "mixed", {"x": values},
                  signature=name, layouts=layouts)


def all_samples():
    """All of the above."""
    yield from float_samples()
    yield from byte_samples()
    yield from dtype_samples()
