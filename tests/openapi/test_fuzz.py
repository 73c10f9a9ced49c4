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


def test_schemathesis(bridge, document, tmp_path):
    """All checks, on all operations."""
    schema = tmp_path / "openapi.json"
    schema.write_text(json.dumps(only_json(document)), encoding="utf-8")
    command = [
        Path(sys.executable).with_name("schemathesis"),
        "--config-file", HERE / "schemathesis.toml", "run", schema, "--url", bridge,
        "--checks", "all", "--phases", "examples,coverage,fuzzing", "--max-examples", "10",
        "--seed", SEED, "--generation-database", "none", "--workers", "2",
        "--continue-on-failure", "--request-timeout", "20", "--warnings", "off",
        "--suppress-health-check", "all", "--no-color"]
    result = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
