#!/usr/bin/env python3
"""Exports a model for TensorFlow Serving: from Python code to a directory that
compose.yaml serves.

    pip install tensorflow
    python3 export_model.py            # writes models/affine100/1
    python3 export_model.py 2          # writes models/affine100/2

TensorFlow Serving looks for directories whose names are whole numbers, and
takes the number as the version. While it runs it finds new ones by itself, so
exporting version 2 is all a roll-out needs: requests that name no version
get the largest number. Version 2 of this model answers one more than
version 1, to show which of them it was.

Labels are names for versions, given in models/models.config: `stable` is 1 and
`canary` is 2 there. Clients that ask for a label follow it when it is moved.

The model takes rows of 100 numbers and answers one for each row. It has no
training in it; put the call of your own model into `serving_function`.
"""

import sys
from pathlib import Path

import tensorflow as tf

MODELS = Path(__file__).resolve().parent / "models"


class Affine100(tf.Module):
    """The sum of x[j] * (j - 50) / 64 over a row, plus a constant."""

    def __init__(self, constant):
        super().__init__()
        column = (tf.range(100, dtype=tf.float32) - 50.0) / 64.0
        self.weights = tf.Variable(column[:, tf.newaxis])
        self.constant = tf.Variable([constant])

    # What a client may send: any number of rows, each of 100 float32. The
    # argument's name is the input's name, the key below the output's.
    @tf.function(input_signature=[tf.TensorSpec([None, 100], tf.float32)])
    def serving_function(self, x):
        """What the server runs for every request."""
        return {"predictions": x @ self.weights + self.constant}


def main():
    """Writes the version given on the command line, or version 1."""
    version = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    module = Affine100(constant=version - 0.5)
    directory = MODELS / "affine100" / str(version)
    tf.saved_model.save(
        module, str(directory),
        signatures={"serving_default": module.serving_function})
    print(f"wrote {directory}")


if __name__ == "__main__":
    main()
