#!/usr/bin/env python3
"""Exports the SavedModels that the tests serve.

They go to `target/serving-models/NAME/VERSION`, with the labels of a model in
`NAME/labels.json` and a `models.config` for a real tensorflow_model_server
that has the directory mounted as /models. Running it again does nothing,
unless one of the sources below has changed; it never writes elsewhere.
"""

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from once import HERE, TARGET, once  # noqa: E402

SOURCES = [HERE / name for name in (
    "export_models.py", "half_plus.py", "modules.py", "iris.py",
    "data/iris.csv", "requirements.txt")]
LABELS = {"stable": 123, "canary": 124}

CONFIG = """\
  config {{
    name: "{name}"
    base_path: "/models/{name}"
    model_platform: "tensorflow"
    model_version_policy {{ all {{}} }}
{labels}  }}
"""
LABEL = '    version_labels {{ key: "{}" value: {} }}\n'


def exporters():
    """The models: name, version and the function that writes it."""
    import half_plus
    import iris
    import modules
    for name, addend in (("half_plus_two", 2), ("half_plus_three", 3)):
        for version in sorted(LABELS.values()):
            yield name, version, lambda directory, addend=addend: (
                half_plus.export(directory, addend))
    yield "affine100", 1, modules.export_affine100
    yield "image", 1, modules.export_image
    yield "text", 1, modules.export_text
    yield "mixed", 1, modules.export_mixed
    yield "iris", 1, iris.export


def export(out):
    """Writes every model afresh."""
    names = []
    for name, version, write in exporters():
        labels = LABELS if name.startswith("half_plus") else {}
        home = out / name
        if name not in names:
            names.append(name)
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir(parents=True)
            (home / "labels.json").write_text(
                json.dumps(labels) + "\n", encoding="utf-8")
        write(home / str(version))
        print(f"exported {name} version {version}", file=sys.stderr)
    write_config(out, names)


def write_config(out, names):
    """Writes the same list of models for the real server."""
    entries = ""
    for name in names:
        labels = json.loads((out / name / "labels.json").read_text("utf-8"))
        entries += CONFIG.format(name=name, labels="".join(
            LABEL.format(*item) for item in labels.items()))
    (out / "models.config").write_text(
        "model_config_list {\n" + entries + "}\n", encoding="utf-8")


def main():
    """Reads the arguments and exports where that is needed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=TARGET / "serving-models")
    out = parser.parse_args().out
    once(out / "models.stamp", SOURCES, lambda: export(out))
    print(out)


if __name__ == "__main__":
    main()
