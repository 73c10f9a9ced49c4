"""Trains a small Keras model on Fisher's 150 iris flowers and exports it.

Signatures: `serving_default` as Keras itself exports a model, and `classify`,
which takes tf.Examples and answers the species' names with their scores. The
rows are in data/iris.csv; nothing is ever downloaded.
"""

import csv
import shutil
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

DATA = Path(__file__).resolve().parent / "data" / "iris.csv"
SPECIES = ["setosa", "versicolor", "virginica"]
METHODS = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater


def rows():
    """Reads the measurements and the species numbers."""
    with open(DATA, encoding="utf-8") as file:
        lines = [line for line in file if not line.startswith("#")]
    table = list(csv.reader(lines))[1:]
    features = np.array([row[:4] for row in table], np.float32)
    labels = np.array([SPECIES.index(row[4]) for row in table])
    return features, labels


def trained():
    """A network with one hidden layer, the same at every run."""
    keras.utils.set_random_seed(1936)
    features, labels = rows()
    scale = keras.layers.Normalization()
    scale.adapt(features)
    model = keras.Sequential([
        keras.Input([4], name="measurements"), scale,
        keras.layers.Dense(8, activation="relu"),
        keras.layers.Dense(3, activation="softmax", name="species")])
    model.compile(
        keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy",
        metrics=["accuracy"])
    history = model.fit(features, labels, epochs=20, verbose=0)
    assert history.history["accuracy"][-1] > 0.9, "iris was not learnt"
    return model


def classifier(model):
    """The signature function for `:classify`, on tf.Examples."""
    names = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
    spec = {name: tf.io.FixedLenFeature([], tf.float32) for name in names}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def classify(inputs):
        parsed = tf.io.parse_example(inputs, spec)
        scores = model(tf.stack([parsed[name] for name in names], axis=1))
        classes = tf.broadcast_to(tf.constant(SPECIES), tf.shape(scores))
        return {"classes": classes, "scores": scores}

    return classify


def export(directory):
    """Trains the model and writes it."""
    model = trained()
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serving_default", model.call,
        input_signature=[tf.TensorSpec([None, 4], tf.float32, "measurements")])
    archive.add_endpoint("classify", classifier(model))
    plain = directory.with_name(directory.name + ".plain")
    archive.write_out(str(plain), verbose=False)
    # Signatures written by TensorFlow 2 are always for Predict; Classify
    # accepts only those that are marked for it.
    methods = METHODS(str(plain))
    methods.replace_method_name("classify", "tensorflow/serving/classify",
                                tags="serve")
    methods.save()
    shutil.move(plain, directory)
