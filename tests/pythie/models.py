#!/usr/bin/env python3
"""Writes models that pythie-serving can serve without any library of models.

Its platform `sklearn` calls `predict` of whatever it has unpickled, its platform `table` looks
rows up in a CSV file. The classes here are pickled by name: the server needs this directory in
its PYTHONPATH. Prints nothing.

    models.py DIRECTORY    # gets sklearn.config, table.config and the models
"""

import json
import pickle
import sys
from pathlib import Path

import numpy as np

CONFIG = """model_config_list {{
{}}}
"""
ENTRY = '  config {{ name: "{}" base_path: "{}" model_platform: "{}" }}\n'


class Linear:
    """Half of `a` and all of `b`: a float for each row."""

    features = ["a", "b"]

    def predict(self, rows):
        return rows[:, 0].astype(float) / 2 + rows[:, 1].astype(float)


class Count:
    """How many are `true` of `p` and `q`: an integer for each row."""

    features = ["p", "q"]

    def predict(self, rows):
        return rows.astype(int).sum(axis=1)


class Shout:
    """The text of `s` in upper case: a column of strings, as the server wants them."""

    features = ["s"]

    def predict(self, rows):
        return np.array([[row[0].upper()] for row in rows], dtype="S")


TABLE = {
    "feature_names": ["color", "size"],
    "target_name": "price",
    "data_type": {"color": "str", "size": "int", "price": "int"},
    "default_value": -1,
}
ROWS = ["color,size,price", "red,1,10", "red,2,20", "blue,1,30"]


def write(directory, name, suffix, content, metadata):
    """A model has a directory of its own, with the model and its metadata."""
    base = directory / name
    base.mkdir(parents=True, exist_ok=True)
    (base / name).with_suffix(suffix).write_bytes(content)
    (base / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    return base


def main(directory):
    # Run as a script, the classes would belong to `__main__`, which is another one in the server.
    import models
    entries = ""
    for name, model in [("linear", models.Linear), ("count", models.Count), ("shout", models.Shout)]:
        metadata = {"feature_names": model.features}
        base = write(directory, name, ".pickled", pickle.dumps(model()), metadata)
        entries += ENTRY.format(name, base, "sklearn")
    (directory / "sklearn.config").write_text(CONFIG.format(entries), encoding="utf-8")
    base = write(directory, "prices", ".csv", "\n".join(ROWS).encode(), TABLE)
    entry = ENTRY.format("prices", base, "table")
    (directory / "table.config").write_text(CONFIG.format(entry), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
