"""Schemathesis makes requests of the document, valid and invalid ones, and checks the answers of a live bridge."""

import collections
import copy
import json
import math
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from test_document import resolve

HERE = Path(__file__).resolve().parent
SEED = 1936

# How many random requests there are of each kind, and in how many seconds all must have been made and answered.
REQUESTS = 10
LONGEST = 1500


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


def forms(document, operation):
    """The schemas that the body of an operation has a choice of; one that is nothing if there is no body."""
    if "requestBody" not in operation:
        return [None]
    schema = resolve(document, operation["requestBody"])["content"]["application/json"]["schema"]
    return [resolve(document, form) for form in schema.get("oneOf", [schema])]


def parts(document):
    """Documents that have the whole one's operations, each body in one form alone: the first has the first form of
    all, the second the second of those that have two, and so on until none has more."""
    number = 0
    while True:
        part = only_json(document)
        for item in part["paths"].values():
            for method, operation in list(item.items()):
                choice = forms(part, operation)[number:number + 1]
                if not choice:
                    del item[method]
                elif choice != [None]:
                    content = {"application/json": {"schema": choice[0]}}
                    operation["requestBody"] = {"required": True, "content": content}
        part["paths"] = {path: item for path, item in part["paths"].items() if item}
        if not part["paths"]:
            return
        yield part
        number += 1


def operations(part):
    """The operations of a document, named as schemathesis does it."""
    return {
        f"{method.upper()} {path}": operation
        for path, item in part["paths"].items() for method, operation in item.items()}


def wanted(operation, mode):
    """How many random requests there must be: fewer where there are no more different ones."""
    values = [len(parameter["schema"]["enum"]) for parameter in operation.get("parameters", [])]
    if "requestBody" in operation:
        return REQUESTS
    if mode == "positive":
        return min(REQUESTS, math.prod(values))
    return REQUESTS if values else 0


def schemathesis(bridge, document, directory, *options, seed=SEED, environment=None, timeout=None):
    """All checks; what was found, if anything was."""
    directory.mkdir(exist_ok=True)
    schema = directory / "openapi.json"
    schema.write_text(json.dumps(document), encoding="utf-8")
    command = [
        Path(sys.executable).with_name("schemathesis"),
        "--config-file", HERE / "schemathesis.toml", "run", schema, "--url", bridge,
        "--checks", "all", "--seed", str(seed), "--generation-database", "none",
        "--continue-on-failure", "--request-timeout", "20", "--warnings", "off",
        "--suppress-health-check", "all", "--no-color", *options]
    try:
        result = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=directory,
            env=os.environ | (environment or {}), timeout=timeout)
    except subprocess.TimeoutExpired as problem:
        return f"{options} have not ended in time\n{(problem.stdout or b'').decode(errors='replace')}"
    return f"{result.stdout}\nended with {result.returncode}" if result.returncode else ""


def test_every_operation(bridge, document, tmp_path):
    """Each limit of each schema, at it and beyond it: about 3000 requests."""
    found = schemathesis(
        bridge, only_json(document), tmp_path, "--phases", "examples,coverage", "--workers", "2")
    assert not found, found


def random(bridge, part, number, mode, directory, end):
    """Random requests of one mode for all operations of a part; what is wrong, and how many requests there were."""
    log = directory / f"{number}-{mode}.log"
    log.write_text("", encoding="utf-8")
    # With one seed for all, what is like in two forms would get the same values.
    found = schemathesis(
        bridge, part, log.with_suffix(""), "--phases", "fuzzing", "--mode", mode, "--max-examples", str(REQUESTS),
        "--workers", "1", seed=SEED + number, timeout=max(1, end - time.monotonic()),
        environment={"SCHEMATHESIS_HOOKS": "generator", "PYTHONPATH": str(HERE), "TFBRIDGE_TEST_LOG": str(log)})
    if found:
        return found, 0
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    sent = collections.Counter(operation for operation, sent_mode, _ in lines if sent_mode == mode)
    # An operation for which nothing could be made is no failure to schemathesis.
    for name, operation in operations(part).items():
        if sent[name] < wanted(operation, mode):
            found += f"{sent[name]} {mode} requests instead of {wanted(operation, mode)}: {name} in {log}\n"
    return found, sum(sent.values())


def test_random(bridge, document, tmp_path):
    """Random requests for all operations of all models: for each form of each body ten valid ones, and ten invalid
    ones; where a path has a version or a label, that is wrong in the invalid ones as well. A question without a body
    is asked once for each version or label that there is, and of ten that there are not. Bodies are small, as
    generator.py has it.

    The forms are in documents of their own, for the generator makes the strategies of all the forms that a body may
    have for each request, in a time that grows faster than their number: two minutes for the 34 forms of predict of
    the model that has a signature for each type, less than a second for one. And it makes nothing invalid of a
    choice of forms but what is like none of them, whereas it changes one form member by member."""
    end = time.monotonic() + LONGEST
    runs = [
        (part, number, mode)
        for number, part in enumerate(parts(document)) for mode in ("positive", "negative")]
    pool = ThreadPoolExecutor(2)
    try:
        results = list(pool.map(lambda run: random(bridge, *run, tmp_path, end), runs))
    finally:
        # Whoever interrupts it does not want the others to begin.
        pool.shutdown(cancel_futures=True)
    found = "\n".join(found for found, _ in results if found)
    assert not found, found
    assert len(runs) > 60
    assert sum(count for _, count in results) > 3000
