"""Schemathesis makes requests of the document, valid and invalid ones, and checks the answers of a live bridge."""

import copy
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SEED = "1936"


def only_json(document):
    """The document without what JSON Schema says nothing of: bodies of other types, and the query that goes
    with them. What is in an array or a table, tests/clients and tests/it/formats.rs try."""
    document = copy.deepcopy(document)
    for kind in ("requestBodies", "responses"):
        for body in document["components"][kind].values():
            content = body["content"]
            body["content"] = {"application/json": content["application/json"]}
    for item in document["paths"].values():
        for operation in item.values():
            if "parameters" in operation:
                operation["parameters"] = [
                    it for it in operation["parameters"] if it["in"] == "path"]
    return document


def schemathesis(bridge, document, tmp_path, *options):
    """All checks; what was found, if anything was."""
    schema = tmp_path / "openapi.json"
    schema.write_text(json.dumps(only_json(document)), encoding="utf-8")
    command = [
        Path(sys.executable).with_name("schemathesis"),
        "--config-file", HERE / "schemathesis.toml", "run", schema, "--url", bridge,
        "--checks", "all", "--seed", SEED, "--generation-database", "none", "--workers", "2",
        "--continue-on-failure", "--request-timeout", "20", "--warnings", "off",
        "--suppress-health-check", "all", "--no-color", *options]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stdout


def test_every_operation(bridge, document, tmp_path):
    """Each limit of each schema, at it and beyond it: about 3000 requests."""
    schemathesis(bridge, document, tmp_path, "--phases", "examples,coverage")


def test_random(bridge, document, tmp_path):
    """Random requests of every kind of operation; what differs by version or label alone is left out, and so is
    predict of the model that has a signature for each type: a request made of so many forms takes minutes."""
    schemathesis(
        bridge, document, tmp_path, "--phases", "fuzzing", "--max-examples", "5",
        "--exclude-path-regex", "/(versions|labels)/|/half_plus_three|/affine100|/mixed:predict")
