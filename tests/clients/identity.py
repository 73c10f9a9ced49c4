#!/usr/bin/env python3
"""Exports a model for every dtype that returns what it gets, as `differences` compares it with Triton's.

    identity.py DIRECTORY
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import tensorflow as tf  # noqa: E402

DTYPES = {
    "bool": tf.bool, "uint8": tf.uint8, "int32": tf.int32, "int64": tf.int64,
    "uint64": tf.uint64, "half": tf.float16, "float": tf.float32,
    "double": tf.float64, "string": tf.string,
}

for name, dtype in DTYPES.items():
    module = tf.Module()
    module.serve = tf.function(
        lambda x: {"y": tf.identity(x)},
        input_signature=[tf.TensorSpec([None, None], dtype, name="x")])
    tf.saved_model.save(module, f"{sys.argv[1]}/{name}/1",
                        signatures={"serving_default": module.serve})
