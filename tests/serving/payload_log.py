#!/usr/bin/env python3
"""Reads the requests that tfbridge keeps as TensorFlow reads them.

Starts the demo with `--payload-log`, sends it some requests, ends it, and has
TensorFlow read the file, TensorFlow Serving's own messages parse it, and a real
model answer what is in it. `payload_log.py PROGRAM` after `export_models.py`.
"""

import json
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from once import TARGET

VALUES = [[1.0], [2.0, 5.0], [float(value) for value in range(100)]]


def keep(program, path):
    """Has the program keep three requests and one that is not for every eye."""
    command = [program, "demo", "--listen", "127.0.0.1:0", "--payload-log", path,
               "--payload-log-sample", "1", "--payload-log-redact", "s"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
        try:
            url = demo.stdout.readline().split(" at ")[1].split(". In")[0]
            for values in VALUES:
                post(f"{url}/v1/models/half_plus_two:predict", {"instances": values})
            mixed = {"a": [0.5], "b": [7], "s": ["secret"]}
            post(f"{url}/v1/models/echo:predict", {"signature_name": "mixed", "inputs": mixed})
        finally:
            demo.terminate()
    assert demo.returncode == 0, demo.returncode


def post(url, body):
    with urllib.request.urlopen(url, json.dumps(body).encode(), timeout=10) as response:
        response.read()


def main():
    program = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "tf_serving_warmup_requests"
        keep(program, path)
        records = [record.numpy() for record in tf.data.TFRecordDataset([str(path)])]
    logs = [prediction_log_pb2.PredictionLog.FromString(record) for record in records]
    assert [log.WhichOneof("log_type") for log in logs] == ["predict_log"] * 4, logs
    requests = [log.predict_log.request for log in logs]
    assert [request.model_spec.name for request in requests] == ["half_plus_two"] * 3 + ["echo"]

    versions = TARGET / "serving-models" / "half_plus_two"
    version = min(path for path in versions.iterdir() if path.name.isdigit())
    model = tf.saved_model.load(str(version)).signatures["serving_default"]
    for request, values in zip(requests, VALUES):
        outputs = model(x=tf.constant(tf.make_ndarray(request.inputs["x"]).reshape(-1, 1)))
        (output,) = outputs.values()
        expected = [value / 2 + 2 for value in values]
        assert output.numpy().flatten().tolist() == expected, (output, expected)

    inputs = {name: tf.make_ndarray(tensor).tolist() for name, tensor in requests[3].inputs.items()}
    assert inputs == {"a": [0.5], "b": [7], "s": [b""]}, inputs
    print(f"TensorFlow has read {len(logs)} requests")


if __name__ == "__main__":
    main()
